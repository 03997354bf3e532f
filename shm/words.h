/* SPDX-License-Identifier: Apache-2.0 */
/* Single-writer records behind a sequence word: pool settings, session configs, statuses (S5, S10).
 * A writer may have died at an odd number: readers retry a bounded number of times, then say -EAGAIN. */
#pragma once

#include "shm/segment.h"

struct pool_settings { /* what a worker needs of its destination (P4) */
        enum pool_state state;
        uint32_t workers_wanted, batch_rows;
        uint64_t batch_bytes, batch_usec, parked_limit;
        bool cores, fused;
        char name[LAYOUT_NAME_BYTES], url[LAYOUT_URL_BYTES];
        uint32_t sequence; /* the even number it was read at; changes at each reload */
};
/* Supervisor alone. */
void pool_settings_write(struct segment *segment, uint32_t pool_index, const struct pool_settings *settings);
/* 0; -ERANGE; -EBADMSG (unterminated text, state out of range); -EAGAIN. */
int pool_settings_read(const struct segment *segment, uint32_t pool_index, struct pool_settings *ret);

/* Why the configuration is refused (layout.h). Supervisor alone; cut to LAYOUT_REASON_BYTES. */
void header_refused_write(struct segment *segment, const char *reason);
/* 0, with "" where it is not; -EBADMSG; -EAGAIN. */
int header_refused_read(const struct segment *segment, char ret_reason[LAYOUT_REASON_BYTES]);

struct session_config {
        uint32_t slot_index, pool_index, sibling_slot, sequence;
        char session[LAYOUT_NAME_BYTES * 2], source[LAYOUT_NAME_BYTES], url[LAYOUT_URL_BYTES];
};
int session_config_read(const struct segment *segment, uint32_t slot_index, struct session_config *ret);

struct session_status { /* the fields of layout_status, same meaning */
        enum session_phase phase;
        uint32_t failure_kind, path;
        uint64_t epoch, position, event_count, digest_sum, parked_count;
        uint64_t lag_events, lag_bytes, oldest_realtime_usec, waiting_since_usec, commit_last_usec,
                retry_at_usec, adopt_done;
        char reason[LAYOUT_REASON_BYTES];
};
/* The owner's mover alone. A record left odd by a dead writer is simply written anew. */
void session_status_write(struct segment *segment, uint32_t slot_index, const struct session_status *status);
int session_status_read(const struct segment *segment, uint32_t slot_index, struct session_status *ret);
/* M14. set: owner's mover, after the commit is durable. get: -EAGAIN where unset or inconsistent. */
void session_durable_set(struct segment *segment, uint32_t slot_index, uint64_t position);
int session_durable_get(const struct segment *segment, uint32_t slot_index, uint64_t *ret_position);
