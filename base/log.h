/* SPDX-License-Identifier: Apache-2.0 */
/* One line for each event of interest: to stderr when a person runs it, structured to journald
 * (sd_journal_sendv) when stderr is journald's stream (JOURNAL_STREAM matches it). Never a payload
 * (P5). Libraries (base, shm, source, destination, journal) never log; supervisor, mover and command
 * line do, once for each thing that happens. Thread-safe after log_init(). */
#pragma once

#include <stdint.h>
#include <syslog.h>

#include "base/macro.h"

struct log_fields {               /* zeroed fields are left out */
        const char *session;      /* BATON_SESSION= */
        const char *destination;  /* BATON_DESTINATION= */
        const char *reason;       /* BATON_REASON= */
        uint64_t worker_ref;      /* BATON_WORKER=index BATON_WORKER_GENERATION= */
        uint64_t epoch, position; /* BATON_EPOCH=, BATON_POSITION= */
        uint64_t takeover_usec;   /* BATON_TAKEOVER_USEC= */
        int32_t pid;              /* BATON_PID= : of the process that the line is about */
};

void log_init(const char *program); /* "batond", "baton-worker" */
void log_level(int priority_max);   /* LOG_INFO by default */
/* On stderr: "18:02:11.123 batond: sentence [session=orders epoch=4]". fields may be NULL. */
void log_line(int priority, const struct log_fields *fields, const char *format, ...) _printf_(3, 4);
