/* SPDX-License-Identifier: Apache-2.0 */
/* `baton demo` inside: real processes in a directory of their own, the four pictures, the kill, the
 * count. Everything it makes is its own; it touches no other Baton on the machine. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/failure.h"
#include "shm/segment.h"

#define DEMO_SESSION_COUNT 2
#define DEMO_WORKER_COUNT_MAX 16
#define DEMO_PATH_BYTES 512
extern const char *const demo_sessions[DEMO_SESSION_COUNT]; /* "orders", "payments" */

/* Between the demo and its writer, which is another process. One writer each, as named. */
struct demo_shared {
        _Atomic uint64_t written[DEMO_SESSION_COUNT]; /* committed events; the writer */
        _Atomic uint32_t is_finished;                 /* the writer */
        char trouble[FAILURE_TEXT_BYTES];             /* the writer, before it exits with 1 */
};

/* A worker as the demo calls it: 1, 2, 3 in the order in which they appeared. */
struct demo_worker {
        uint64_t ref;
        int pid;
        bool is_live;
};

struct demo_session {
        unsigned owner; /* number of the worker; 0: nobody */
        uint64_t written, position;
        double rate; /* events/s; < 0: unknown yet */
};

/* One moment, as a picture shows it. */
struct demo_frame {
        uint64_t usec; /* since the demo began */
        struct demo_session sessions[DEMO_SESSION_COUNT];
        struct demo_worker workers[DEMO_WORKER_COUNT_MAX]; /* worker N at N - 1 */
        unsigned worker_count;
        unsigned killed; /* number of the one that is shown dead; 0 */
};

#define DEMO_SAMPLE_COUNT 12
struct demo {
        uint64_t events, seconds;
        bool keep, failed;
        char directory[DEMO_PATH_BYTES], runtime[DEMO_PATH_BYTES], state[DEMO_PATH_BYTES];
        bool runtime_is_apart;            /* in /dev/shm: removed by itself */
        pid_t supervisor_pid, writer_pid; /* 0: not running */
        struct demo_shared *shared;
        struct segment *segment;
        uint64_t start_usec;
        struct demo_worker workers[DEMO_WORKER_COUNT_MAX];
        unsigned worker_count;
        struct {
                uint64_t usec, position[DEMO_SESSION_COUNT];
        } samples[DEMO_SAMPLE_COUNT];
        uint64_t sample_count;
};

/* What the kill showed. Times from the kill, in microseconds. */
struct demo_kill {
        unsigned victim, heir;
        int victim_pid;
        bool was_in_transaction;
        uint64_t transaction_usec;           /* how long it had been open */
        uint64_t owned_usec, committed_usec; /* of the last session of the victim */
        struct demo_frame before, after;
};

/* ---- demo_place.c: directories and configuration ------------------------------------------------ */
int demo_place_make(struct demo *demo, struct failure *ret_failure);
void demo_place_remove(struct demo *demo);
void demo_outbox_path(const struct demo *demo, unsigned session, char ret_path[DEMO_PATH_BYTES]);
void demo_destination_path(const struct demo *demo, char ret_path[DEMO_PATH_BYTES]);
/* The last lines of the supervisor's log, for a failure. */
void demo_log_show(const struct demo *demo);

/* ---- demo_process.c: supervisor and writer ------------------------------------------------------- */
int demo_supervisor_start(struct demo *demo, struct failure *ret_failure);
/* SIGTERM, and waits; 0 if it exited with 0. */
int demo_supervisor_stop(struct demo *demo, struct failure *ret_failure);
int demo_writer_start(struct demo *demo, struct failure *ret_failure);
/* Kills what is left. */
void demo_processes_end(struct demo *demo);
/* -ECHILD and a sentence where one of them ended that should run. */
int demo_processes_check(struct demo *demo, struct failure *ret_failure);
/* True after Ctrl-C or SIGTERM. */
bool demo_is_interrupted(void);
void demo_catch_signals(void);
void demo_sleep(uint64_t span_usec);

/* ---- demo_writer.c: the application ---------------------------------------------------------------- */
/* Fills the outboxes; the writer process's whole life. Returns its exit status. */
int demo_write(const struct demo *demo);

/* ---- demo_look.c: the segment as a frame ------------------------------------------------------------ */
void demo_look(struct demo *demo, struct demo_frame *ret_frame);
unsigned demo_live_workers(const struct demo_frame *frame);
bool demo_one_owner(const struct demo_frame *frame); /* all sessions, the same live worker */
bool demo_all_moved(const struct demo *demo, const struct demo_frame *frame);

/* ---- demo_kill.c -------------------------------------------------------------------------------------- */
int demo_kill_in_transaction(struct demo *demo, unsigned victim, struct demo_kill *ret_kill,
                             struct failure *ret_failure);

/* ---- demo_draw.c: pictures ------------------------------------------------------------------------------ */
/* Decides by the terminal: drawn in place, or plain lines. */
void demo_draw_init(void);
/* Begins picture `letter` (0: none) below what is there. */
void demo_draw_begin(char letter, const char *title);
/* The picture at this moment: replaces the last one in place, or prints a line at most once a second. */
void demo_draw(const struct demo_frame *frame, const char *note);
/* The picture stays as it is; what is printed next stands below. */
void demo_draw_end(const struct demo_frame *frame, const char *note);
/* A sentence below the picture. */
void demo_say(const char *format, ...) _printf_(1, 2);

/* ---- demo_count.c: the end --------------------------------------------------------------------------------- */
struct demo_count {
        uint64_t expected, found, missing, duplicated, out_of_order;
};
int demo_count_session(const struct demo *demo, unsigned session, struct demo_count *ret_count,
                       struct failure *ret_failure);
