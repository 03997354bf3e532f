/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of event that a log line tells: each has an id of its own (MESSAGE_ID=), under which the catalogue
 * (packaging/systemd/baton.catalog) explains it to `journalctl -x`, and a name (BATON_KIND=).
 *
 * A new kind takes a constant here, a row in message.c (`systemd-id128 new` makes an id), an entry in the catalogue
 * and a row in README.md; tests/unit/test_messages.sh fails until all four agree. An id is never changed or used
 * again: people filter by it. Constant data, shared by all threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum message_kind {
        /* The supervisor */
        MESSAGE_SUPERVISOR_READY,
        MESSAGE_SUPERVISOR_STOPPING,
        MESSAGE_SUPERVISOR_STOPPED,
        MESSAGE_SUPERVISOR_FAILED,
        MESSAGE_SUPERVISOR_HUNG,
        MESSAGE_SUPERVISOR_DIES_OFTEN,
        MESSAGE_SUPERVISOR_TROUBLE,
        MESSAGE_CONFIGURATION_REFUSED,
        MESSAGE_CONFIGURATION_KEPT,
        MESSAGE_CONFIGURATION_ADVICE,
        MESSAGE_RELOADED,
        MESSAGE_RELOAD_REFUSED,
        MESSAGE_WORKERS_CLEARED,
        MESSAGE_UPGRADE_BEGINS,
        MESSAGE_UPGRADED,
        MESSAGE_UPGRADE_REFUSED,
        /* The segment */
        MESSAGE_SEGMENT_MADE,
        MESSAGE_SEGMENT_ADOPTED,
        MESSAGE_SEGMENT_REFUSED,
        MESSAGE_SEGMENT_WAITS,
        MESSAGE_SEGMENT_CONDEMNED,
        MESSAGE_SEGMENT_DAMAGED,
        /* Workers */
        MESSAGE_WORKER_STARTED,
        MESSAGE_WORKER_NOT_STARTED,
        MESSAGE_WORKER_JOINED,
        MESSAGE_WORKER_ADOPTED,
        MESSAGE_WORKER_LEFT,
        MESSAGE_WORKER_ENDED,
        MESSAGE_WORKER_ENDED_UNSEEN,
        MESSAGE_WORKER_DIES_OFTEN,
        MESSAGE_WORKER_HUNG,
        MESSAGE_WORKER_LOCK_HELD,
        MESSAGE_WORKER_OVERDUE,
        MESSAGE_WORKER_SURVIVES_KILL,
        MESSAGE_WORKER_WAITS_FOR_DISK,
        MESSAGE_WORKER_FAILED,
        MESSAGE_WORKERS_RENEWED,
        MESSAGE_WORKERS_UNCONFINED,
        /* Destinations */
        MESSAGE_TAKEOVER,
        MESSAGE_BALANCED,
        MESSAGE_SCALED,
        MESSAGE_WORKERS_WANTED,
        MESSAGE_DESTINATION_READDRESSED,
        MESSAGE_DESTINATION_LEFT,
        MESSAGE_DESTINATION_REPLACED,
        MESSAGE_LATCH_SET,
        MESSAGE_LATCH_LIFTED,
        MESSAGE_JOURNAL_DEAF,
        MESSAGE_JOURNAL_FINDING,
        /* Sessions */
        MESSAGE_SESSION_OWNED,
        MESSAGE_SESSION_TAKEN_OVER,
        MESSAGE_SESSION_HANDED_OVER,
        MESSAGE_SESSION_PHASE,
        MESSAGE_SESSION_WAITS,
        MESSAGE_SESSION_GOES_ON,
        MESSAGE_SESSION_STOPPED,
        MESSAGE_SESSION_QUARANTINED,
        MESSAGE_SESSION_ADOPTED,
        MESSAGE_SESSION_LEFT,
        MESSAGE_EVENT_PARKED,
        MESSAGE_TAIL_CUT,
        MESSAGE_SOURCE_MARK_FAILED,
        /* Control */
        MESSAGE_CONTROL_REFUSED,
        MESSAGE_CONTROL_TROUBLE,
        MESSAGE_BUS_NAME_OWNED,
        MESSAGE_BUS_NAME_MISSING,
        /* The log */
        MESSAGE_LINES_LOST,
        MESSAGE_COUNT
};

struct message {
        const char *name; /* "session-stopped" */
        const char *id;   /* 32 hexadecimal digits in lower case */
        uint16_t burst;   /* lines of one subject (log_limit.h) within a window; more are held back */
        bool is_crowded; /* comes for many sessions at once: a person at a terminal is told a few, and a count */
};

/* The row of a kind, which must be one (asserted); never NULL, lives as long as the program. */
const struct message *message_of(enum message_kind kind);
