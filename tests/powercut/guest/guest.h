/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's only program: init, operator, application and clerk of the judge.
 *
 * It speaks to the host in lines on the console (host/boot.h). Whatever must be remembered over a cut is
 * told to the host as claims, and comes back on the kernel's command line.
 * Must not touch: Baton's files, but through Baton; a file descriptor of a database. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "prove/world/world.h"

#define SOURCE_COUNT 4
#define SESSION_COUNT 5
#define SQLITE_DESTINATION 0
#define DISK "/disk"
#define STATE DISK "/state"
#define RUNTIME "/run/baton"
#define CONFIG DISK "/baton.conf"

struct source {
        const char *name, *file;
        bool normal;  /* the application writes at synchronous=NORMAL; else FULL */
        bool cleaned; /* clean-up=delete: the ledger is what it is judged by */
};
extern const struct source sources[SOURCE_COUNT];

struct session {
        const char *name;
        unsigned destination, source;
};
extern const struct session sessions[SESSION_COUNT];
extern const char *const destinations[2]; /* as the checker wants them: SQLite, file */

/* What must be there after the power came back. */
struct claims {
        uint64_t committed[SOURCE_COUNT]; /* last event that the application committed */
        uint64_t durable[SESSION_COUNT];  /* last event that Baton said is at its destination */
};

struct application; /* shared with the writers */

struct guest {
        struct world world; /* for what reads the segment */
        pid_t batond, writers[SOURCE_COUNT];
        bool may_end; /* batond, which cannot make a segment where it cannot write a number (V8) */
        struct application *application;
        struct claims claims;
        uint64_t said_usec, progress_usec, progress;
};

/* main.c */
_printf_(1, 2) void say(const char *format, ...);
/* Says why, shows status and logs, switches the machine off. */
_noreturn_ void guest_fail(struct guest *guest, const char *format, ...) _printf_(2, 3);
_noreturn_ void power_off(void);

/* start.c: from the kernel's hands to a mounted disk with an installation on it. */
void system_start(void);
void disk_mount(struct guest *guest, const char *options);
void installation_make(struct guest *guest); /* on the first boot */

/* run.c: programs. */
pid_t program_start(const char *const *argv, const char *output);
/* Runs it to its end; exit status or 128 + signal. Its output is in guest->world.output. */
int program_run(struct guest *guest, const char *const *argv);
/* Sends the signal (0: none) and waits for the end; *pid is 0 then. Exit status or 128 + signal. */
int program_end(pid_t *pid, int signal_number);
void children_reap(struct guest *guest); /* and what workers leave behind; fails if a writer failed */

/* application.c: one writer for each source, until told to stop. */
void application_begin(struct guest *guest);
void application_install(struct guest *guest); /* its tables, without an event */
void application_start(struct guest *guest);
void application_stop(struct guest *guest);
uint64_t application_committed(const struct guest *guest, unsigned source);
uint64_t source_last(struct guest *guest, unsigned source); /* as the disk has it */

/* judge.c */
/* What the destinations hold of each session, before Baton runs. A file may end in what its owner had not
 * yet recorded, so it is only counted; SQLite is judged (M11). */
void judge_before(struct guest *guest, uint64_t *ret_found);
uint64_t judge_final(struct guest *guest); /* fails, or the number of events at both destinations */

/* watch.c */
void watch(struct guest *guest, uint64_t msec); /* claims are told, a stopped session fails */
void wait_recovered(struct guest *guest);       /* all sessions idle, at the last event of their source */
void claims_read(struct guest *guest, const char *text);
void claims_say(struct guest *guest);

/* harm.c */
void harm_takeover(struct guest *guest); /* kills a worker in a transaction */
void harm_full(struct guest *guest);     /* fills the disk */
bool harm_is_full(void);                 /* also after a boot */
void harm_room(struct guest *guest);     /* there is room again */
