/* SPDX-License-Identifier: Apache-2.0 */
/* Harm done to workers on purpose, and the proof that it was done: who was to die is dead, who was to stand
 * still does, who was to die in a transaction did.
 * Must not touch: the segment (it is read), a process that is no worker of the world. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/world/outbox.h"

/* Of one outbox, then of the next. */
#define FEED_EVENTS 4000
/* A transaction may end between the look and the stop; so often in a row it does not. */
#define MISSES_MAX 100

void kill_together(const pid_t *pids, size_t count, int signal_number) {
        for (size_t i = 0; i < count; i++)
                kill_process(pids[i], signal_number);
        for (size_t i = 0; i < count; i++)
                kill_and_wait(pids[i], signal_number);
}

/* ---- stopped ----------------------------------------------------------------------------------- */
static bool thread_is_stopped(pid_t pid, const char *thread) {
        char path[64], text[512];
        _cleanup_fd_ int fd = -1;
        const char *state;
        ssize_t bytes;

        (void) snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", (int) pid, thread);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        bytes = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
        if (bytes <= 0)
                return true; /* a thread that ended runs no more */
        text[bytes] = '\0';
        state = strrchr(text, ')');
        return state && state[1] == ' ' && state[2] == 'T';
}

/* Each thread by itself: a signal to the process stops them one after the other. */
static bool process_is_stopped(pid_t pid) {
        struct dirent *entry;
        char path[64];
        bool all = true;
        DIR *directory;

        (void) snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);
        directory = opendir(path);
        if (!directory)
                return false;
        while (all && (entry = readdir(directory)))
                if (entry->d_name[0] != '.')
                        all = thread_is_stopped(pid, entry->d_name);
        (void) closedir(directory);
        return all;
}

void stop_process(struct world *world, pid_t pid) {
        kill_process(pid, SIGSTOP);
        WAIT_UNTIL(world, process_is_stopped(pid));
}

/* ---- in a transaction -------------------------------------------------------------------------- */
/* Events are moved faster than they are written: what is to be caught at it must be fed meanwhile. */
struct feeder {
        pid_t writer;
        unsigned turn;
};

static void feed(struct world *world, struct feeder *feeder) {
        struct writer_options options = { .events = FEED_EVENTS, .transaction_events = 200 };

        if (feeder->writer > 0 && process_is_alive(feeder->writer))
                return;
        if (feeder->writer > 0)
                writer_wait(world, feeder->writer);
        options.source = world->outboxes[feeder->turn++ % world->outbox_count].name;
        feeder->writer = writer_start(world, &options);
}

/* Its word is read while no thread of it runs, so it cannot leave the transaction before we do to it what
 * we came for. */
pid_t stop_in_transaction(struct world *world) {
        struct feeder feeder = { 0 };

        for (unsigned i = 0; i < MISSES_MAX; i++) {
                const struct layout_worker *entry;
                uint64_t life;
                pid_t pid;

                WAIT_UNTIL(world, (feed(world, &feeder), (entry = entry_in_transaction(world)) != NULL));
                life = entry->life;
                pid = (pid_t) entry->pid;
                stop_process(world, pid);
                if (entry->transaction_since_usec != 0 && entry->life == life) {
                        writer_wait(world, feeder.writer);
                        return pid;
                }
                kill_process(pid, SIGCONT);
        }
        world_fail(world, "of %d stops none hit a transaction", MISSES_MAX);
}

void kill_in_transaction(struct world *world, int signal_number) {
        pid_t pid;

        WAIT_UNTIL(world, nobody_is_accused(world));
        pid = stop_in_transaction(world);
        kill_process(pid, signal_number);
        kill_and_wait(pid, SIGCONT); /* SIGKILL has done it already; the others are waiting for this */
        /* Each session has another owner: the death was looked at, and its note stands in the slot. */
        WAIT_UNTIL(world, all_owned_by_live(world));
}
