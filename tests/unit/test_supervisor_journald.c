/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor tells journald: the life of a session, and fields for every word of the catalogue (V10, B9). */
#include "tests/unit/journald_fixture.h"
#include "tests/unit/test_supervisor_support.h"

#define CATALOGUE "packaging/systemd/baton.catalog"

TestSuite(supervisor_journald, .init = place_make, .fini = place_remove, .timeout = 60);

/* The first entry at or after `from` that is of this kind and, unless NULL, session; fails where there is none. */
static size_t entry_find(size_t from, const char *kind, const char *session) {
        for (size_t i = from; i < entry_count; i++)
                if (entry_has(entries[i], "BATON_KIND", kind) &&
                    (!session || entry_has(entries[i], "BATON_SESSION", session)))
                        return i;
        cr_assert_fail("no entry of kind %s and session %s from the %zuth of %zu on", kind,
                       session ? session : "(any)", from, entry_count);
        return 0;
}

/* The catalogue puts fields of the line into its text: whatever it asks for, the line has. */
static void check_catalogue(const char *entry) {
        FILE *file = fopen(CATALOGUE, "re");
        bool within = false, found = false;
        char line[256], wanted[64];

        cr_assert_not_null(file, CATALOGUE ": %s; tests run in the root of the repository", strerror(errno));
        (void) snprintf(wanted, sizeof wanted, "-- %s\n", entry_field(entry, "MESSAGE_ID"));
        while (fgets(line, sizeof line, file)) {
                if (strncmp(line, "-- ", 3) == 0)
                        within = strcmp(line, wanted) == 0;
                found |= within;
                for (char *p = within ? strchr(line, '@') : NULL; p; p = strchr(p + strlen(p) + 1, '@')) {
                        p[1 + strcspn(p + 1, "@")] = '\0';
                        cr_assert(entry_field(entry, p + 1),
                                  "the catalogue asks for %s, which is not in:\n%s", p + 1, entry);
                }
        }
        (void) fclose(file);
        cr_assert(found, "no entry of the catalogue for:\n%s", entry);
}

static void check_all(void) {
        for (size_t i = 0; i < entry_count; i++)
                check_catalogue(entries[i]);
}

static struct process *owner_of(struct manager *manager, uint32_t slot_index) {
        return watch_find_ref(manager, atomic_load(&segment_slot(manager->segment, slot_index)->owner_ref));
}

/* What changes hands twice between two looks is told once. */
static bool is_seen(const struct manager *manager, uint32_t slot_index) {
        return manager->slots[slot_index].owner_ref ==
               atomic_load(&segment_slot(manager->segment, slot_index)->owner_ref);
}

static void wait_for_phase(struct manager *manager, uint32_t slot_index, enum session_phase phase) {
        until(manager, manager->slots[slot_index].owner_ref != 0 && is_seen(manager, slot_index) &&
                               manager->slots[slot_index].phase == phase);
}

Test(supervisor_journald, V10_a_sessions_life_is_told) {
        struct failure failure = { 0 };
        struct manager *manager;
        uint64_t before_ref;
        uint32_t slot;
        size_t at;

        JOURNALD_BEGIN();
        log_level(LOG_INFO);
        config_simple("", 2, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 2));
        slot = slot_called(manager, "s1");
        cr_assert_neq(slot, LAYOUT_NONE);
        wait_for_phase(manager, slot, SESSION_IDLE);
        before_ref = atomic_load(&segment_slot(manager->segment, slot)->owner_ref);
        cr_assert_eq(process_signal(owner_of(manager, slot)->pid_fd, SIGKILL), 0);
        until(manager, atomic_load(&segment_slot(manager->segment, slot)->owner_ref) != before_ref &&
                               is_seen(manager, slot) && is_balanced(manager, 2, 2));
        worker_does("stops", true);
        wait_for_phase(manager, slot, SESSION_STOPPED);
        worker_does("stops", false);
        wait_for_phase(manager, slot, SESSION_IDLE);
        config_simple("", 2, 1);
        cr_assert_eq(reload(manager, &failure), 0, "%s", failure.text);
        until(manager, !manager->slots[slot].used);
        supervisor_stop(manager);
        log_finish();
        journald_end();

        at = entry_find(0, "segment-made", NULL);
        at = entry_find(at, "session-owned", "s1");
        at = entry_find(at, "session-taken-over", "s1");
        cr_assert(entry_field(entries[at], "BATON_TAKEOVER_USEC"), "%s", entries[at]);
        cr_assert(entry_field(entries[at], "BATON_WORKER"), "%s", entries[at]);
        cr_assert(entry_field(entries[at], "BATON_EPOCH"), "%s", entries[at]);
        at = entry_find(at, "session-stopped", "s1");
        cr_assert(entry_has(entries[at], "BATON_REASON", "the test says so"), "%s", entries[at]);
        at = entry_find(at, "session-goes-on", "s1");
        at = entry_find(at, "reloaded", NULL);
        at = entry_find(at, "session-left", "s1");
        at = entry_find(at, "supervisor-stopping", NULL);
        at = entry_find(at, "worker-left", NULL);
        (void) entry_find(at, "supervisor-stopped", NULL);
        (void) entry_find(0, "supervisor-ready", NULL);
        at = entry_find(0, "worker-started", NULL);
        at = entry_find(at, "worker-joined", NULL);
        (void) entry_find(at, "worker-ended", NULL);
        (void) entry_find(at, "takeover", NULL);
        check_all();
}

Test(supervisor_journald, V10_what_is_done_to_a_worker_is_told) {
        struct manager *manager;
        size_t at;

        JOURNALD_BEGIN();
        log_level(LOG_INFO);
        config_simple("stall-timeout = 200ms\n", 2, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 2));
        worker_does("silent", true);
        until(manager, manager->pools[0].restart_delay_usec > 0);
        worker_does("silent", false);
        until(manager, is_balanced(manager, 2, 2));
        supervisor_stop(manager);
        log_finish();
        journald_end();

        at = entry_find(0, "worker-hung", NULL);
        (void) entry_find(at, "worker-ended", NULL);
        (void) entry_find(at, "worker-dies-often", NULL);
        check_all();
}

static uint32_t count_of(size_t from, const char *kind) {
        uint32_t count = 0;

        for (size_t i = from; i < entry_count; i++)
                count += entry_has(entries[i], "BATON_KIND", kind);
        return count;
}

/* Kills the owner of the only session, and waits for the next; whether a supervisor looks or not. */
static void kill_owner(struct segment *segment, struct manager *manager) {
        const struct layout_slot *slot = segment_slot(segment, 0);
        uint64_t before_ref = atomic_load(&slot->owner_ref), end_usec = clock_usec() + PATIENCE_USEC;
        const struct layout_worker *worker = segment_worker(segment, worker_ref_index(before_ref));

        cr_assert_eq(kill((pid_t) atomic_load(&worker->pid), SIGKILL), 0);
        while (atomic_load(&slot->owner_ref) == before_ref) {
                cr_assert_lt(clock_usec(), end_usec);
                if (manager)
                        cr_assert(sd_event_run(manager->event, 20 * USEC_PER_MSEC) >= 0);
        }
}

/* A takeover is told once: by the supervisor that was there, or by the next one if none was. */
Test(supervisor_journald, V10_a_takeover_is_told_once) {
        struct segment *segment = NULL;
        struct manager *manager;
        size_t second, third;

        JOURNALD_BEGIN();
        log_level(LOG_INFO);
        config_simple("", 2, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 2));
        cr_assert_eq(segment_open(place.runtime, true, &segment, NULL), 0);
        until(manager, is_seen(manager, 0));
        kill_owner(segment, manager);
        until(manager, is_seen(manager, 0) && is_balanced(manager, 1, 2));
        manager_free(manager);

        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 2));
        manager_free(manager);
        kill_owner(segment, NULL);

        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 2));
        supervisor_stop(manager);
        segment_close(segment);
        journald_end();

        cr_assert_eq(count_of(0, "segment-made"), 1);
        second = entry_find(0, "segment-adopted", NULL);
        third = entry_find(second + 1, "segment-adopted", NULL);
        cr_assert_eq(count_of(0, "session-taken-over") - count_of(second, "session-taken-over"), 1);
        cr_assert_eq(count_of(second, "session-taken-over") - count_of(third, "session-taken-over"), 0,
                     "told already");
        cr_assert_eq(count_of(second, "takeover") - count_of(third, "takeover"), 0, "told already");
        cr_assert_eq(count_of(third, "takeover"), 1);
        check_all();
}

/* The child closes its descriptors for the worker; the one to journald must be there still. */
Test(supervisor_journald, V10_a_worker_that_cannot_be_executed_is_told) {
        struct manager *manager;
        size_t at;

        JOURNALD_BEGIN();
        log_level(LOG_INFO);
        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        (void) snprintf(manager->worker_path, sizeof manager->worker_path, "/nowhere/baton-worker");
        cr_assert_eq(process_signal(some_member(manager)->pid_fd, SIGKILL), 0);
        until(manager, manager->pools[0].restart_delay_usec > 0);
        supervisor_stop(manager);
        journald_end();

        at = entry_find(0, "worker-not-started", NULL);
        cr_assert(strstr(entries[at], "cannot run /nowhere/baton-worker: No such file"), "%s", entries[at]);
        check_all();
}
