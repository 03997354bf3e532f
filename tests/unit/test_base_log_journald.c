/* SPDX-License-Identifier: Apache-2.0 */
/* What journald is sent, seen at a socket that stands where journald's is, in a mount namespace of the test's own. */

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static int journald = -1;
static char entry[8192]; /* the last one received: "FIELD=value\n", one behind the other */

/* False: it may not be done here, and why is told. */
static bool journald_begin(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
        struct stat status;
        char stream[64];

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0)
                return false;
        cr_assert_eq(mkdir("/run/systemd", 0755), 0);
        cr_assert_eq(mkdir("/run/systemd/journal", 0755), 0);
        journald = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        cr_assert_geq(journald, 0);
        cr_assert_eq(bind(journald, (struct sockaddr *) &address, sizeof address), 0);
        cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
        (void) snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long) status.st_dev,
                        (unsigned long long) status.st_ino);
        (void) setenv("JOURNAL_STREAM", stream, 1);
        log_init("batond");
        return true;
}

#define BEGIN()                                                                                          \
        do {                                                                                             \
                if (!journald_begin())                                                                   \
                        cr_skip_test("no mount namespace of its own (%s): needs root", strerror(errno)); \
        } while (0)

static bool receive(void) {
        ssize_t bytes = recv(journald, entry, sizeof entry - 1, MSG_DONTWAIT);

        entry[bytes > 0 ? bytes : 0] = '\0';
        return bytes > 0;
}

static uint32_t receive_all(void) {
        char last[sizeof entry] = "";
        uint32_t count = 0;

        for (; receive(); count++)
                memcpy(last, entry, sizeof entry);
        memcpy(entry, last, sizeof entry);
        return count;
}

static void expect_field(const char *field) {
        char line[512];
        const char *at;

        (void) snprintf(line, sizeof line, "%s\n", field);
        at = strstr(entry, line);
        cr_assert(at && (at == entry || at[-1] == '\n'), "%s is not in: %s", field, entry);
}

static uint32_t field_count(void) {
        uint32_t count = 0;

        for (const char *p = entry; (p = strchr(p, '\n')); p++)
                count++;
        return count;
}

Test(log_journald, an_entry_has_its_id_and_every_field) {
        char id[64];

        BEGIN();
        log_line(MESSAGE_SESSION_STOPPED, LOG_ERR,
                 &(struct log_fields){ .session = "orders",
                                       .destination = "events",
                                       .reason = "a disk\nfull",
                                       .worker_ref = 3 << 16 | 7,
                                       .epoch = (3ULL << 32) + 4,
                                       .position = 99,
                                       .takeover_usec = 250,
                                       .pid = 4711 },
                 "session %s stopped", "orders");
        cr_assert(receive());
        (void) snprintf(id, sizeof id, "MESSAGE_ID=%s", message_of(MESSAGE_SESSION_STOPPED)->id);
        expect_field("MESSAGE=session orders stopped");
        expect_field(id);
        expect_field("BATON_KIND=session-stopped");
        expect_field("PRIORITY=3");
        expect_field("SYSLOG_IDENTIFIER=batond");
        expect_field("BATON_SESSION=orders");
        expect_field("BATON_DESTINATION=events");
        expect_field("BATON_REASON=a disk full");
        expect_field("BATON_WORKER=7");
        expect_field("BATON_WORKER_GENERATION=3");
        expect_field("BATON_EPOCH=12884901892");
        expect_field("BATON_POSITION=99");
        expect_field("BATON_TAKEOVER_USEC=250");
        expect_field("BATON_PID=4711");
        cr_assert_eq(field_count(), 14, "and no other: %s", entry);
        cr_assert_not(receive());
}

Test(log_journald, without_fields_there_is_the_kind_alone) {
        BEGIN();
        log_line(MESSAGE_SUPERVISOR_READY, LOG_NOTICE, NULL, "ready");
        cr_assert(receive());
        expect_field("MESSAGE=ready");
        cr_assert_eq(field_count(), 5, "%s", entry);
}

Test(log_journald, what_was_held_back_comes_as_a_count) {
        BEGIN();
        for (int i = 1; i <= 52; i++)
                log_line(MESSAGE_EVENT_PARKED, LOG_WARNING,
                         &(struct log_fields){
                                 .session = "orders", .position = (uint64_t) i, .reason = "why" },
                         "event %d is parked: why", i);
        cr_assert_eq(receive_all(), 10);
        log_finish();
        cr_assert_eq(receive_all(), 1);
        expect_field("BATON_SUPPRESSED=42");
        expect_field("BATON_KIND=event-parked");
        expect_field("BATON_SESSION=orders");
        expect_field("BATON_POSITION=52");
        expect_field("BATON_REASON=why");
        cr_assert(strstr(entry, "MESSAGE=… and 42 more of this kind, the last "), "%s", entry);
        cr_assert(strstr(entry, "event 52 is parked: why\n"), "%s", entry);
}

/* `journalctl BATON_SESSION=…` is to tell the life of each. */
Test(log_journald, of_a_crowd_each_session_is_told) {
        uint32_t count = 0;
        char session[32];

        BEGIN();
        for (int i = 0; i < 100; i++) {
                (void) snprintf(session, sizeof session, "s%d", i);
                log_line(MESSAGE_SESSION_TAKEN_OVER, LOG_INFO, &(struct log_fields){ .session = session },
                         "session %s to worker 1", session);
                count += receive_all();
        }
        cr_assert_eq(count, 100);
        log_finish();
        cr_assert_eq(receive_all(), 0);
}

/* Whatever a name or a reason holds, it makes no field of its own. */
Test(log_journald, a_text_is_no_second_field) {
        BEGIN();
        log_line(MESSAGE_SESSION_WAITS, LOG_ERR,
                 &(struct log_fields){ .session = "a", .reason = "b\nPRIORITY=0\n_PID=1" },
                 "a\nMESSAGE_ID=b");
        cr_assert(receive());
        expect_field("MESSAGE=a MESSAGE_ID=b");
        expect_field("BATON_REASON=b PRIORITY=0 _PID=1");
        cr_assert_eq(field_count(), 7, "%s", entry);
}
