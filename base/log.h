/* SPDX-License-Identifier: Apache-2.0 */
/* One line for each event of interest: to stderr when a person runs it, structured to journald
 * (its native protocol) when stderr is journald's stream (JOURNAL_STREAM matches it). Never a payload
 * (P5). Libraries (base, shm, source, destination, journal) never log; supervisor, mover and command
 * line do, once for each thing that happens.
 *
 * Too many lines of one kind about one session are held back, and counted, and the count is told (log_limit.h): by
 * log_tick(), which whoever logs calls now and then, and by log_finish() before the end of the program.
 * Thread-safe after log_init(). No allocation; errno is kept. Not for signal handlers. A child of fork() may log, if
 * its parent had one thread and its descriptors are open: one is a socket to journald. A journald that
 * hangs is waited for 0.1 s, once; what it does not take is lost, and how many lines it was is told later. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include "base/macro.h"
#include "base/message.h"

struct log_fields {               /* zeroed fields are left out */
        const char *session;      /* BATON_SESSION= */
        const char *destination;  /* BATON_DESTINATION= */
        const char *reason;       /* BATON_REASON= */
        uint64_t worker_ref;      /* BATON_WORKER=index BATON_WORKER_GENERATION= */
        uint64_t epoch, position; /* BATON_EPOCH=, BATON_POSITION= */
        uint64_t takeover_usec;   /* BATON_TAKEOVER_USEC= */
        int32_t pid;              /* BATON_PID= : of the process that the line is about */
        uint32_t peer_uid; /* BATON_PEER_UID= : who asked; of each a few lines are told (log_limit.h) */
};

void log_init(const char *program); /* "batond", "baton-worker" */
void log_level(int priority_max);   /* LOG_INFO by default */
bool log_is_verbose(void);          /* LOG_DEBUG, by log_level() */
/* On stderr: "18:02:11.123 batond: sentence [session=orders epoch=4]". To journald the same sentence as MESSAGE=, with
 * MESSAGE_ID= and BATON_KIND= of the kind, and the fields. fields may be NULL; its texts are the caller's. */
void log_line(enum message_kind kind, int priority, const struct log_fields *fields, const char *format, ...)
        _printf_(4, 5);

/* Tells what was held back and whose window has ended. True: something still is; come again, in a second or when it
 * suits. Two loads where nothing is. */
bool log_tick(void);
/* Tells all that is held back. Before the program ends, or becomes another. */
void log_finish(void);
