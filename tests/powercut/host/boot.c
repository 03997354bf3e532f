/* SPDX-License-Identifier: Apache-2.0 */
/* One boot: serves the disk, listens to the console, pulls the plug when the plan says so.
 * Must not touch: the image, but through the disk. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/powercut/host/boot.h"

#define PREFIX "pc: "
/* The guest speaks every second. One that was silent for so long hangs, or the host has no processor for
 * it; either way there is nothing more to learn. */
#define SILENCE_USEC (600 * USEC_PER_SEC)

static uint64_t requests(const struct boot *boot) {
        return boot->disk->write_count + boot->disk->flush_count;
}

_printf_(2, 3) static void fail(struct boot *boot, const char *format, ...) {
        va_list arguments;

        if (boot->failure[0])
                return; /* the first counts */
        va_start(arguments, format);
        (void) vsnprintf(boot->failure, sizeof(boot->failure), format, arguments);
        va_end(arguments);
}

/* ---- what the guest says ----------------------------------------------------------------------- */
static void hear_phase(struct boot *boot, const char *word) {
        (void) snprintf(boot->phase, sizeof(boot->phase), "%s", word);
        if (strcmp(word, "start") == 0)
                boot->recovery_usec = clock_usec();
        if (boot->is_marked || boot->is_last || strcmp(word, cut_kinds[boot->plan.kind].marker) != 0)
                return;
        boot->is_marked = true;
        boot->mark_usec = clock_usec();
        boot->mark_requests = requests(boot);
}

static void hear_verdict(struct boot *boot, const char *number) {
        if (text_parse_u64(number, &boot->events_last) < 0)
                fail(boot, "the guest's verdict is no number: %s", number);
        if (boot->is_judged)
                return; /* the second, of a guest that finishes */
        boot->is_judged = true;
        boot->events_after = boot->events_last;
        boot->verdict_usec = clock_usec();
}

static void hear(struct boot *boot, const char *line) {
        const char *rest = line + strlen(PREFIX);

        (void) fprintf(boot->log, "%s\n", line);
        if (strstr(line, "Kernel panic"))
                fail(boot, "the guest's kernel: %s", line);
        if (strncmp(line, PREFIX, strlen(PREFIX)) != 0)
                return;
        boot->heard_usec = clock_usec();
        if (strncmp(rest, "phase ", 6) == 0)
                hear_phase(boot, rest + 6);
        else if (strncmp(rest, "claims ", 7) == 0)
                (void) snprintf(boot->claims, sizeof(boot->claims), "%s", rest + 7);
        else if (strncmp(rest, "lost ", 5) == 0)
                (void) text_parse_u64(rest + 5, &boot->events_lost);
        else if (strncmp(rest, "before ", 7) == 0)
                (void) text_parse_u64(rest + 7, &boot->events_before);
        else if (strncmp(rest, "verdict ", 8) == 0)
                hear_verdict(boot, rest + 8);
        else if (strncmp(rest, "failed ", 7) == 0)
                fail(boot, "%s", rest + 7);
        else if (strcmp(rest, "done") == 0)
                boot->is_done = true;
}

/* Until nothing more is there to read. True: the machine is off. */
static bool listen_to(struct boot *boot, struct machine *machine) {
        const char *line;
        int r;

        while ((r = machine_line(machine, &line)) == 0)
                hear(boot, line);
        return r != -EAGAIN;
}

/* ---- the plug ---------------------------------------------------------------------------------- */
static enum nbd_cut next_cut(const struct boot *boot) {
        if (!boot->is_marked || boot->failure[0] ||
            requests(boot) - boot->mark_requests + 1 < boot->plan.after_requests)
                return NBD_CUT_NOT;
        return boot->plan.at_flush ? NBD_CUT_AT_FLUSH : NBD_CUT_NOW;
}

static bool is_over(const struct boot *boot) {
        return boot->is_marked && !boot->failure[0] &&
               clock_usec() - boot->mark_usec >= boot->plan.after_msec * USEC_PER_MSEC;
}

/* -ECANCELED: the plug is to be pulled; -EPIPE: the machine is off; other -errno; 0. */
static int turn(struct boot *boot, struct machine *machine) {
        struct pollfd fds[] = { { .fd = machine->console_fd, .events = POLLIN },
                                { .fd = machine->disk_fd, .events = POLLIN } };
        int r;

        if (is_over(boot))
                return -ECANCELED;
        if (clock_usec() - boot->heard_usec > SILENCE_USEC)
                return -ETIMEDOUT;
        if (poll(fds, ELEMENTSOF(fds), 50) < 0)
                return errno == EINTR ? 0 : -errno;
        /* What was said before the request counts before it. */
        if (fds[0].revents && listen_to(boot, machine))
                return -EPIPE;
        r = fds[1].revents ? nbd_serve(&machine->nbd, next_cut(boot)) : 0;
        return r == -EPIPE ? 0 : r; /* how it ended, the console says */
}

/* The end of the machine, and what that leaves of the disk. A guest that switched itself off, or that
 * failed, had all the time to be flushed: the image then is what it saw. */
static enum boot_end finish(struct boot *boot, struct machine *machine, int reason) {
        uint64_t random = boot->plan.random;

        boot->end_usec = clock_usec();
        boot->cut_requests = requests(boot) - boot->mark_requests;
        machine_kill(machine);
        (void) listen_to(boot, machine); /* what it had said before */
        if (reason == -ECANCELED && !boot->failure[0]) {
                disk_cut(boot->disk, boot->plan.fate, &random, &boot->loss);
                return BOOT_CUT;
        }
        if (reason == -ETIMEDOUT)
                fail(boot, "the guest said nothing for %llu s (%s)", SILENCE_USEC / USEC_PER_SEC,
                     boot->phase);
        else if (reason != -EPIPE)
                fail(boot, "the disk cannot be served: %s", strerror(-reason));
        else if (!boot->is_done)
                fail(boot, "the machine went off by itself (%s)", boot->phase);
        disk_cut(boot->disk, CACHE_KEPT, &random, &boot->loss);
        return boot->failure[0] ? BOOT_FAILED : BOOT_DONE;
}

void boot_words(struct boot *boot) {
        (void) snprintf(boot->words, sizeof(boot->words), "work=%s mount=%s early=%d claims=%s",
                        cut_kinds[boot->plan.kind].work, boot->plan.mount, boot->plan.writes_back_early,
                        boot->claims);
}

enum boot_end boot_run(struct boot *boot, const struct machine_files *files) {
        _cleanup_machine_ struct machine machine = {};
        char words[WORDS_BYTES + 16];
        int r;

        (void) snprintf(words, sizeof(words), "%s last=%d", boot->words, boot->is_last);
        (void) fprintf(boot->log, "== boot: %s\n", words);
        boot->began_usec = boot->heard_usec = clock_usec();
        r = machine_start(&machine, files, words, boot->disk);
        while (r == 0)
                r = turn(boot, &machine);
        (void) fflush(boot->log);
        return finish(boot, &machine, r);
}
