/* SPDX-License-Identifier: Apache-2.0 */
/* What journald is sent: ids, fields, and the count of what was held back. */

#include "base/clock.h"
#include "tests/unit/journald_fixture.h"

static void expect_field(const char *entry, const char *name, const char *value) {
        cr_assert(entry_has(entry, name, value), "%s=%s is not in:\n%s", name, value, entry);
}

Test(log_journald, an_entry_has_its_id_and_every_field) {
        const char *entry = entries[0];

        JOURNALD_BEGIN();
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
        journald_end();
        cr_assert_eq(entry_count, 1);
        expect_field(entry, "MESSAGE", "session orders stopped");
        expect_field(entry, "MESSAGE_ID", message_of(MESSAGE_SESSION_STOPPED)->id);
        expect_field(entry, "BATON_KIND", "session-stopped");
        expect_field(entry, "PRIORITY", "3");
        expect_field(entry, "SYSLOG_IDENTIFIER", "batond");
        expect_field(entry, "BATON_SESSION", "orders");
        expect_field(entry, "BATON_DESTINATION", "events");
        expect_field(entry, "BATON_REASON", "a disk full");
        expect_field(entry, "BATON_WORKER", "7");
        expect_field(entry, "BATON_WORKER_GENERATION", "3");
        expect_field(entry, "BATON_EPOCH", "12884901892");
        expect_field(entry, "BATON_POSITION", "99");
        expect_field(entry, "BATON_TAKEOVER_USEC", "250");
        expect_field(entry, "BATON_PID", "4711");
        cr_assert_eq(entry_field_count(entry), 14, "and no other:\n%s", entry);
}

Test(log_journald, without_fields_there_is_the_kind_alone) {
        JOURNALD_BEGIN();
        log_line(MESSAGE_SUPERVISOR_READY, LOG_NOTICE, NULL, "ready");
        journald_end();
        cr_assert_eq(entry_count, 1);
        expect_field(entries[0], "MESSAGE", "ready");
        cr_assert_eq(entry_field_count(entries[0]), 5, "%s", entries[0]);
}

Test(log_journald, what_was_held_back_comes_as_a_count) {
        JOURNALD_BEGIN();
        for (int i = 1; i <= 52; i++)
                log_line(MESSAGE_EVENT_PARKED, LOG_WARNING,
                         &(struct log_fields){
                                 .session = "orders", .position = (uint64_t) i, .reason = "why" },
                         "event %d is parked: why", i);
        log_finish();
        journald_end();
        cr_assert_eq(entry_count, 11);
        cr_assert_null(entry_field(entries[9], "BATON_SUPPRESSED"));
        expect_field(entries[10], "BATON_SUPPRESSED", "42");
        expect_field(entries[10], "BATON_KIND", "event-parked");
        expect_field(entries[10], "BATON_SESSION", "orders");
        expect_field(entries[10], "BATON_POSITION", "52");
        expect_field(entries[10], "BATON_REASON", "why");
        cr_assert(strstr(entries[10], "MESSAGE=… and 42 more of this kind, the last "), "%s", entries[10]);
        cr_assert(strstr(entries[10], "event 52 is parked: why\n"), "%s", entries[10]);
}

/* `journalctl BATON_SESSION=…` is to tell the life of each. */
Test(log_journald, of_a_crowd_each_session_is_told) {
        char session[32];

        JOURNALD_BEGIN();
        for (int i = 0; i < 100; i++) {
                (void) snprintf(session, sizeof session, "s%d", i);
                log_line(MESSAGE_SESSION_TAKEN_OVER, LOG_INFO, &(struct log_fields){ .session = session },
                         "session %s to worker 1", session);
        }
        log_finish();
        journald_end();
        cr_assert_eq(entry_count, 100);
}

/* Whatever a name or a reason holds, it makes no field of its own. */
Test(log_journald, a_text_is_no_second_field) {
        JOURNALD_BEGIN();
        log_line(MESSAGE_SESSION_WAITS, LOG_ERR,
                 &(struct log_fields){ .session = "a", .reason = "b\nPRIORITY=0\n_PID=1" },
                 "a\nMESSAGE_ID=b");
        journald_end();
        expect_field(entries[0], "MESSAGE", "a MESSAGE_ID=b");
        expect_field(entries[0], "BATON_REASON", "b PRIORITY=0 _PID=1");
        cr_assert_eq(entry_field_count(entries[0]), 7, "%s", entries[0]);
}

static bool receive(char entry[ENTRY_BYTES]) {
        ssize_t bytes = recv(journald_fd, entry, ENTRY_BYTES - 1, MSG_DONTWAIT);

        entry[bytes > 0 ? bytes : 0] = '\0';
        return bytes > 0;
}

/* B11: nobody waits for a journald that hangs, and what it missed is counted. */
Test(log_journald, B11_a_journald_that_does_not_read_stops_nobody, .timeout = 20) {
        char entry[ENTRY_BYTES], session[32], count[32];
        uint64_t started_usec;
        uint32_t taken = 0;

        JOURNALD_BEGIN();
        journald_end(); /* nobody reads from here on */
        started_usec = clock_usec();
        for (int i = 0; i < 5000; i++) {
                (void) snprintf(session, sizeof session, "s%d", i);
                log_line(MESSAGE_SESSION_STOPPED, LOG_ERR, &(struct log_fields){ .session = session },
                         "a line");
        }
        cr_assert_lt(clock_usec() - started_usec, 5 * USEC_PER_SEC, "not a tenth of a second for each");
        cr_assert(log_tick(), "something is untold");
        while (receive(entry))
                taken++;
        cr_assert_gt(taken, 0);
        cr_assert_lt(taken, 5000);
        cr_assert_not(log_tick());
        cr_assert(receive(entry));
        (void) snprintf(count, sizeof count, "%u", 5000 - taken);
        expect_field(entry, "BATON_KIND", "lines-lost");
        expect_field(entry, "BATON_SUPPRESSED", count);
        cr_assert_not(receive(entry));
        log_line(MESSAGE_RELOADED, LOG_NOTICE, NULL, "told again");
        cr_assert(receive(entry));
        expect_field(entry, "MESSAGE", "told again");
}
