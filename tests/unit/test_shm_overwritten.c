/* SPDX-License-Identifier: Apache-2.0 */
/* Words that somebody wrote over (P1, H6): a slot of no pool, a record of no process, texts without an end, a slot
 * that says FREE in use. Each is refused with its result, outputs stay as they were, and whoever lives leaves all the same. */
#include "shm/pool.h"
#include "tests/unit/test_shm_support.h"

#define NO_POOL 4711u

/* ---- slots ------------------------------------------------------------------------------------------------ */

/* Runs as a worker of its own: enters, asks, and dies; what it was answered is its exit status. */
static int take_and_release(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref = 0, epoch = 77;

        (void) argument;
        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        sessions_configure(segment, 0, 0, 1); /* not before: a joiner is given what waits */
        slot_assign(segment, 0, ref, 0);
        atomic_store(&segment_slot(segment, 0)->pool_index, NO_POOL);
        if (slot_take(segment, 0, ref, &epoch) != -EPERM || epoch != 77)
                return 2;
        atomic_store(&segment_slot(segment, 0)->pool_index, 0);
        if (slot_take(segment, 0, ref, &epoch) != 0)
                return 3;
        atomic_store(&segment_slot(segment, 0)->pool_index, NO_POOL);
        if (slot_release(segment, 0, ref, epoch, 0) != -EPERM || !slot_is_owned_by(segment, 0, ref, epoch))
                return 4;
        atomic_store(&segment_slot(segment, 0)->pool_index, 0);
        if (slot_release(segment, 0, ref, epoch + 1, 0) != -EPERM) /* and at its epoch alone (S3) */
                return 5;
        return slot_release(segment, 0, ref, epoch, 0) != 0;
}

Test(shm_overwritten, P1_a_slot_of_no_pool_is_neither_taken_nor_released) {
        struct segment *segment = test_segment(4, 4);

        child_succeeds(child_run(segment, take_and_release, NULL), "a worker");
        cr_assert_eq(slot_view_of(segment, 0).owner_ref, 0);
}

Test(shm_overwritten, S4_a_quarantined_slot_is_refused_to_the_supervisor_too) {
        struct segment *segment = test_segment(4, 4);
        struct layout_config config = { .session = "s", .source = "s" };

        sessions_configure(segment, 0, 0, 1);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), -EBUSY, "in use");
        atomic_store(&segment_slot(segment, 0)->quarantined, 1);
        atomic_store(&segment_slot(segment, 0)->state, SLOT_FREE);
        cr_assert_eq(slot_restore(segment, 0), -EUCLEAN);
        cr_assert_eq(slot_configure(segment, 0, 0, &config), -EUCLEAN);
        cr_assert_eq(slot_retire(segment, 0), -EUCLEAN);
        cr_assert_eq(slot_configure(segment, 4, 0, &config), -ERANGE);
        cr_assert_eq(slot_reconfigure(segment, 4, &config), -ERANGE);
        cr_assert_eq(slot_reconfigure(segment, 1, &config), -ENOENT, "of no session");
        cr_assert_eq(atomic_load(&segment_slot(segment, 0)->state), SLOT_FREE, "nothing was changed");
}

/* H7 */
Test(shm_overwritten, P1_a_slot_in_use_that_says_free_is_put_back) {
        struct segment *segment = test_segment(4, 4);
        struct peer peer;

        sessions_configure(segment, 0, 0, 2);
        cr_assert_eq(slot_restore(segment, 0), -EBUSY, "it does not say so");
        atomic_store(&segment_slot(segment, 0)->state, SLOT_FREE);
        cr_assert_eq(slot_restore(segment, 0), 0);
        cr_assert_eq(atomic_load(&segment_slot(segment, 0)->state), SLOT_ORPHAN);
        peer = peer_start(segment, 0, false); /* finds the orphans */
        cr_assert_eq(slot_view_of(segment, 1).owner_ref, peer.ref);
        atomic_store(&segment_slot(segment, 1)->state, SLOT_FREE);
        cr_assert_eq(slot_restore(segment, 1), 0);
        cr_assert_eq(atomic_load(&segment_slot(segment, 1)->state), SLOT_OWNED);
        peer_kill(peer);
}

/* S11: the holder of a slot's mutex is gone, and the kernel lost its list: nor will it tell of the others. */
static int take_after_a_lost_holder(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref = 0, epoch;

        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        sessions_configure(segment, 0, 0, 1);
        slot_assign(segment, 0, ref, 0);
        atomic_store(lock_word(&segment_slot(segment, 0)->mutex), *(uint32_t *) argument);
        if (slot_take(segment, 0, ref, &epoch) != -ENOTRECOVERABLE)
                return 2;
        return segment_is_condemned(segment) ? 0 : 3;
}

static int nothing(struct segment *segment, void *argument) {
        (void) segment, (void) argument;
        return 0;
}

Test(shm_overwritten, S11_a_slots_lost_holder_condemns_the_segment) {
        struct segment *segment = test_segment(4, 4);
        pid_t gone = child_run(NULL, nothing, NULL);
        uint32_t word = (uint32_t) gone;

        child_succeeds(gone, "one that is gone");
        child_succeeds(child_run(segment, take_after_a_lost_holder, &word), "a worker");
        cr_assert(segment_is_condemned(segment));
        cr_assert_eq(atomic_load(&segment_slot(segment, 0)->quarantined), 0, "not the slot's fault");
}

/* Who takes over waits in no lock that nobody will give back. */
Test(shm_overwritten, S11_P1_waiters_of_nobody_condemn_the_segment, .timeout = 20) {
        struct segment *segment = test_segment(4, 4);

        atomic_store(lock_word(&segment_pool(segment, 0)->mutex), 0x80000000); /* FUTEX_WAITERS */
        cr_assert_eq(pool_lock(segment, 0, 1), -ENOTRECOVERABLE);
        cr_assert(segment_is_condemned(segment));
}

/* ---- records of workers ------------------------------------------------------------------------------------- */

Test(shm_overwritten, S3_a_record_that_names_nobody_proves_nothing) {
        struct segment *segment = test_segment(4, 4);
        struct peer peer = peer_start(segment, 0, false);
        struct layout_worker *record = segment_worker(segment, worker_ref_index(peer.ref));
        const uint64_t ticks = atomic_load(&record->start_ticks);

        atomic_store(&record->pid, 0);
        cr_assert_not(life_is_proven_dead(segment, peer.ref));
        atomic_store(&record->pid, UINT32_MAX);
        cr_assert_not(life_is_proven_dead(segment, peer.ref));
        atomic_store(&record->pid, (uint32_t) peer.pid);
        atomic_store(&record->start_ticks, 0);
        cr_assert_not(life_is_proven_dead(segment, peer.ref));
        atomic_store(&record->start_ticks,
                     ticks + 1); /* no such process: but its thread lives, in the mutex */
        cr_assert(life_is_live(segment, peer.ref));
        peer_kill(peer);
        cr_assert(life_is_proven_dead(segment, peer.ref), "the mutex says it, whatever the record does");
}

/* The end of the process says more than its record. */
static int leave_overwritten(struct segment *segment, void *argument) {
        struct life_watch watch = { 0 };
        struct failure failure;
        uint64_t ref = 0;

        (void) argument;
        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        atomic_store(&segment_worker(segment, worker_ref_index(ref))->pool_index, NO_POOL);
        if (life_wait(segment, ref, &watch, clock_usec()) < 0)
                return 2;
        life_leave(segment, ref);
        return lock_is_held(LOCK_LIFE);
}

Test(shm_overwritten, P1_a_worker_whose_record_is_of_no_pool_waits_and_leaves) {
        struct segment *segment = test_segment(4, 4);

        child_succeeds(child_run(segment, leave_overwritten, NULL), "a worker");
        cr_assert(life_is_proven_dead(segment, worker_ref(0, 1)), "nobody holds its life");
}

/* M6: a signal that is no fault says nothing of the event; the record is input. */
Test(shm_overwritten, M6_of_signals_only_faults_are_believed) {
        static const uint32_t faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
        static const uint32_t others[] = { 0, SIGKILL, SIGTERM, SIGHUP, NO_POOL, UINT32_MAX };
        struct segment *segment = test_segment(4, 4);
        uint32_t signal_number = 0;

        sessions_configure(segment, 0, 0, 1);
        for (size_t i = 0; i < ELEMENTSOF(faults) + ELEMENTSOF(others); i++) {
                bool is_fault = i < ELEMENTSOF(faults);
                struct peer victim = peer_start(segment, 0, false);
                struct layout_worker *record = segment_worker(segment, worker_ref_index(victim.ref));

                cr_assert_eq(slot_view_of(segment, 0).owner_ref, victim.ref);
                signal_number = is_fault ? faults[i] : others[i - ELEMENTSOF(faults)];
                atomic_store(&segment_slot(segment, 0)->death_note, DEATH_NONE);
                atomic_store(&record->note_position, 77 + i);
                atomic_store(&record->fault_signal, signal_number);
                atomic_store(&record->note_slot, 0);
                peer_kill(victim);
                (void) takeover_run(segment, 0, 0, NULL);
                cr_assert_eq(atomic_load(&segment_slot(segment, 0)->death_position), 77 + i);
                cr_assert_eq(atomic_load(&segment_slot(segment, 0)->death_signal),
                             is_fault ? signal_number : 0, "%u", signal_number);
        }
}

/* ---- texts ------------------------------------------------------------------------------------------------------ */

Test(shm_overwritten, P1_a_configuration_without_an_end_is_refused_text_by_text) {
        struct segment *segment = test_segment(4, 4);
        struct session_config config = { .slot_index = NO_POOL };
        struct {
                char *text;
                size_t bytes;
        } texts[] = { { segment_config(segment, 0)->session, sizeof segment_config(segment, 0)->session },
                      { segment_config(segment, 0)->source, sizeof segment_config(segment, 0)->source },
                      { segment_config(segment, 0)->url, sizeof segment_config(segment, 0)->url } };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                struct segment *again = segment;
                struct layout_config good = { .session = "s", .source = "s" };

                if (i == 0)
                        cr_assert_eq(slot_configure(again, 0, 0, &good), 0);
                else
                        cr_assert_eq(slot_reconfigure(again, 0, &good), 0);
                cr_assert_eq(session_config_read(again, 0, &(struct session_config){ 0 }), 0);
                memset(texts[i].text, 'x', texts[i].bytes);
                cr_assert_eq(session_config_read(again, 0, &config), -EBADMSG, "text %zu", i);
                cr_assert_eq(config.slot_index, NO_POOL, "output untouched on failure");
        }
}
