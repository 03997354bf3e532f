/* SPDX-License-Identifier: Apache-2.0 */
/* Reload is atomic (V2): a bad file changes no word of the segment; a good one changes what differs. */
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_reload, .init = place_make, .fini = place_remove);

/* The supervisor's words: header's configuration part, pools' settings, slots' wishes, configs. */
struct words {
        uint64_t generation, stall_usec;
        struct pool_settings pools[LAYOUT_POOL_COUNT_MAX];
        struct session_config configs[64];
        uint32_t wanted[64], state[64];
        uint64_t assigned[64], heir[64], adopt[64];
};

static struct words *words_read(const struct manager *manager) {
        struct segment *segment = manager->segment;
        struct words *words = calloc(1, sizeof *words);

        words->generation = atomic_load(&segment->header->config_generation);
        words->stall_usec = atomic_load(&segment->header->stall_timeout_usec);
        for (uint32_t i = 0; i < LAYOUT_POOL_COUNT_MAX; i++)
                (void) pool_settings_read(segment, i, &words->pools[i]);
        for (uint32_t i = 0; i < 64; i++) {
                (void) session_config_read(segment, i, &words->configs[i]);
                words->wanted[i] = atomic_load(&segment_slot(segment, i)->wanted);
                words->state[i] = atomic_load(&segment_slot(segment, i)->state);
                words->assigned[i] = atomic_load(&segment_slot(segment, i)->assigned_ref);
                words->heir[i] = atomic_load(&segment_slot(segment, i)->heir_ref);
                words->adopt[i] = atomic_load(&segment_slot(segment, i)->adopt_request);
        }
        return words;
}

static void changes_nothing(struct manager *manager, const char *text, const char *part) {
        struct words *before = words_read(manager), *after;
        const struct config *config = manager->config;
        struct failure failure = { 0 };

        config_put(text);
        cr_assert_lt(reload(manager, &failure), 0, "accepted: %s", text);
        cr_assert(strstr(failure.text, "nothing was reloaded") && strstr(failure.text, part),
                  "\"%s\" is not in: %s", part, failure.text);
        after = words_read(manager);
        cr_assert_eq(memcmp(before, after, sizeof *before), 0, "a word changed: %s", text);
        cr_assert_eq(manager->config, config);
        free(before);
        free(after);
}

Test(supervisor_reload, V2_a_bad_file_changes_nothing_and_says_why) {
        struct manager *manager;

        config_simple("", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        changes_nothing(manager, "[destination events]\nurl = sqlite:/d\n[sorce x]\n", "nearest is [source]");
        changes_nothing(
                manager,
                "[baton]\nsessions = 64\nmax-workers = 8\n[destination events]\nurl = sqlite:/d\nworkers = 9\n",
                "max-workers = 8");
        changes_nothing(manager, "[source s0]\nurl = sqlite:/s/0.db\nto = events\n",
                        "no destination of that name");
        changes_nothing(manager,
                        "[baton]\nsessions = 65\nmax-workers = 8\n[destination events]\nurl = sqlite:/d\n",
                        "need a larger segment");
        changes_nothing(manager,
                        "[baton]\nsessions = 64\nmax-workers = 9\n[destination events]\nurl = sqlite:/d\n",
                        "need a larger segment");
        cr_assert_eq(unlink(config_path), 0);
        supervisor_stop(manager);
}

Test(supervisor_reload, V2_no_room_in_the_running_segment_changes_nothing) {
        struct manager *manager;
        size_t bytes = 0;
        char *text = NULL;
        FILE *file;

        config_simple("", 0, 60);
        manager = supervisor_start();
        for (uint32_t i = 60; i < 64; i++) /* abandoned for good */
                atomic_store(&segment_slot(manager->segment, i)->quarantined, 1);
        file = open_memstream(&text, &bytes);
        (void) fprintf(
                file,
                "[baton]\nsessions = 64\nmax-workers = 8\n[destination events]\nurl = sqlite:/d/events.db\n");
        for (unsigned i = 0; i < 62; i++)
                (void) fprintf(file, "[source s%u]\nurl = sqlite:/s/%u.db\nto = events\n", i, i);
        (void) fclose(file);
        changes_nothing(manager, text, "no room for 2 of 62 sessions");
        free(text);
        supervisor_stop(manager);
}

Test(supervisor_reload, V2_what_did_not_change_never_notices) {
        uint64_t epochs[4], owners[4], sequences[4];
        struct manager *manager;

        config_simple("", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        for (uint32_t i = 0; i < 4; i++) {
                epochs[i] = atomic_load(&segment_slot(manager->segment, i)->epoch);
                owners[i] = atomic_load(&segment_slot(manager->segment, i)->owner_ref);
                sequences[i] = atomic_load(&segment_config(manager->segment, i)->sequence);
        }
        config_simple("stall-timeout = 7s\n", 2, 6);
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(atomic_load(&manager->segment->header->stall_timeout_usec), 7 * USEC_PER_SEC);
        until(manager, is_balanced(manager, 6, 2));
        for (uint32_t i = 0; i < 4; i++) {
                cr_assert_eq(atomic_load(&segment_slot(manager->segment, i)->epoch), epochs[i],
                             "slot %u moved", i);
                cr_assert_eq(atomic_load(&segment_slot(manager->segment, i)->owner_ref), owners[i]);
                cr_assert_eq(atomic_load(&segment_config(manager->segment, i)->sequence), sequences[i]);
        }
        supervisor_stop(manager);
}

Test(supervisor_reload, withdrawn_sessions_leave_and_their_slots_are_used_again) {
        struct manager *manager;

        config_simple("", 2, 6);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 6, 2));
        config_simple("", 2, 2);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, is_balanced(manager, 2, 2));
        until(manager, atomic_load(&segment_slot(manager->segment, 5)->state) == SLOT_FREE);
        config_simple("", 2, 64);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, is_balanced(manager, 64, 2));
        supervisor_stop(manager);
}

Test(supervisor_reload, a_session_that_comes_back_while_it_leaves_is_kept) {
        struct manager *manager;
        uint64_t epoch;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        config_simple("", 1, 1);
        epoch = atomic_load(&segment_slot(manager->segment, slot_called(manager, "s1"))->epoch);
        cr_assert_eq(reload(manager, NULL), 0);
        config_simple("", 1, 2);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_geq(atomic_load(&segment_slot(manager->segment, slot_called(manager, "s1"))->epoch), epoch);
        supervisor_stop(manager);
}

#define TWO                                                                                          \
        "[baton]\nsessions = 64\nmax-workers = 8\n[destination events]\nurl = sqlite:/d/events.db\n" \
        "[destination archive]\nurl = sqlite:/d/archive.db\n"

Test(supervisor_reload, M14_a_second_destination_renames_and_links_but_moves_nothing) {
        struct session_config config;
        struct manager *manager;
        uint32_t slot, sibling;
        uint64_t epoch;

        config_put(TWO "[source s0]\nurl = sqlite:/s/0.db\nto = events\n");
        manager = supervisor_start();
        until(manager, members(manager) == 2);
        slot = slot_called(manager, "s0");
        until(manager, atomic_load(&segment_slot(manager->segment, slot)->state) == SLOT_OWNED);
        epoch = atomic_load(&segment_slot(manager->segment, slot)->epoch);
        cr_assert_eq(session_config_read(manager->segment, slot, &config), 0);
        cr_assert_eq(config.sibling_slot, slot, "alone it is its own ring");

        config_put(TWO "[source s0]\nurl = sqlite:/s/0.db\nto = events, archive\n");
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(slot_called(manager, "s0/events"), slot);
        sibling = slot_called(manager, "s0/archive");
        cr_assert_neq(sibling, LAYOUT_NONE);
        cr_assert_eq(session_config_read(manager->segment, slot, &config), 0);
        cr_assert_eq(config.sibling_slot, sibling);
        cr_assert_str_eq(config.source, "s0", "the durable name stays");
        cr_assert_eq(session_config_read(manager->segment, sibling, &config), 0);
        cr_assert_eq(config.sibling_slot, slot);
        until(manager, atomic_load(&segment_slot(manager->segment, sibling)->state) == SLOT_OWNED);
        cr_assert_eq(atomic_load(&segment_slot(manager->segment, slot)->epoch), epoch,
                     "it never left its owner");

        config_put(TWO "[source s0]\nurl = sqlite:/s/0.db\nto = events\n");
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(session_config_read(manager->segment, slot, &config), 0);
        cr_assert_eq(config.sibling_slot, slot, "a withdrawn session is out of the ring");
        supervisor_stop(manager);
}

Test(supervisor_reload, a_destination_leaves_with_its_sessions_and_workers) {
        struct manager *manager;

        config_put(TWO "[source s0]\nurl = sqlite:/s/0.db\nto = events, archive\n");
        manager = supervisor_start();
        until(manager, members(manager) == 2);
        config_simple("", 1, 1);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, atomic_load(&segment_pool(manager->segment, 1)->state) == POOL_FREE &&
                               is_balanced(manager, 1, 1));
        cr_assert_not(manager->pools[1].used);
        supervisor_stop(manager);
}

Test(supervisor_reload, S7_a_destination_whose_last_worker_died_leaves_too) {
        struct manager *manager;
        struct process *last;

        config_put(TWO "[source s0]\nurl = sqlite:/s/0.db\nto = archive\n");
        manager = supervisor_start();
        until(manager,
              members(manager) == 2 && atomic_load(&segment_slot(manager->segment, 0)->state) == SLOT_OWNED);
        last = watch_find_ref(manager, atomic_load(&segment_slot(manager->segment, 0)->owner_ref));
        cr_assert_not_null(last);
        manager->pools[last->pool_index].restart_usec = UINT64_MAX; /* no replacement before the reload */
        manager->pools[last->pool_index].wanted = 0;
        cr_assert_eq(kill(last->pid, SIGKILL), 0);
        until(manager, watch_count(manager, LAYOUT_NONE, true) == 1);
        config_simple("", 1, 0);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, atomic_load(&segment_pool(manager->segment, 1)->state) == POOL_FREE &&
                               atomic_load(&segment_slot(manager->segment, 0)->state) == SLOT_FREE);
        supervisor_stop(manager);
}

Test(supervisor_reload, V7_another_address_waits_until_all_workers_have_left) {
        struct pool_settings settings;
        struct manager *manager;
        pid_t before;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        before = some_member(manager)->pid;
        config_put(
                "[baton]\nsessions = 64\nmax-workers = 8\n[destination events]\nurl = sqlite:/d/other.db\n"
                "[source s0]\nurl = sqlite:/s/0.db\nto = events\n[source s1]\nurl = sqlite:/s/1.db\nto = events\n");
        cr_assert_eq(reload(manager, NULL), 0);
        cr_assert_eq(pool_settings_read(manager->segment, 0, &settings), 0);
        cr_assert_str_eq(settings.url, "sqlite:/d/events.db", "as long as one lives that has it open");
        until(manager, is_balanced(manager, 2, 1) && some_member(manager)->pid != before);
        cr_assert_eq(pool_settings_read(manager->segment, 0, &settings), 0);
        cr_assert_str_eq(settings.url, "sqlite:/d/other.db");
        supervisor_stop(manager);
}

Test(supervisor_reload, V9_what_scale_set_stays_until_the_configuration_says_otherwise) {
        const char *error = NULL;
        struct manager *manager;

        config_simple("", 1, 6);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 6, 1));
        cr_assert_eq(operator_scale(manager, "events", 3, &error, NULL), 0);
        until(manager, is_balanced(manager, 6, 3));
        config_simple("", 1, 7);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, is_balanced(manager, 7, 3));
        config_simple("", 2, 7);
        cr_assert_eq(reload(manager, NULL), 0);
        until(manager, is_balanced(manager, 7, 2));
        supervisor_stop(manager);
}

/* What it would become waits until nobody lives in a segment that is too small, and ends who stays. */
Test(supervisor_reload, U5_an_upgrade_into_a_configuration_that_needs_a_larger_segment_is_refused) {
        struct failure failure = { 0 };
        struct manager *manager;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(upgrade_probe(&place, config_path, &failure), 0, "%s", failure.text);
        config_put(
                "[baton]\nsessions = 65\nmax-workers = 8\n[destination events]\nurl = sqlite:/d/events.db\n");
        cr_assert_eq(upgrade_probe(&place, config_path, &failure), -ENOSPC);
        cr_assert_not_null(strstr(failure.text, "need a larger segment"), "%s", failure.text);
        config_put(
                "[baton]\nsessions = 64\nmax-workers = 9\n[destination events]\nurl = sqlite:/d/events.db\n");
        cr_assert_eq(upgrade_probe(&place, config_path, &failure), -ENOSPC);
        supervisor_stop(manager);
}
