/* SPDX-License-Identifier: Apache-2.0 */
/* Every numbered crash point of shm/ (README, K1–K26): the process dies there, the next look must end with
 * a live owner for every wanted slot, no dead entry, no hint owed, and no note lost. */
#include <stdlib.h>

/* The sources themselves, so that the points exist in an ordinary build, too. */
#undef BATON_CRASH_POINTS
#define BATON_CRASH_POINTS 1
#include "base/crash.c"
#include "shm/life.c"
#include "shm/slot.c"
#include "shm/takeover.c"

#include "tests/unit/test_shm_support.h"

#define SESSIONS 12
#define NOTED_SLOT 5

struct scene {
        struct segment *segment;
        struct peer heir;
};

/* A dies with a note in slot 5; then a taker is to look and dies at the point. `heir` lives and sees nothing. */
static struct scene scene_with_a_corpse(void) {
        struct scene scene = { .segment = test_segment(8, 64) };
        struct peer victim;
        struct layout_worker *record;

        sessions_configure(scene.segment, 0, 0, SESSIONS);
        victim = peer_start(scene.segment, 0, false);
        scene.heir = peer_start(scene.segment, 0, false);
        cr_assert_eq(slots_owned_by(scene.segment, victim.ref), SESSIONS);
        for (uint32_t i = 0; i < SESSIONS; i++)
                slot_assign(scene.segment, i, victim.ref, scene.heir.ref);
        record = segment_worker(scene.segment, worker_ref_index(victim.ref));
        atomic_store(&record->note_position, 4711);
        atomic_store(&record->note_is_exact, 1);
        atomic_store(&record->note_slot, NOTED_SLOT);
        peer_kill(victim);
        return scene;
}

static int look_as_told(struct segment *segment, void *argument) {
        (void) setenv("BATON_CRASH", argument, 1);
        return takeover_run(segment, 0, 0, NULL) < 0;
}

static int enter_as_told(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref;

        (void) setenv("BATON_CRASH", argument, 1);
        return life_enter(segment, 0, &ref, &failure) < 0;
}

static int enter_and_leave_as_told(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref;

        (void) setenv("BATON_CRASH", argument, 1);
        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        life_leave(segment, ref);
        return 0;
}

/* Two looks: the first may come before the kernel has marked all that the dead taker held. */
static void last_looks(struct segment *segment, uint64_t ref, const char *point) {
        for (unsigned i = 0; i < 2; i++)
                child_succeeds(child_run(segment, (int (*)(struct segment *, void *)) look_as_told,
                                         (void *) ""),
                               point);
        assert_converges(segment, point);
        cr_assert_eq(segment_pool(segment, 0)->hints_owed, 0, "%s", point);
        cr_assert_eq(atomic_load(&segment->header->condemned), 0, "%s", point);
        for (uint32_t i = 0; i < SESSIONS; i++)
                cr_assert(!slot_view_of(segment, i).quarantined, "%s", point);
        cr_assert(life_is_live(segment, ref), "%s", point);
}

static void expect_all_hinted(struct segment *segment, uint64_t ref, const char *point) {
        uint64_t bits = atomic_load(segment->inboxes + (size_t) worker_ref_index(ref) * segment->inbox_words);

        cr_assert_eq(bits & ((1ULL << SESSIONS) - 1), (1ULL << SESSIONS) - 1, "%s: every slot is hinted",
                     point);
}

/* K9–K21, in the first, a middle and the last slot where the point is passed for each. */
Test(shm_crash, s7_the_taker_dies_at_every_point, .timeout = 120) {
        static const char *const points[] = {
                "shm.K9",  "shm.K10",   "shm.K11",    "shm.K11:6", "shm.K11:12", "shm.K12",
                "shm.K13", "shm.K14",   "shm.K15",    "shm.K16",   "shm.K16:6",  "shm.K16:12",
                "shm.K17", "shm.K17:6", "shm.K18",    "shm.K18:6", "shm.K19",    "shm.K19:6",
                "shm.K20", "shm.K20:6", "shm.K20:12", "shm.K21",   "shm.K21:6",  "shm.K21:12",
        };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct scene scene = scene_with_a_corpse();

                child_was_killed(child_run(scene.segment, look_as_told, (void *) (uintptr_t) points[i]),
                                 points[i]);
                last_looks(scene.segment, scene.heir.ref, points[i]);
                cr_assert_eq(slots_owned_by(scene.segment, scene.heir.ref), SESSIONS, "%s", points[i]);
                expect_all_hinted(scene.segment, scene.heir.ref, points[i]);
                cr_assert_eq(atomic_load(&segment_slot(scene.segment, NOTED_SLOT)->death_note),
                             DEATH_ON_EVENT, "%s", points[i]);
                cr_assert_eq(atomic_load(&segment_slot(scene.segment, NOTED_SLOT)->death_position), 4711,
                             "%s", points[i]);
                for (uint32_t slot = 0; slot < SESSIONS; slot++)
                        cr_assert_gt(slot_view_of(scene.segment, slot).epoch, EPOCH_BASE + 1, "%s",
                                     points[i]);
        }
}

/* K1–K5, with a corpse to take over from, and K1–K2 leave an entry that the next joiner can use. */
Test(shm_crash, s7_a_joiner_dies_at_every_point, .timeout = 120) {
        static const char *const points[] = { "shm.K1", "shm.K2", "shm.K3", "shm.K4", "shm.K5" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct scene scene = scene_with_a_corpse();
                struct peer joiner;

                child_was_killed(child_run(scene.segment, enter_as_told, (void *) (uintptr_t) points[i]),
                                 points[i]);
                last_looks(scene.segment, scene.heir.ref, points[i]);
                for (unsigned j = 0; j < 7; j++) { /* all other entries can be used */
                        joiner = peer_start(scene.segment, 0, false);
                        cr_assert(life_is_live(scene.segment, joiner.ref), "%s", points[i]);
                }
        }
}

/* A joiner that is alone dies: nobody lives, the next joiner gets everything. */
Test(shm_crash, s7_the_only_joiner_dies_at_every_point, .timeout = 120) {
        static const char *const points[] = { "shm.K1",    "shm.K2",    "shm.K3",    "shm.K4",   "shm.K5",
                                              "shm.K11:6", "shm.K17:6", "shm.K20:6", "shm.K21:6" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct segment *segment = test_segment(8, 64);
                struct peer joiner;

                sessions_configure(segment, 0, 0, SESSIONS);
                child_was_killed(child_run(segment, enter_as_told, (void *) (uintptr_t) points[i]),
                                 points[i]);
                joiner = peer_start(segment, 0, false);
                last_looks(segment, joiner.ref, points[i]);
                cr_assert_eq(slots_owned_by(segment, joiner.ref), SESSIONS, "%s", points[i]);
        }
}

Test(shm_crash, a_leaver_dies_at_every_point, .timeout = 120) {
        static const char *const points[] = { "shm.K6", "shm.K7", "shm.K8" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct scene scene = scene_with_a_corpse();

                child_was_killed(child_run(scene.segment, enter_and_leave_as_told,
                                           (void *) (uintptr_t) points[i]),
                                 points[i]);
                last_looks(scene.segment, scene.heir.ref, points[i]);
                cr_assert_eq(slots_owned_by(scene.segment, scene.heir.ref), SESSIONS, "%s", points[i]);
        }
}

struct transfer {
        uint64_t to_ref;
        const char *point;
        bool only_take;
};

static int take_or_release_as_told(struct segment *segment, void *argument) {
        struct transfer *transfer = argument;
        struct failure failure;
        uint64_t ref, epoch;

        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        sessions_configure(segment, 0, 0, 1); /* only now, or the look on entering would give it to us */
        slot_assign(segment, 0, ref, transfer->to_ref);
        if (transfer->only_take)
                (void) setenv("BATON_CRASH", transfer->point, 1);
        if (slot_take(segment, 0, ref, &epoch) < 0)
                return 2;
        (void) setenv("BATON_CRASH", transfer->point, 1);
        (void) slot_release(segment, 0, ref, epoch, transfer->to_ref);
        return 3;
}

/* K22–K26 and the stores in between: a mover takes an orphan, or hands a slot over, and dies. */
Test(shm_crash, s3_an_owner_dies_at_every_point_of_taking_and_handing_over, .timeout = 120) {
        static const char *const points[] = { "shm.K16", "shm.K17", "shm.K18", "shm.K19", "shm.K20",
                                              "shm.K21", "shm.K22", "shm.K23", "shm.K24", "shm.K18",
                                              "shm.K19", "shm.K20", "shm.K21", "shm.K25", "shm.K26" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct segment *segment = test_segment(8, 64);
                struct peer heir = peer_start(segment, 0, false);
                struct transfer transfer = { heir.ref, points[i], i < 8 };
                uint64_t epoch;

                sessions_configure(segment, 0, 1, SESSIONS - 1);
                cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
                child_was_killed(child_run(segment, take_or_release_as_told, &transfer), points[i]);
                epoch = slot_view_of(segment, 0).epoch;
                last_looks(segment, heir.ref, points[i]);
                cr_assert_eq(slot_view_of(segment, 0).owner_ref, heir.ref, "%s", points[i]);
                cr_assert_geq(slot_view_of(segment, 0).epoch, epoch, "%s", points[i]);
        }
}

static int release_to_the_gone_as_told(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref, epoch;

        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        sessions_configure(segment, 0, 0, 1); /* only now, or the look on entering would give it to us */
        slot_assign(segment, 0, ref, 0);
        if (slot_take(segment, 0, ref, &epoch) < 0)
                return 2;
        slot_assign(segment, 0, worker_ref(7, 1), worker_ref(6, 1));
        (void) setenv("BATON_CRASH", argument, 1);
        (void) slot_release(segment, 0, ref, epoch, worker_ref(7, 1));
        return 3;
}

/* The receiver is gone, and its heir too; the owner dies while it looks for another. */
Test(shm_crash, s7_an_owner_dies_at_every_point_of_releasing_to_the_gone, .timeout = 120) {
        static const char *const points[] = { "shm.K24", "shm.K18", "shm.K19", "shm.K21", "shm.K25",
                                              "shm.K9",  "shm.K16", "shm.K17", "shm.K20", "shm.K21:2",
                                              "shm.K11", "shm.K12", "shm.K13" };

        for (size_t i = 0; i < ELEMENTSOF(points); i++) {
                struct segment *segment = test_segment(8, 64);
                struct peer other = peer_start(segment, 0, false);

                sessions_configure(segment, 0, 1, SESSIONS - 1);
                cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
                child_was_killed(child_run(segment, release_to_the_gone_as_told,
                                           (void *) (uintptr_t) points[i]),
                                 points[i]);
                last_looks(segment, other.ref, points[i]);
                cr_assert_eq(slot_view_of(segment, 0).owner_ref, other.ref, "%s", points[i]);
        }
}

static void three_takers_die_at(const char *point) {
        struct scene scene = scene_with_a_corpse();

        for (unsigned i = 0; i < 3; i++)
                child_was_killed(child_run(scene.segment, look_as_told, (void *) (uintptr_t) point), point);
        child_succeeds(child_run(scene.segment, look_as_told, (void *) ""), "the fourth");
        cr_assert(slot_view_of(scene.segment, 0).quarantined);
        cr_assert_eq(slots_owned_by(scene.segment, scene.heir.ref), SESSIONS - 1, "the others are well");
        assert_converges(scene.segment, "after a quarantine");
}

/* S4, for real: three takers in a row die with their hands on the same slot. K16: it may be the mutex itself
 * that kills, so an attempt counts before it is touched. */
Test(shm_crash, s4_three_takers_die_at_one_slot, .timeout = 120) {
        three_takers_die_at("shm.K16");
        three_takers_die_at("shm.K17");
}
