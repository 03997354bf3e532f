/* SPDX-License-Identifier: Apache-2.0 */
/* The course of one boot (guest.h). The host pulls the plug somewhere in it, so nothing here may count on
 * coming to its end. Must not touch: Baton's files, but through Baton. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "tests/powercut/guest/guest.h"

#define BATOND_LOG "/run/batond.log"
#define LOG_TAIL_BYTES 8192

const struct source sources[SOURCE_COUNT] = {
        { "orders", DISK "/orders.db", .normal = false, .cleaned = true },
        { "payments", DISK "/payments.db", .normal = true, .cleaned = false },
        { "clicks", DISK "/clicks.db", .normal = true, .cleaned = true },
        { "refunds", DISK "/refunds.db", .normal = false, .cleaned = false },
};
const char *const destinations[2] = { "sqlite:" DISK "/events.db", "file:" DISK "/lines" };
const struct session sessions[SESSION_COUNT] = {
        { "orders", 0, 0 }, { "payments", 0, 1 },      { "refunds/events", 0, 3 },
        { "clicks", 1, 2 }, { "refunds/lines", 1, 3 },
};

void say(const char *format, ...) {
        char line[1024] = "pc: ";
        va_list arguments;
        size_t bytes;

        va_start(arguments, format);
        (void) vsnprintf(line + 4, sizeof(line) - 5, format, arguments);
        va_end(arguments);
        bytes = strlen(line);
        line[bytes++] = '\n';
        (void) write(STDOUT_FILENO, line, bytes);
}

void power_off(void) {
        (void) kill(-1, SIGKILL);
        sync();
        (void) umount2(DISK, 0);
        (void) reboot(RB_POWER_OFF);
        for (;;)
                (void) pause();
}

static void show_tail(const char *path) {
        static char text[LOG_TAIL_BYTES];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
        ssize_t n = fd < 0 ? 0
                           : pread(fd, text, sizeof(text), end > LOG_TAIL_BYTES ? end - LOG_TAIL_BYTES : 0);

        if (fd >= 0)
                (void) close(fd);
        (void) printf("---- %s\n%.*s\n", path, (int) (n > 0 ? n : 0), text);
        (void) fflush(stdout);
}

void guest_fail(struct guest *guest, const char *format, ...) {
        static const char *const status[] = { "/bin/baton", "status", "--runtime", RUNTIME, NULL };
        static const char *const journals[] = { "/bin/baton", "journal", "check", STATE "/journal", NULL };
        char sentence[512];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);
        (void) printf("---- what was printed last\n%s\n", guest->world.output);
        say("failed %s", sentence);
        (void) program_run(guest, status);
        (void) printf("---- baton status\n%s\n", guest->world.output);
        (void) program_run(guest, journals);
        (void) printf("---- baton journal check\n%s\n", guest->world.output);
        show_tail(BATOND_LOG);
        power_off();
}

static bool word_is(const char *name, const char *value) {
        const char *word = getenv(name);

        return word && strcmp(word, value) == 0;
}

/* What the disk holds, against what was claimed before the cut. */
static void compare_claims(struct guest *guest) {
        uint64_t found[SESSION_COUNT], last, lost = 0, events = 0;

        for (unsigned i = 0; i < SOURCE_COUNT; i++) {
                last = source_last(guest, i);
                if (last < guest->claims.committed[i] && !sources[i].normal)
                        guest_fail(guest,
                                   "source %s ends at %llu, and %llu was committed at synchronous=FULL",
                                   sources[i].name, (unsigned long long) last,
                                   (unsigned long long) guest->claims.committed[i]);
                if (last < guest->claims.committed[i])
                        lost += guest->claims.committed[i] - last;
                guest->claims.committed[i] = last;
        }
        judge_before(guest, found);
        for (unsigned i = 0; i < SESSION_COUNT; i++) {
                if (found[i] < guest->claims.durable[i])
                        guest_fail(guest,
                                   "session %s has %llu events at its destination, and Baton said %llu",
                                   sessions[i].name, (unsigned long long) found[i],
                                   (unsigned long long) guest->claims.durable[i]);
                events += found[i];
        }
        say("lost %llu", (unsigned long long) lost);
        say("before %llu", (unsigned long long) events);
        claims_say(guest);
}

static void baton_start(struct guest *guest) {
        static const char *const argv[] = { "/bin/batond", "-c",        CONFIG,  "--state",
                                            STATE,         "--runtime", RUNTIME, NULL };

        guest->batond = program_start(argv, BATOND_LOG);
        say("phase start");
}

/* In the end everything is ended as an operator would do it. */
static void baton_stop(struct guest *guest) {
        static const char *const journals[] = { "/bin/baton", "journal", "check", STATE "/journal", NULL };
        pid_t batond = guest->batond;
        int r;

        say("phase stop");
        r = program_end(&guest->batond, SIGTERM);
        if (r != 0)
                guest_fail(guest, "batond (%d) was stopped and ended with %d", (int) batond, r);
        r = program_run(guest, journals);
        if (r != 0)
                guest_fail(guest, "baton journal check: exit %d", r);
}

/* Baton started on a full disk: it waits for room, or it says why not, ends, and is started again, as a
 * service manager does. */
static void baton_start_without_room(struct guest *guest) {
        guest->may_end = true;
        baton_start(guest);
        watch(guest, 1000);
        harm_room(guest);
        watch(guest, 1000);
        guest->may_end = false;
        if (guest->batond == 0)
                baton_start(guest);
}

/* A disk that was full at the cut is full at the boot. Nobody can open a database there that has a log to
 * recover; so in one half of the boots there is room first, in the other Baton starts without. */
static void recover(struct guest *guest) {
        bool without_room = harm_is_full() && !word_is("early", "1");

        say("phase before");
        if (harm_is_full() && !without_room)
                harm_room(guest);
        if (!without_room)
                compare_claims(guest);
        if (without_room)
                baton_start_without_room(guest);
        else
                baton_start(guest);
        if (without_room)
                compare_claims(guest);
        if (word_is("work", "busy")) {
                application_start(guest);
                watch(guest, 4000);
                application_stop(guest);
        }
        wait_recovered(guest);
        say("phase judge");
        say("verdict %llu", (unsigned long long) judge_final(guest));
}

/* Until the plug is pulled. */
_noreturn_ static void work(struct guest *guest) {
        application_start(guest);
        say("phase load");
        for (;;) {
                watch(guest, 1500);
                if (word_is("work", "takeover"))
                        harm_takeover(guest);
                if (word_is("work", "full")) {
                        harm_full(guest);
                        watch(guest, 3000);
                        harm_room(guest);
                }
        }
}

int main(void) {
        static struct guest guest;

        system_start();
        (void) snprintf(guest.world.runtime, sizeof(guest.world.runtime), RUNTIME);
        for (unsigned i = 0; i < SESSION_COUNT; i++)
                (void) snprintf(guest.world.outboxes[guest.world.outbox_count++].name,
                                sizeof(guest.world.outboxes[0].name), "%s", sessions[i].name);
        disk_mount(&guest, getenv("mount"));
        application_begin(&guest);
        installation_make(&guest);
        claims_read(&guest, getenv("claims"));
        recover(&guest);
        if (!word_is("last", "1"))
                work(&guest);
        application_start(&guest);
        say("phase load");
        watch(&guest, 3000);
        application_stop(&guest);
        wait_recovered(&guest);
        say("verdict %llu", (unsigned long long) judge_final(&guest));
        baton_stop(&guest);
        say("done");
        power_off();
}
