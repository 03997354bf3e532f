/* SPDX-License-Identifier: Apache-2.0 */
/* What runs inside the container, as root, beside a real systemd: drives the installed package as an administrator
 * would, and counts: all steps, or those with a part of a name in theirs. `guest while SOURCE COMMAND` runs a command
 * while events of that one source are moved, for tests/package. One world: /srv/shop holds the application's files, the rest is where the unit has it. */
#pragma once

#include "prove/world/outbox.h"
#include "prove/world/world.h"

#define SHOP "/srv/shop"
#define DESTINATION "/var/lib/baton/events.db"

struct guest {
        struct world world;
        pid_t writers[4];
        size_t writer_count;
        struct writer_commits *commits[WORLD_OUTBOX_MAX]; /* of each outbox's last writer, in shared memory */
        char skipped[256]; /* why the step that runs cannot be taken here; "": it can */
};

/* Each proves one thing, and leaves the service running and idle for the next. */
struct step {
        const char *name;
        void (*run)(struct guest *guest);
};

/* ---- service.c: systemctl and journalctl ------------------------------------------------------------- */
/* Runs a shell command; it must succeed. Its output is in world.output. */
void shell(struct guest *guest, const char *format, ...) _printf_(2, 3);
int shell_code(struct guest *guest, const char *format, ...) _printf_(2, 3);
/* Again and again, until it succeeds; bounded. */
void shell_until(struct guest *guest, const char *format, ...) _printf_(2, 3);
/* A property of a unit, as text, in a static buffer. */
const char *unit_property(struct guest *guest, const char *unit, const char *name);
bool unit_is(struct guest *guest, const char *unit, const char *state, const char *substate);
pid_t main_pid(struct guest *guest);
/* The pid of another batond that is ready. */
pid_t wait_replaced(struct guest *guest, pid_t before);
/* [Service] lines in a drop-in of their own, until drop_in_end(). */
void drop_in(struct guest *guest, const char *unit, const char *lines);
void drop_in_end(struct guest *guest, const char *unit);
/* Processes of the service's user that run batond or baton-worker. */
size_t process_count(struct guest *guest, const char *program);

/* ---- shop.c: the application ------------------------------------------------------------------------- */
void shop_open(struct guest *guest);
void shop_know(struct guest *guest, const char *source); /* instead: it stands there already */
void shop_write(struct guest *guest, const char *source, unsigned per_second); /* until shop_pause() */
void shop_pause(struct guest *guest);
/* All that was written is moved, and the judge agrees. */
void shop_check(struct guest *guest);

/* ---- gaps.c: how long nothing was committed ------------------------------------------------------------ */
struct pauses {
        uint64_t all_usec;     /* between two commits to the destination, all sessions together */
        uint64_t session_usec; /* between two commits of one session, any */
        uint64_t wait_usec;    /* from the application's commit of an event to that at the destination */
        uint64_t batch_usec;   /* the longest transaction */
        unsigned handovers;    /* changes of owner, from one that lives to one that lives, in one step */
        unsigned given_up;     /* changes of owner of any other kind: there was none for a while */
        unsigned unseen; /* changes of owner that came too quickly one after the other to be told apart */
};
/* Watches the sessions' own stamps of their commits, and their owners, from the segment, in a process of its own. Spans
 * are printed, not judged: other work on this machine is in them. */
void gaps_begin(struct guest *guest);
struct pauses gaps_end(struct guest *guest);
void pauses_add(struct pauses *pauses, struct pauses more); /* the longer of each */
void pauses_print(const char *what, struct pauses pauses);
void owners_print(struct pauses pauses); /* what tests/package looks for */

/* ---- rights.c: users ---------------------------------------------------------------------------------- */
/* stranger, looker (of group baton) and oper (of baton-operators, too), where they are not there yet. */
void users_make(struct guest *guest);
/* The command fails for that user, and says these words. */
void expect_refused(struct guest *guest, const char *user, const char *command, const char *words);
/* Waits until the destination holds so many rows of a session. */
void wait_rows(struct guest *guest, const char *session, unsigned rows);

/* ---- the steps, in the order in which main.c takes them; each table ends with a nameless one ------------- */
extern const struct step steps_supervise[];
extern const struct step steps_takeover[];
extern const struct step steps_memory[];
extern const struct step steps_segment[];
extern const struct step steps_stop[];
extern const struct step steps_look[];
extern const struct step steps_journald[];
extern const struct step steps_upgrade[];
extern const struct step steps_rights[];
extern const struct step steps_bus[];
extern const struct step steps_credentials[];
