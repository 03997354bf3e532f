/* SPDX-License-Identifier: Apache-2.0 */
/* One reading of the segment, for `status`, `adopt` and `demo`: everything bounded, terminated and fit
 * for a terminal, so that what prints it needs no care (P1, S10). It takes no lock, writes no word, and
 * needs no supervisor: only the file. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shm/segment.h"
#include "supervisor/cli/state.h"

#define VIEW_UNKNOWN UINT64_MAX

struct view_worker {
        uint64_t ref; /* 0: it stands in no entry that could be believed */
        uint32_t index, pool_index;
        int pid;      /* 0: its record names nobody */
        bool is_live; /* entering or live, and its process exists */
        bool is_gone; /* its entry says live, its process is gone: a takeover is due */
        bool is_draining;
        enum worker_phase phase;
        uint64_t entered_usec, transaction_since_usec, silent_usec;
        uint64_t commit_count, event_count;
        uint32_t session_count; /* slots that it owns */
        bool takeover_is_fifo;
        int nice;
        enum worker_confinement confinement;
};

struct view_session {
        uint32_t slot_index, pool_index;
        char name[LAYOUT_NAME_BYTES * 2];
        char source[LAYOUT_NAME_BYTES];
        bool shares_clean_up; /* M14: its source is cleaned, and only as far as all its sessions are */
        struct state state;
        uint64_t owner_ref, epoch, owned_since_usec, take_count;
        int owner_pid; /* 0: nobody, or unknown */
        bool quarantined;
        enum slot_take taken_by;
        uint64_t adopt_request;
        bool has_said;                /* an owner has written a status: the fields below mean something */
        struct session_status status; /* as read; epoch 0 where nobody has written one */
        uint64_t lag_events, lag_bytes, lag_age_usec; /* VIEW_UNKNOWN */
        double rate;                                  /* events/s between two readings; < 0: not sampled */
};

struct view_pool {
        uint32_t index;
        bool is_readable; /* false: its settings are torn or out of range */
        struct pool_settings settings;
        uint32_t workers_live, session_count;
        uint32_t state_counts[STATE_COUNT]; /* of its sessions */
        uint64_t takeover_count, takeover_slots, takeover_last_usec, takeover_last_span_usec;
        bool latched;
};

enum supervisor_state {
        SUPERVISOR_RUNNING = 0,
        SUPERVISOR_STOPPING,
        SUPERVISOR_SILENT,
        SUPERVISOR_GONE,
        SUPERVISOR_NONE,
        SUPERVISOR_WAITING /* it cannot make its segment yet: `waits` says why */
};

struct view {
        uint64_t now_usec, now_realtime_usec;
        enum supervisor_state supervisor;
        int supervisor_pid;
        char waits[1024]; /* "": it does not */
        uint64_t supervisor_silent_usec;
        uint64_t stall_timeout_usec, config_generation, created_realtime_usec;
        uint32_t layout_number;
        bool condemned;
        char config_refused
                [LAYOUT_REASON_BYTES]; /* why another than the file's is in force; "": it is the file's */
        char instance[LAYOUT_INSTANCE_BYTES * 2 + 1];
        struct view_pool *pools;
        struct view_worker *workers;
        struct view_session *sessions;
        uint32_t pool_count, worker_count, session_count;
        uint32_t quarantined_count, unreadable_count;
        uint32_t slot_count;
};

/* Reads everything once. Never fails on what a worker wrote: such things are counted and said. */
void view_read(const struct segment *segment, struct view *ret_view);
/* A supervisor that has no segment yet is not in the one that is there (L5): then it takes that one's place in the view,
 * which may be empty. False: nobody waits. */
bool view_read_waits(const char *runtime_directory, struct view *view);
void view_done(struct view *view);
#define _cleanup_view_ _cleanup_(view_done)

const struct view_session *view_find_session(const struct view *view, const char *name);
const struct view_pool *view_find_pool(const struct view *view, uint32_t pool_index);
/* The live worker with this ref, or NULL. */
const struct view_worker *view_find_worker(const struct view *view, uint64_t ref);

/* Events a second of each session between two readings of the same segment; a session that was not in
 * `before`, or whose count ran backwards, stays unsampled. */
void view_set_rates(struct view *view, const struct view *before);
