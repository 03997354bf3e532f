/* SPDX-License-Identifier: Apache-2.0 */
/* Who a worker is (S6): entry, generation, and a process with the time at which it began. A number that was used
 * again, of either kind, is another worker. */
#include "tests/unit/test_shm_support.h"

static struct takeover_result look(struct segment *segment, uint64_t self_ref) {
        struct takeover_result result;

        cr_assert_eq(takeover_run(segment, 0, self_ref, &result), 0);
        return result;
}

/* H4: a ref whose generation has passed owns nothing, whoever lives in that entry now. */
Test(shm_identity, s6_who_has_the_entry_now_does_not_own_what_the_one_before_did) {
        struct segment *segment = test_segment(8, 16);
        struct peer before = peer_start(segment, 0, false), other = peer_start(segment, 0, false), later;

        peer_kill(before);
        (void) look(segment, other.ref);
        later = peer_start(segment, 0, false);
        cr_assert_eq(worker_ref_index(later.ref), worker_ref_index(before.ref));
        cr_assert_neq(later.ref, before.ref);
        sessions_configure(segment, 0, 0, 2);
        slot_assign(segment, 0, other.ref, later.ref);
        (void) look(segment, other.ref);
        atomic_store(&segment_slot(segment, 0)->owner_ref, before.ref);
        cr_assert_eq(look(segment, other.ref).slots_given, 1);
        cr_assert_eq(slot_view_of(segment, 0).owner_ref, other.ref);
        assert_converges(segment, "the entry was used again");
}

/* S6: the number of the dead one was given to another process, and its robust list was lost. */
Test(shm_identity, s6_another_process_of_that_number_is_not_the_worker) {
        struct segment *segment = test_segment(8, 16);
        struct peer victim = peer_start(segment, 0, false), heir = peer_start(segment, 0, false);
        struct layout_worker *record = segment_worker(segment, worker_ref_index(victim.ref));

        sessions_configure(segment, 0, 0, 3);
        (void) look(segment, 0);
        cr_assert_not(life_is_proven_dead(segment, victim.ref));
        atomic_fetch_sub(&record->start_ticks, 1); /* it began earlier than the one that has its number now */
        cr_assert(life_is_proven_dead(segment, victim.ref));
        cr_assert_eq(look(segment, heir.ref).dead_count, 1);
        cr_assert_eq(slots_owned_by(segment, heir.ref), 3);
        assert_converges(segment, "a number used again");
}
