/* SPDX-License-Identifier: Apache-2.0 */
/* The takeover (S7): real deaths, of one, of many, of the taker, of victim and watcher together, of heirs;
 * proofs without a word; whatever bytes a corpse leaves. After each: every wanted slot has a live owner. */
#include "tests/unit/test_shm_support.h"

#define PEERS_MAX 16

/* Session i is assigned to peer i modulo count, its heir the next. Taken by the look, as hints allow. */
static void sessions_assign(struct segment *segment, uint32_t session_count, const struct peer *peers,
                            uint32_t peer_count) {
        for (uint32_t i = 0; i < session_count; i++)
                slot_assign(segment, i, peers[i % peer_count].ref,
                            peer_count < 2 ? 0 : peers[(i + 1) % peer_count].ref);
}

static void peers_start(struct segment *segment, struct peer *peers, uint32_t count, bool are_watching) {
        for (uint32_t i = 0; i < count; i++)
                peers[i] = peer_start(segment, 0, are_watching);
}

static struct takeover_result look(struct segment *segment, uint64_t self_ref) {
        struct takeover_result result;

        cr_assert_eq(takeover_run(segment, 0, self_ref, &result), 0);
        return result;
}

static int look_once(struct segment *segment, void *argument) {
        return takeover_run(segment, 0, *(uint64_t *) argument, NULL) < 0;
}

static void count_hint(void *context, uint32_t slot_index) {
        (void) context;
        (void) slot_index;
}

/* ---- who gets what --------------------------------------------------------------------------- */

static void one_dies(uint32_t peer_count, uint32_t session_count) {
        struct segment *segment = test_segment(32, MAX_OF(session_count, 16U));
        _cleanup_free_ uint64_t *epochs = calloc(session_count, sizeof *epochs);
        struct peer peers[PEERS_MAX];
        struct takeover_result result;
        uint32_t mine;

        sessions_configure(segment, 0, 0, session_count);
        peers_start(segment, peers, peer_count, false);
        sessions_assign(segment, session_count, peers, peer_count);
        /* The first to enter got them all; it gives each to the one it is assigned to by dying. */
        peer_kill(peers[0]);
        peers[0] = peer_start(segment, 0, false);
        sessions_assign(segment, session_count, peers, peer_count);
        for (uint32_t i = 0; i < session_count; i++)
                epochs[i] = slot_view_of(segment, i).epoch;
        assert_converges(segment, "before");

        mine = slots_owned_by(segment, peers[1].ref);
        peer_kill(peers[1]);
        result = look(segment, peers[0].ref);
        cr_assert_eq(result.dead_count, 1);
        cr_assert_eq(result.slots_given, mine);
        cr_assert_eq(result.quarantined, 0);
        assert_converges(segment, "after");
        for (uint32_t i = 0; i < session_count; i++) {
                struct slot_view view = slot_view_of(segment, i);

                if (view.previous_ref != peers[1].ref)
                        continue;
                cr_assert_gt(view.epoch, epochs[i]);
                if (view.assigned_ref == peers[1].ref) {
                        cr_assert_eq(view.owner_ref, view.heir_ref);
                        cr_assert_eq(view.taken_by, TAKE_HEIR);
                } else {
                        cr_assert_eq(view.owner_ref, view.assigned_ref);
                        cr_assert_eq(view.taken_by, TAKE_ASSIGNED);
                }
        }
        result = look(segment, peers[0].ref);
        cr_assert_eq(result.dead_count + result.slots_given, 0, "idempotent");
}

Test(shm_takeover, s7_two_workers_one_session) {
        one_dies(2, 1);
}

Test(shm_takeover, s7_three_workers_seven_sessions) {
        one_dies(3, 7);
}

Test(shm_takeover, s7_sixteen_workers_a_thousand_sessions) {
        one_dies(16, 1000);
}

Test(shm_takeover, s7_the_heir_is_dead_too) {
        struct segment *segment = test_segment(8, 64);
        struct peer peers[4];
        struct takeover_result result;

        sessions_configure(segment, 0, 0, 30);
        peers_start(segment, peers, 4, false);
        for (uint32_t i = 0; i < 30; i++)
                slot_assign(segment, i, peers[0].ref, peers[1].ref);
        cr_assert_eq(slots_owned_by(segment, peers[0].ref), 30);
        peer_kill(peers[0]);
        peer_kill(peers[1]);
        result = look(segment, peers[3].ref);
        cr_assert_eq(result.dead_count, 2);
        cr_assert_eq(result.slots_given, 30);
        cr_assert_eq(result.slots_to_self, 15, "evenly over those that live");
        cr_assert_eq(slots_owned_by(segment, peers[2].ref), 15);
        cr_assert_eq(slot_view_of(segment, 0).taken_by, TAKE_BALANCE);
        assert_converges(segment, "heir dead too");
}

Test(shm_takeover, s7_nobody_lives_then_a_joiner_gets_all) {
        struct segment *segment = test_segment(8, 64);
        struct peer peer;

        sessions_configure(segment, 0, 0, 9);
        peer = peer_start(segment, 0, false);
        cr_assert_eq(slots_owned_by(segment, peer.ref), 9);
        peer_kill(peer);
        (void) look(segment, 0);
        cr_assert_eq(slot_view_of(segment, 0).state, SLOT_ORPHAN);
        assert_converges(segment, "all dead");
        peer = peer_start(segment, 0, false);
        cr_assert_eq(slots_owned_by(segment, peer.ref), 9);
}

/* S12: who is given something hears of it, and not only when its next sweep comes. */
Test(shm_takeover, s7_whoever_is_given_a_slot_is_told_and_rung) {
        struct segment *segment = test_segment(8, 64);
        struct peer peers[4];
        uint32_t rings[4];

        sessions_configure(segment, 0, 0, 9);
        peers_start(segment, peers, 4, false);
        cr_assert_eq(slots_owned_by(segment, peers[0].ref), 9);
        for (uint32_t i = 0; i < 9; i++)
                slot_assign(segment, i, peers[0].ref, peers[1 + i % 3].ref);
        for (uint32_t p = 0; p < 4; p++) {
                rings[p] = atomic_load(&segment_worker(segment, worker_ref_index(peers[p].ref))->doorbell);
                (void) inbox_drain(segment, peers[p].ref, count_hint, NULL);
        }
        peer_kill(peers[0]);
        cr_assert_eq(look(segment, peers[3].ref).slots_given, 9);
        for (uint32_t p = 1; p < 4; p++) {
                cr_expect_neq(atomic_load(&segment_worker(segment, worker_ref_index(peers[p].ref))->doorbell),
                              rings[p], "worker %u is rung", p);
                cr_expect_eq(inbox_drain(segment, peers[p].ref, count_hint, NULL), 3, "worker %u", p);
        }
}

/* A draining worker keeps what it has and gets nothing, or releasing would never end. */
Test(shm_takeover, draining_workers_get_nothing) {
        struct segment *segment = test_segment(8, 16);
        struct peer peers[3];

        sessions_configure(segment, 0, 0, 4);
        peers_start(segment, peers, 3, false);
        for (uint32_t i = 0; i < 4; i++)
                slot_assign(segment, i, peers[0].ref, peers[1].ref);
        atomic_store(&segment_worker(segment, worker_ref_index(peers[1].ref))->drain_ref, peers[1].ref);
        peer_kill(peers[0]);
        (void) look(segment, 0);
        cr_assert_eq(slots_owned_by(segment, peers[2].ref), 4);
        atomic_store(&segment_worker(segment, worker_ref_index(peers[2].ref))->phase, PHASE_DRAINING);
        (void) look(segment, 0);
        cr_assert_eq(slots_owned_by(segment, peers[2].ref), 4, "not taken away");
        peer_kill(peers[2]);
        (void) look(segment, 0);
        cr_assert_eq(slot_view_of(segment, 0).state, SLOT_ORPHAN, "nobody left that may be given it");
}

Test(shm_takeover, pools_do_not_concern_each_other) {
        struct segment *segment = test_segment(8, 16);
        struct peer mine, other;

        pool_activate(segment, 1);
        sessions_configure(segment, 0, 0, 2);
        sessions_configure(segment, 1, 2, 2);
        mine = peer_start(segment, 0, false);
        other = peer_start(segment, 1, false);
        cr_assert_eq(slots_owned_by(segment, mine.ref), 2);
        cr_assert_eq(slots_owned_by(segment, other.ref), 2);
        slot_assign(segment, 2, mine.ref, 0); /* a wrong word of the supervisor */
        peer_kill(other);
        (void) look(segment, mine.ref);
        cr_assert_eq(slots_owned_by(segment, other.ref), 2, "not this pool's");
        cr_assert_eq(takeover_run(segment, 1, 0, NULL), 0);
        cr_assert_eq(slot_view_of(segment, 2).state, SLOT_ORPHAN, "a worker of another pool is no owner");
}

/* ---- watchers -------------------------------------------------------------------------------- */

Test(shm_takeover, s7_watchers_see_a_death_by_themselves) {
        struct segment *segment = test_segment(8, 64);
        struct peer peers[3];

        sessions_configure(segment, 0, 0, 20);
        peers_start(segment, peers, 3, true);
        sessions_assign(segment, 20, peers, 3);
        for (unsigned i = 0; i < 3; i++) {
                peer_kill(peers[i]);
                assert_converges(segment, "a death among watchers");
                peers[i] = peer_start(segment, 0, true);
                sessions_assign(segment, 20, peers, 3);
        }
}

/* The kernel wakes one waiter of the dead one's word; here that one dies in the same moment. */
Test(shm_takeover, s7_victim_and_watcher_together) {
        struct segment *segment = test_segment(32, 128);
        struct peer peers[6];

        sessions_configure(segment, 0, 0, 100);
        peers_start(segment, peers, 6, true);
        for (unsigned round = 0; round < 40; round++) {
                unsigned victim = round % 6;

                sessions_assign(segment, 100, peers, 6);
                /* The ones behind it in the ring are those that watch it first. */
                for (unsigned i = 0; i < 3; i++)
                        cr_assert_eq(kill(peers[(victim + 6 - i) % 6].pid, SIGKILL), 0);
                for (unsigned i = 0; i < 3; i++)
                        (void) child_status(peers[(victim + 6 - i) % 6].pid);
                assert_converges(segment, "three at once");
                for (unsigned i = 0; i < 3; i++)
                        peers[(victim + 6 - i) % 6] = peer_start(segment, 0, true);
        }
}

/* Waits for a death as a watcher does that is about to die: it takes the kernel's one wake and does nothing. */
static int swallow_news(struct segment *segment, void *argument) {
        _Atomic uint32_t *word = lock_word(&segment_worker(segment, *(uint32_t *) argument)->life_mutex);
        uint32_t value = atomic_fetch_or(word, FUTEX_WAITERS) | FUTEX_WAITERS;

        atomic_store(&segment_pool(segment, 63)->latched, 1);
        (void) futex_wait_shared(word, value, USEC_INFINITY);
        return pause(); /* which never comes back */
}

static bool is_asleep(pid_t pid) {
        char path[64], text[512] = "";
        const char *state;
        FILE *file;

        (void) snprintf(path, sizeof path, "/proc/%d/stat", pid);
        file = fopen(path, "re");
        cr_assert_not_null(file);
        cr_assert_gt(fread(text, 1, sizeof text - 1, file), 0);
        (void) fclose(file);
        state = strrchr(text, ')');
        return state && state[1] == ' ' && state[2] == 'S';
}

/* One try: a first death is seen by the watcher; the wake of a second goes to one that does nothing. */
static bool second_death_is_seen(void) {
        struct segment *segment = test_segment(8, 16);
        struct peer victim = peer_start(segment, 0, false), first = peer_start(segment, 0, false), watcher;
        uint32_t victim_index = worker_ref_index(victim.ref);
        pid_t swallower = child_run(segment, swallow_news, &victim_index);
        bool is_seen;

        while (atomic_load(&segment_pool(segment, 63)->latched) == 0)
                test_pause();
        while (!is_asleep(swallower))
                test_pause(); /* then it is the first in the kernel's queue */
        watcher = peer_start(segment, 0, true);
        for (unsigned i = 0; i < 400; i++)
                test_pause(); /* the echo of its own entry is over */
        peer_kill(first);
        while (life_state_of(segment, first.ref) != LIFE_FREE)
                test_pause();
        peer_kill(victim);
        for (unsigned i = 0; i < 1000 && life_state_of(segment, victim.ref) != LIFE_FREE; i++)
                test_pause();
        is_seen = life_state_of(segment, victim.ref) == LIFE_FREE;
        cr_assert_eq(kill(swallower, SIGKILL), 0);
        (void) child_status(swallower);
        peer_kill(watcher);
        return is_seen;
}

/* Without the echo (life_wait.c) no try can succeed; with it, one is missed only if this test is not
 * scheduled for a tenth of a second. */
Test(shm_takeover, s7_news_that_a_dying_watcher_took_with_it, .timeout = 120) {
        bool is_seen = false;

        for (unsigned i = 0; i < 10 && !is_seen; i++)
                is_seen = second_death_is_seen();
        cr_assert(is_seen);
}

Test(shm_takeover, s7_all_but_one_at_once) {
        struct segment *segment = test_segment(32, 1000);
        struct peer peers[PEERS_MAX];

        sessions_configure(segment, 0, 0, 1000);
        peers_start(segment, peers, PEERS_MAX, true);
        sessions_assign(segment, 1000, peers, PEERS_MAX);
        for (unsigned i = 1; i < PEERS_MAX; i++)
                cr_assert_eq(kill(peers[i].pid, SIGKILL), 0);
        for (unsigned i = 1; i < PEERS_MAX; i++)
                (void) child_status(peers[i].pid); /* a kill is not a death yet */
        assert_converges(segment, "all but one");
        cr_assert_eq(slots_owned_by(segment, peers[0].ref), 1000);
}

/* ---- proofs without a word ------------------------------------------------------------------- */

/* As after the out-of-memory reaper: the process is gone and its life word still names it. */
Test(shm_takeover, s3_a_process_that_is_gone_proves_it) {
        struct segment *segment = test_segment(8, 16);
        struct peer victim = peer_start(segment, 0, false), heir = peer_start(segment, 0, false);
        _Atomic uint32_t *word = lock_word(
                &segment_worker(segment, worker_ref_index(victim.ref))->life_mutex);
        uint32_t value = atomic_load(word);

        sessions_configure(segment, 0, 0, 3);
        (void) look(segment, 0);
        cr_assert_eq(kill(victim.pid, SIGKILL), 0);
        while (!(atomic_load(word) & FUTEX_OWNER_DIED))
                test_pause();
        atomic_store(word, value);
        cr_assert(life_is_live(segment, victim.ref), "no word says it");
        while (!life_is_proven_dead(segment, victim.ref)) /* a zombie already counts as gone */
                test_pause();
        cr_assert_eq(look(segment, heir.ref).dead_count, 1);
        cr_assert_eq(slots_owned_by(segment, heir.ref), 3);
        assert_converges(segment, "no robust list");
        (void) child_status(victim.pid);
        cr_assert_eq(worker_ref_index(peer_start(segment, 0, false).ref), worker_ref_index(victim.ref),
                     "its entry is whole again");
}

/* S3: a record that names a process that is gone proves nothing while the mutex names a living thread. */
Test(shm_takeover, s3_a_wrong_record_is_no_proof) {
        struct segment *segment = test_segment(8, 16);
        struct peer peer = peer_start(segment, 0, false);

        atomic_store(&segment_worker(segment, worker_ref_index(peer.ref))->pid, 4194303);
        cr_assert(!life_is_proven_dead(segment, peer.ref));
        atomic_store(&segment_worker(segment, worker_ref_index(peer.ref))->pid, 0);
        cr_assert(!life_is_proven_dead(segment, peer.ref));
        cr_assert_eq(look(segment, 0).dead_count, 0);
}

Test(shm_takeover, s11_a_lost_pool_mutex_condemns) {
        struct segment *segment = test_segment(8, 16);
        struct takeover_result result = { .dead_count = 4711 };
        uint64_t epoch;

        sessions_configure(segment, 0, 0, 1);
        memset(&segment_pool(segment, 0)->mutex, 0, sizeof(pthread_mutex_t));
        cr_assert_eq(takeover_run(segment, 0, 0, &result), -ENOTRECOVERABLE);
        cr_assert_eq(result.dead_count, 4711, "output untouched on failure");
        cr_assert_eq(atomic_load(&segment->header->condemned), 1);
        cr_assert_neq(atomic_load(&segment_pool(segment, 5)->member_version), 0, "every pool is told");
        cr_assert_eq(slot_take(segment, 0, worker_ref(0, 1), &epoch), -ENOTRECOVERABLE);
        cr_assert_eq(slot_release(segment, 0, worker_ref(0, 1), 1, 0), -ENOTRECOVERABLE);
}

static int hold_pool(struct segment *segment, void *argument) {
        (void) argument;
        if (lock_take(&segment_pool(segment, 0)->mutex, LOCK_POOL) < 0)
                return 1;
        atomic_store(&segment_pool(segment, 63)->latched, 1);
        for (;;)
                (void) pause();
}

Test(shm_takeover, s11_a_pool_mutex_whose_holder_never_said_so) {
        struct segment *segment = test_segment(8, 16);
        pid_t pid = child_run(segment, hold_pool, NULL);
        uint32_t word;

        while (atomic_load(&segment_pool(segment, 63)->latched) == 0)
                test_pause();
        word = atomic_load(lock_word(&segment_pool(segment, 0)->mutex));
        cr_assert_eq(kill(pid, SIGKILL), 0);
        (void) child_status(pid);
        atomic_store(lock_word(&segment_pool(segment, 0)->mutex), word);
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), -ENOTRECOVERABLE);
        cr_assert_eq(atomic_load(&segment->header->condemned), 1);
}

/* It keeps the mutex, and the segment is condemned while another waits for it. */
static int hold_pool_and_condemn(struct segment *segment, void *argument) {
        (void) argument;
        if (lock_take(&segment_pool(segment, 0)->mutex, LOCK_POOL) < 0)
                return 1;
        atomic_store(&segment_pool(segment, 63)->latched, 1);
        while ((atomic_load(lock_word(&segment_pool(segment, 0)->mutex)) & FUTEX_WAITERS) == 0)
                test_pause();
        atomic_store(&segment->header->condemned, 1);
        for (;;)
                (void) pause();
}

Test(shm_takeover, s11_who_waits_in_a_condemned_segment_gives_up, .timeout = 10) {
        struct segment *segment = test_segment(8, 16);
        pid_t pid = child_run(segment, hold_pool_and_condemn, NULL);

        while (atomic_load(&segment_pool(segment, 63)->latched) == 0)
                test_pause();
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), -ENOTRECOVERABLE);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        (void) child_status(pid);
}

/* ---- the taker dies, too --------------------------------------------------------------------- */

static int look_and_die(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref;

        (void) argument;
        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        for (;;)
                (void) takeover_run(segment, 0, ref, NULL);
}

/* No crash points needed: a taker that looks all the time, killed at moments spread over a look. */
Test(shm_takeover, s7_the_taker_is_killed_at_any_moment) {
        struct segment *segment = test_segment(8, 500);
        struct peer heir;

        sessions_configure(segment, 0, 0, 500);
        heir = peer_start(segment, 0, true);
        srand(4711);
        for (unsigned round = 0; round < 150; round++) {
                struct peer victim = peer_start(segment, 0, false);
                pid_t taker = child_run(segment, look_and_die, NULL);
                struct timespec moment = { .tv_nsec = rand() % 3000000 };

                for (uint32_t i = 0; i < 500; i++)
                        slot_assign(segment, i, victim.ref, heir.ref);
                peer_kill(victim);
                (void) nanosleep(&moment, NULL);
                cr_assert_eq(kill(taker, SIGKILL), 0);
                (void) child_status(taker);
                assert_converges(segment, "after the taker's death");
        }
        for (uint32_t i = 0; i < 500; i++)
                cr_assert(!slot_view_of(segment, i).quarantined);
}

/* S12: who got a slot from a taker that died before it could tell is told by the next. */
Test(shm_takeover, s12_lost_hints_are_made_good) {
        struct segment *segment = test_segment(8, 64);
        struct peer peer = peer_start(segment, 0, false);
        uint32_t rings;

        sessions_configure(segment, 0, 0, 40);
        (void) look(segment, 0);
        for (uint32_t i = 0; i < segment->inbox_words; i++)
                atomic_store(segment->inboxes + i, 0);
        segment_pool(segment, 0)->hints_owed =
                1; /* as a taker leaves it that died after giving, before telling */
        rings = atomic_load(&segment_worker(segment, worker_ref_index(peer.ref))->doorbell);
        (void) look(segment, 0);
        cr_assert_eq(atomic_load(segment->inboxes), (1ULL << 40) - 1, "all of its slots");
        cr_assert_gt(atomic_load(&segment_worker(segment, worker_ref_index(peer.ref))->doorbell), rings);
        cr_assert_eq(segment_pool(segment, 0)->hints_owed, 0);
}

/* ---- bytes of a corpse ----------------------------------------------------------------------- */

static void scribble(void *memory, size_t bytes) {
        for (size_t i = 0; i < bytes; i++)
                ((uint8_t *) memory)[i] = (uint8_t) rand();
}

/* P1: whatever worker-owned words hold, a look ends and touches nothing outside the segment. The child
 * aborts, crashes or hangs if it does not. */
Test(shm_takeover, p1_random_bytes_in_worker_records, .timeout = 120) {
        struct segment *segment = test_segment(16, 64);
        struct peer peer;

        sessions_configure(segment, 0, 0, 32);
        peer = peer_start(segment, 0, false);
        srand(1147);
        for (unsigned round = 0; round < 300; round++) {
                uint64_t nobody = 0;

                for (uint32_t i = 0; i < segment->worker_count; i++) {
                        if (i == worker_ref_index(peer.ref) || rand() % 3 == 0)
                                continue;
                        scribble(segment_worker(segment, i), sizeof(struct layout_worker));
                        if (rand() % 2) { /* near the rules, where it hurts more */
                                segment_worker(segment, i)->life = (uint64_t) (rand() % 7) << 8 |
                                                                   (uint64_t) (rand() % 7);
                                segment_worker(segment, i)->pool_index = 0;
                        }
                        if (rand() % 2)
                                cr_assert_eq(lock_init(&segment_worker(segment, i)->life_mutex), 0);
                        atomic_store(&segment_slot(segment, rand() % 32)->owner_ref,
                                     worker_ref(i, segment_worker(segment, i)->life >> 8));
                }
                child_succeeds(child_run(segment, look_once, &nobody), "a look at random bytes");
                cr_assert(life_is_live(segment, peer.ref));
        }
}

Test(shm_takeover, p1_random_bytes_in_slots, .timeout = 120) {
        struct segment *segment = test_segment(8, 64);
        struct peer peer;

        sessions_configure(segment, 0, 0, 64);
        peer = peer_start(segment, 0, false);
        srand(2258);
        for (unsigned round = 0; round < 300; round++) {
                struct layout_slot *slot = segment_slot(segment, rand() % 64);

                if (rand() % 4 == 0)
                        scribble(slot, offsetof(struct layout_slot, owner_ref));
                scribble((char *) slot + offsetof(struct layout_slot, owner_ref),
                         offsetof(struct layout_slot, quarantined) - offsetof(struct layout_slot, owner_ref));
                child_succeeds(child_run(segment, look_once, &peer.ref), "a look at random slots");
        }
        for (uint32_t i = 0; i < 64; i++) {
                const struct layout_slot *slot = segment_slot(segment, i);

                cr_assert(atomic_load(&slot->quarantined) != 0 || atomic_load(&slot->state) == SLOT_FREE ||
                          atomic_load(&slot->owner_ref) == peer.ref);
        }
}

/* M6: note and signal of a corpse are input. */
Test(shm_takeover, m6_a_death_note_is_copied_before_the_entry_is_free) {
        struct segment *segment = test_segment(8, 16);
        struct peer victim = peer_start(segment, 0, false), heir;
        struct layout_worker *record = segment_worker(segment, worker_ref_index(victim.ref));

        sessions_configure(segment, 0, 0, 2);
        (void) look(segment, 0);
        heir = peer_start(segment, 0, false);
        atomic_store(&record->note_position, 77);
        atomic_store(&record->fault_signal, 4711);
        atomic_store(&record->note_slot, 1);
        peer_kill(victim);
        (void) look(segment, heir.ref);
        cr_assert_eq(atomic_load(&segment_slot(segment, 0)->death_note), DEATH_NONE);
        cr_assert_eq(atomic_load(&segment_slot(segment, 1)->death_note), DEATH_IN_BATCH);
        cr_assert_eq(atomic_load(&segment_slot(segment, 1)->death_position), 77);
        cr_assert_eq(atomic_load(&segment_slot(segment, 1)->death_signal), 0, "no signal of a fault");
        cr_assert_eq(life_state_of(segment, victim.ref), LIFE_FREE);
        peer_kill(heir); /* which had not read it yet, and had nothing in hand itself */
        (void) look(segment, 0);
        cr_assert_eq(atomic_load(&segment_slot(segment, 1)->death_position), 77, "an unread note stays");
}

static struct layout_slot *note_of_a_death(enum worker_phase phase, uint32_t fault_signal) {
        struct segment *segment = test_segment(8, 16);
        struct peer victim = peer_start(segment, 0, false);
        struct layout_worker *record = segment_worker(segment, worker_ref_index(victim.ref));

        sessions_configure(segment, 0, 0, 1);
        (void) look(segment, 0);
        atomic_store(&record->note_position, 77);
        atomic_store(&record->note_is_exact, 1);
        atomic_store(&record->note_slot, 0);
        atomic_store(&record->phase, phase);
        atomic_store(&record->fault_signal, fault_signal);
        peer_kill(victim);
        (void) look(segment, 0);
        return segment_slot(segment, 0);
}

/* M6: three kills on an event alone stop its session; in a sync or a commit no event is in hand. */
Test(shm_takeover, m6_a_kill_in_a_commit_is_no_events_doing) {
        cr_assert_eq(atomic_load(&note_of_a_death(PHASE_WRITING, 0)->death_note), DEATH_ON_EVENT);
        cr_assert_eq(atomic_load(&note_of_a_death(PHASE_COMMITTING, 0)->death_note), DEATH_NONE);
        cr_assert_eq(atomic_load(&note_of_a_death(PHASE_COMMITTING, SIGSEGV)->death_note), DEATH_ON_EVENT,
                     "a fault there may be what the event holds");
}

Test(shm_takeover, the_pool_records_its_takeovers) {
        struct segment *segment = test_segment(8, 16);
        struct peer victim = peer_start(segment, 0, false), heir;

        sessions_configure(segment, 0, 0, 3);
        (void) look(segment, 0);
        heir = peer_start(segment, 0, false);
        cr_assert_eq(segment_pool(segment, 0)->takeover_count, 0);
        peer_kill(victim);
        (void) look(segment, heir.ref);
        cr_assert_eq(segment_pool(segment, 0)->takeover_count, 1);
        cr_assert_eq(segment_pool(segment, 0)->takeover_slots, 3);
        cr_assert_eq(segment_pool(segment, 0)->takeover_last_ref, victim.ref);
        cr_assert_eq(segment_pool(segment, 0)->takeover_by_ref, heir.ref);
}
