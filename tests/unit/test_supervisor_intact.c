/* SPDX-License-Identifier: Apache-2.0 */
/* V13: what the supervisor wrote into the segment and a worker wrote over (P1) is put back, and told. */
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_intact, .init = place_make, .fini = place_remove);

/* Serving, and at rest. */
static struct manager *started(unsigned workers, unsigned sources) {
        struct manager *manager;

        config_simple("", workers, sources);
        manager = supervisor_start();
        until(manager, is_balanced(manager, sources, workers));
        return manager;
}

static const char *url_of(const struct manager *manager, uint32_t slot) {
        static struct session_config config;

        return session_config_read(manager->segment, slot, &config) < 0 ? "" : config.url;
}

Test(supervisor_intact, V13_the_address_of_a_source_is_put_back) {
        struct manager *manager;
        uint32_t slot;

        manager = started(1, 3);
        log_listen();
        slot = slot_called(manager, "s2");
        (void) strcpy(segment_config(manager->segment, slot)->url, "sqlite:/s/another.db");
        until(manager, strcmp(url_of(manager, slot), "sqlite:/s/2.db") == 0);
        cr_assert_eq(log_said("session s2 (slot"), 1);
        look(manager);
        cr_assert_eq(log_said("session s2 (slot"), 1, "once");
        supervisor_stop(manager);
}

/* Its writer died, or lies: nobody reads a record whose sequence is odd. */
Test(supervisor_intact, V13_a_record_that_is_being_written_for_ever_is_put_back) {
        struct manager *manager;

        manager = started(1, 2);
        (void) atomic_fetch_or(&segment_config(manager->segment, 0)->sequence, 1U);
        cr_assert_str_eq(url_of(manager, 0), "");
        until(manager, *url_of(manager, 0) != '\0');
        supervisor_stop(manager);
}

Test(supervisor_intact, V13_a_session_called_unwanted_or_of_another_pool_is_put_back) {
        struct layout_slot *slot;
        struct manager *manager;

        manager = started(1, 3);
        slot = segment_slot(manager->segment, slot_called(manager, "s1"));
        atomic_store(&slot->wanted, 0);
        until(manager, atomic_load(&slot->wanted) == 1 && is_balanced(manager, 3, 1));
        atomic_store(&slot->pool_index, 5);
        until(manager, atomic_load(&slot->pool_index) == 0 && is_balanced(manager, 3, 1));
        supervisor_stop(manager);
}

static bool url_of_pool_is(const struct manager *manager, const char *url) {
        struct pool_settings settings;

        return pool_settings_read(manager->segment, 0, &settings) >= 0 && strcmp(settings.url, url) == 0;
}

/* Who opened it leaves by itself when it is rung for (P3: reload/P3_another_destination_is_another_process); who has the
 * right one open goes on. */
Test(supervisor_intact, V13_the_address_of_a_destination_is_put_back_and_its_workers_are_told) {
        struct manager *manager;
        struct layout_worker *worker;
        uint32_t sequence, rung;
        pid_t before;

        manager = started(1, 2);
        log_listen();
        before = some_member(manager)->pid;
        worker = segment_worker(manager->segment, worker_ref_index(some_member(manager)->ref));
        sequence = atomic_load(&segment_pool(manager->segment, 0)->sequence);
        rung = atomic_load(&worker->doorbell);
        (void) strcpy(segment_pool(manager->segment, 0)->url, "sqlite:/d/another.db");
        until(manager, url_of_pool_is(manager, "sqlite:/d/events.db"));
        cr_assert_neq(atomic_load(&segment_pool(manager->segment, 0)->sequence), sequence, "it is read anew");
        cr_assert_neq(atomic_load(&worker->doorbell), rung);
        turn_for(manager, 300 * USEC_PER_MSEC);
        cr_assert_eq(some_member(manager)->pid, before);
        cr_assert_eq(log_said("destination events: its configuration in the segment"), 1);
        supervisor_stop(manager);
}

/* It never ends, and neither stops the sessions nor fills the log. */
Test(supervisor_intact, V13_one_that_writes_over_it_at_each_look_stops_nothing_and_is_told_a_few_times) {
        struct manager *manager;
        struct layout_slot *slot;
        pid_t before;

        manager = started(1, 40);
        log_listen();
        before = some_member(manager)->pid;
        slot = segment_slot(manager->segment, 0);
        for (unsigned i = 0; i < 300; i++) {
                segment_pool(manager->segment, 0)->url[8] ^= 1;
                for (uint32_t j = 1; j < 40; j++)
                        segment_config(manager->segment, j)->url[8] ^= 1;
                look(manager);
        }
        cr_assert(url_of_pool_is(manager, "sqlite:/d/events.db"));
        until(manager, is_balanced(manager, 40, 1));
        cr_assert_eq(some_member(manager)->pid, before);
        cr_assert_eq(atomic_load(&slot->take_count), 1, "nobody gave it up");
        cr_assert_geq(log_said("written over"), 2);
        cr_assert_leq(log_said("written over"), 20, "ten of the destination, ten of all sessions");
        supervisor_stop(manager);
}

/* A reload that came first would not know the session again, and give it a second slot. */
Test(supervisor_intact, V13_the_name_of_a_source_is_put_back_before_a_reload) {
        struct manager *manager;
        uint32_t slot;

        manager = started(1, 3);
        slot = slot_called(manager, "s1");
        (void) strcpy(segment_config(manager->segment, slot)->source, "another");
        (void) strcpy(segment_pool(manager->segment, 0)->name, "another");
        config_simple("", 1, 4);
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(slot_called(manager, "s1"), slot);
        cr_assert_eq(atomic_load(&manager->segment->header->slot_used), 4);
        until(manager, is_balanced(manager, 4, 1));
        supervisor_stop(manager);
}

/* A slot that says that it is free and nobody's would be given to another source, with the marks of the one before
 * (M14). */
Test(supervisor_intact, V13_M14_a_session_called_free_is_put_back_before_a_reload) {
        struct manager *manager;
        const char *error;
        uint32_t slot;

        manager = started(1, 2);
        cr_assert_eq(operator_scale(manager, "events", 0, &error, NULL), 0);
        until(manager, members(manager) == 0 && owned_slots(manager->segment) == 0);
        slot = slot_called(manager, "s0");
        atomic_store(&segment_slot(manager->segment, slot)->state, SLOT_FREE);
        config_put("[baton]\nsessions = 64\nmax-workers = 8\n"
                   "[destination events]\nurl = sqlite:/d/events.db\nworkers = 1\n"
                   "[source another]\nurl = sqlite:/s/another.db\nto = events\n"
                   "[source s0]\nurl = sqlite:/s/0.db\nto = events\n"
                   "[source s1]\nurl = sqlite:/s/1.db\nto = events\n");
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(slot_called(manager, "s0"), slot);
        cr_assert_eq(operator_scale(manager, "events", 1, &error, NULL), 0);
        until(manager, is_balanced(manager, 3, 1));
        supervisor_stop(manager);
}

/* By these words workers know that there is a supervisor, that they are to take over from the dead, and where to look. */
Test(supervisor_intact, V13_the_words_of_the_header_are_put_back) {
        struct layout_header *header;
        struct manager *manager;
        uint64_t start_ticks, adopt_usec, stall_usec;

        manager = started(1, 3);
        log_listen();
        header = manager->segment->header;
        start_ticks = atomic_load(&header->supervisor_start_ticks);
        adopt_usec = atomic_load(&header->adopt_timeout_usec);
        stall_usec = atomic_load(&header->stall_timeout_usec);
        atomic_store(&header->stopping, 1);
        atomic_store(&header->supervisor_pid, 0);
        atomic_store(&header->supervisor_start_ticks, 1);
        atomic_store(&header->adopt_timeout_usec, 0);
        atomic_store(&header->stall_timeout_usec, UINT64_MAX);
        atomic_store(&header->slot_used, 1);
        look(manager);
        cr_expect_eq(atomic_load(&header->stopping), 0);
        cr_expect_eq(atomic_load(&header->supervisor_pid), (uint32_t) getpid());
        cr_expect_eq(atomic_load(&header->supervisor_start_ticks), start_ticks);
        cr_expect_eq(atomic_load(&header->adopt_timeout_usec), adopt_usec);
        cr_expect_eq(atomic_load(&header->stall_timeout_usec), stall_usec);
        cr_expect_eq(atomic_load(&header->slot_used), 3);
        look(manager);
        cr_expect_eq(log_said("words of the supervisor's own"), 1, "once");
        atomic_store(&header->slot_used, 0);
        config_simple("", 1, 4);
        cr_assert_eq(reload(manager, NULL), 0);
        cr_expect_eq(atomic_load(&header->slot_used), 4, "known again");
        until(manager, is_balanced(manager, 4, 1));
        supervisor_stop(manager);
        cr_expect_eq(log_said("words of the supervisor's own"), 2, "a stop is none");
}

/* What leaves is not put back into work, and leaves although it is called wanted. */
Test(supervisor_intact, V13_a_session_that_leaves_is_not_kept_by_what_was_written_over) {
        struct manager *manager;
        uint32_t slot;

        manager = started(1, 3);
        slot = slot_called(manager, "s2");
        config_simple("", 1, 2);
        cr_assert_eq(reload(manager, NULL), 0);
        atomic_store(&segment_slot(manager->segment, slot)->wanted, 1);
        (void) strcpy(segment_config(manager->segment, slot)->url, "sqlite:/s/another.db");
        until(manager, !manager->slots[slot].used);
        until(manager, is_balanced(manager, 2, 1));
        supervisor_stop(manager);
}

/* S4: nobody opens it again, and what stands there is for a person to read. */
Test(supervisor_intact, S4_V13_a_quarantined_slot_is_left_alone) {
        struct manager *manager;

        manager = started(1, 2);
        atomic_store(&segment_slot(manager->segment, 1)->quarantined, 1);
        (void) strcpy(segment_config(manager->segment, 1)->url, "sqlite:/s/another.db");
        for (unsigned i = 0; i < 3; i++)
                look(manager);
        cr_assert_str_eq(url_of(manager, 1), "sqlite:/s/another.db");
        supervisor_stop(manager);
}

#define MOVED                                                           \
        "[baton]\nsessions = 64\nmax-workers = 8\n"                     \
        "[destination events]\nurl = sqlite:/d/moved.db\nworkers = 1\n" \
        "[source s0]\nurl = sqlite:/s/0.db\nto = events\n"              \
        "[source s1]\nurl = sqlite:/s/1.db\nto = events\n"

/* V7: the address that stands is that of the workers that are leaving, not damage. */
Test(supervisor_intact, V7_V13_an_address_that_is_not_written_yet_is_no_damage) {
        struct manager *manager;

        manager = started(1, 2);
        log_listen();
        worker_does("stays", true);
        config_put(MOVED);
        cr_assert_eq(reload(manager, NULL), 0);
        turn_for(manager, 300 * USEC_PER_MSEC);
        cr_assert(url_of_pool_is(manager, "sqlite:/d/events.db"), "one worker has it open");
        worker_does("stays", false);
        until(manager, url_of_pool_is(manager, "sqlite:/d/moved.db"));
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(log_said("written over"), 0);
        supervisor_stop(manager);
}

/* All but the address is compared then, too: a reload would not know the destination again by another name. */
Test(supervisor_intact, V7_V13_the_name_of_a_destination_is_put_back_while_its_address_changes) {
        struct manager *manager;
        struct pool *pool;

        manager = started(1, 2);
        worker_does("stays", true);
        config_put(MOVED);
        cr_assert_eq(reload(manager, NULL), 0);
        pool = &manager->pools[0];
        (void) strcpy(segment_pool(manager->segment, 0)->name, "another");
        look(manager);
        cr_assert_str_eq(segment_pool(manager->segment, 0)->name, "events");
        (void) strcpy(segment_pool(manager->segment, 0)->name, "another");
        (void) atomic_fetch_or(&segment_pool(manager->segment, 0)->sequence, 1U);
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert(pool->renewing);
        cr_assert_not(manager->pools[1].used, "it is known again");
        worker_does("stays", false);
        until(manager, url_of_pool_is(manager, "sqlite:/d/moved.db"));
        until(manager, is_balanced(manager, 2, 1));
        supervisor_stop(manager);
}

/* The one that adopts finds what was written over while nobody looked. */
Test(supervisor_intact, V13_the_next_supervisor_puts_back_what_it_finds) {
        struct segment *segment;
        struct manager *manager;
        pid_t first;

        first = supervisor_fork_owned("", 1, 3, &segment);
        supervisor_kill(first);
        (void) strcpy(segment_config(segment, 1)->url, "sqlite:/s/another.db");
        atomic_store(&segment_slot(segment, 2)->wanted, 0);
        segment->header->layout_number = LAYOUT_NUMBER - 1; /* and it is of the version before */
        manager = supervisor_start();
        cr_assert_eq(manager->segment->layout_number, LAYOUT_NUMBER - 1);
        until(manager, is_balanced(manager, 3, 1));
        cr_assert_str_eq(url_of(manager, 1), "sqlite:/s/1.db");
        (void) strcpy(segment_config(segment, 1)->url, "sqlite:/s/another.db");
        until(manager, strcmp(url_of(manager, 1), "sqlite:/s/1.db") == 0);
        cr_assert(is_balanced(manager, 3, 1));
        segment_close(segment);
        supervisor_stop(manager);
}

/* More slots than one look compares: each has its turn. */
Test(supervisor_intact, V13_each_slot_has_its_turn) {
        struct manager *manager;

        config_put(
                "[baton]\nsessions = 200\nmax-workers = 4\n[destination events]\nurl = sqlite:/d/events.db\n");
        manager = supervisor_start();
        {
                FILE *file = fopen(config_path, "ae");

                cr_assert_not_null(file);
                for (unsigned i = 0; i < 200; i++)
                        (void) fprintf(file, "[source t%u]\nurl = sqlite:/s/%u.db\nto = events\n", i, i);
                (void) fclose(file);
        }
        cr_assert_eq(reload(manager, NULL), 0);
        for (uint32_t i = 0; i < 200; i++)
                segment_config(manager->segment, i)->url[8] ^= 1;
        for (unsigned i = 0; i < 4; i++)
                look(manager);
        for (uint32_t i = 0; i < 200; i++)
                cr_assert_eq(strncmp(url_of(manager, i), "sqlite:/s/", 10), 0, "slot %u: %s", i,
                             url_of(manager, i));
        supervisor_stop(manager);
}
