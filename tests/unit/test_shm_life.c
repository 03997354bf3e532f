/* SPDX-License-Identifier: Apache-2.0 */
/* Lives: entering, leaving, proof of death, and the news of it with and without futex_waitv (S1, S3, S6,
 * S7, S12). */
#include <seccomp.h>

#include "tests/unit/test_shm_support.h"

Test(shm_life, s1_enter_holds_the_life_mutex) {
        struct segment *segment = test_segment(4, 16);
        struct peer peer = peer_start(segment, 0, false);
        const struct layout_worker *worker = segment_worker(segment, worker_ref_index(peer.ref));

        cr_assert_eq(worker_ref_generation(peer.ref), 1, "generations begin at 1");
        cr_assert_eq(life_state_of(segment, peer.ref), LIFE_LIVE);
        cr_assert_eq(atomic_load(lock_word(&worker->life_mutex)) & FUTEX_TID_MASK, (uint32_t) peer.pid);
        cr_assert_eq(atomic_load(&worker->pid), (uint32_t) peer.pid);
        cr_assert_eq(atomic_load(&worker->note_slot), LAYOUT_NONE);
        cr_assert(life_is_live(segment, peer.ref));
        cr_assert(!life_is_live(segment, worker_ref(worker_ref_index(peer.ref), 2)));
        cr_assert(!life_is_live(segment, 0) && !life_is_live(segment, worker_ref(4, 1)));
        cr_assert(!life_is_proven_dead(segment, peer.ref));
        peer_kill(peer);
        cr_assert(!life_is_live(segment, peer.ref), "the word alone says it");
        cr_assert(life_is_proven_dead(segment, peer.ref));
        cr_assert(!life_is_proven_dead(segment, worker_ref(worker_ref_index(peer.ref), 9)), "not born yet");
        cr_assert(!life_is_proven_dead(segment, 0) && !life_is_proven_dead(segment, worker_ref(4, 1)));
}

Test(shm_life, s6_an_entry_is_used_again_with_a_new_generation) {
        struct segment *segment = test_segment(1, 16);
        uint64_t last_ref = 0;

        for (uint64_t generation = 1; generation <= 5; generation++) {
                struct peer peer = peer_start(segment, 0, false); /* finds the dead one and completes it */

                cr_assert_eq(peer.ref, worker_ref(0, generation));
                cr_assert(!life_is_live(segment, last_ref));
                cr_assert(generation == 1 || life_is_proven_dead(segment, last_ref));
                last_ref = peer.ref;
                peer_kill(peer);
        }
}

static int enter_and_report(struct segment *segment, void *argument) {
        struct failure failure = { 0 };
        uint64_t ref = 4711;
        int r = life_enter(segment, *(uint32_t *) argument, &ref, &failure);

        return r < 0 && (failure.text[0] == '\0' || ref != 4711) ? 255 : -r;
}

static int enter_result(struct segment *segment, uint32_t pool_index) {
        return -WEXITSTATUS(child_status(child_run(segment, enter_and_report, &pool_index)));
}

Test(shm_life, refusals) {
        struct segment *segment = test_segment(2, 16);

        cr_assert_eq(enter_result(segment, 1), -ESTALE, "the pool is not active");
        cr_assert_eq(enter_result(segment, 64), -ESTALE, "there is no such pool");
        (void) peer_start(segment, 0, false);
        (void) peer_start(segment, 0, false);
        cr_assert_eq(enter_result(segment, 0), -ENOSPC);
        atomic_store(&segment->header->condemned, 1);
        cr_assert_eq(enter_result(segment, 0), -ESTALE);
}

/* S7: represented as LIFE_ABANDONED, and nobody trips over it again. */
Test(shm_life, s7_an_entry_that_cannot_be_mended_is_abandoned) {
        struct segment *segment = test_segment(3, 16);
        struct peer peer = peer_start(segment, 0, false);
        struct takeover_result result;

        peer_kill(peer);
        memset((char *) &segment_worker(segment, 0)->life_mutex + 8, 0x77, sizeof(pthread_mutex_t) - 8);
        cr_assert_eq(takeover_run(segment, 0, 0, &result), 0);
        cr_assert_eq(result.dead_count, 1);
        cr_assert_eq(life_state_of(segment, peer.ref), LIFE_ABANDONED);
        cr_assert_eq(takeover_run(segment, 0, 0, &result), 0);
        cr_assert_eq(result.dead_count, 0);
        memset((char *) &segment_worker(segment, 1)->life_mutex, 0x77,
               sizeof(pthread_mutex_t)); /* FREE, and no mutex */
        cr_assert_eq(worker_ref_index(peer_start(segment, 0, false).ref), 2);
        cr_assert_eq(segment_worker(segment, 1)->life & 0xff, LIFE_ABANDONED);
}

static int enter_and_leave(struct segment *segment, void *argument) {
        struct failure failure;
        uint64_t ref;

        (void) argument;
        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        life_leave(segment, ref);
        return lock_is_held(LOCK_LIFE) || life_is_live(segment, ref);
}

Test(shm_life, leave_frees_the_entry_and_gives_on_what_it_was_given) {
        struct segment *segment = test_segment(4, 16);
        struct peer peer;

        sessions_configure(segment, 0, 0, 8);
        child_succeeds(child_run(segment, enter_and_leave, NULL),
                       "alone: its 8 orphans become orphans again");
        for (uint32_t i = 0; i < 8; i++)
                cr_assert_eq(slot_view_of(segment, i).state, SLOT_ORPHAN);
        cr_assert_eq(segment_worker(segment, 0)->life, 1 << 8 | LIFE_FREE);
        peer = peer_start(segment, 0, false);
        cr_assert_eq(peer.ref, worker_ref(0, 2));
        cr_assert_eq(slots_owned_by(segment, peer.ref), 8, "a joiner that is the only one gets the orphans");
        child_succeeds(child_run(segment, enter_and_leave, NULL), "beside another");
        cr_assert_eq(slots_owned_by(segment, peer.ref), 8);
        assert_converges(segment, "after leaving");
}

/* ---- news ------------------------------------------------------------------------------------ */

struct listener {
        struct peer peer;
        int news_fd;
};

/* A worker that reports each result of life_wait(); without_waitv: on a kernel that lacks the call. */
static struct listener listener_start(struct segment *segment, bool without_waitv) {
        struct listener listener;
        int fds[2];

        cr_assert_eq(pipe(fds), 0);
        listener.peer.pid = fork();
        cr_assert_geq(listener.peer.pid, 0);
        if (listener.peer.pid == 0) {
                struct life_watch watch = { 0 };
                struct failure failure;
                uint64_t ref;

                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (without_waitv) {
                        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

                        if (seccomp_rule_add_exact(filter, SCMP_ACT_ERRNO(ENOSYS), 449, 0) < 0 ||
                            seccomp_load(filter) < 0)
                                _exit(1);
                }
                if (life_enter(segment, 0, &ref, &failure) < 0 ||
                    write(fds[1], &ref, sizeof ref) != sizeof ref)
                        _exit(1);
                for (;;) {
                        int news = life_wait(segment, ref, &watch, clock_usec() + PATIENCE_USEC);

                        if ((news & LIFE_NEWS_DEATH) != 0)
                                (void) takeover_run(segment, 0, ref, NULL);
                        if (write(fds[1], &news, sizeof news) != sizeof news)
                                _exit(1);
                }
        }
        (void) close(fds[1]);
        listener.news_fd = fds[0];
        cr_assert_eq(read(listener.news_fd, &listener.peer.ref, 8), 8);
        return listener;
}

/* Reads reports until one holds the wanted news: what else comes with it depends on who was faster. */
static void listener_hears(struct listener *listener, int wanted) {
        int news;

        do {
                cr_assert_eq(read(listener->news_fd, &news, sizeof news), (ssize_t) sizeof news);
                cr_assert_gt(news, 0, "woken with news, or the wait timed out (%d)", news);
        } while ((news & wanted) == 0);
}

static void hear_everything(bool without_waitv) {
        struct segment *segment = test_segment(8, 16);
        struct listener listener = listener_start(segment, without_waitv);
        struct peer first, second;

        first = peer_start(segment, 0, false);
        listener_hears(&listener, LIFE_NEWS_MEMBERS);
        second = peer_start(segment, 0, false);
        listener_hears(&listener, LIFE_NEWS_MEMBERS);
        doorbell_ring(segment, listener.peer.ref);
        listener_hears(&listener, LIFE_NEWS_DOORBELL);
        peer_kill(second);
        listener_hears(&listener, LIFE_NEWS_DEATH);
        peer_kill(first);
        listener_hears(&listener, LIFE_NEWS_DEATH);
        assert_converges(segment, "after two deaths");
        peer_kill(listener.peer);
}

Test(shm_life, s7_s12_news_by_futex_waitv) {
        hear_everything(false);
}

Test(shm_life, s7_s12_news_without_futex_waitv) {
        hear_everything(true);
}

static int wait_quietly(struct segment *segment, void *argument) {
        struct life_watch watch = { 0 };
        struct failure failure;
        uint64_t ref;

        (void) argument;
        if (life_enter(segment, 0, &ref, &failure) < 0)
                return 1;
        while (life_wait(segment, ref, &watch, clock_usec()) > 0)
                ;
        return life_wait(segment, ref, &watch, clock_usec() + 20000) != 0;
}

Test(shm_life, s7_no_news_ends_at_the_deadline) {
        child_succeeds(child_run(test_segment(4, 16), wait_quietly, NULL), "a quiet wait");
}

/* A condemned segment is told once, and a death in it is not: nobody could act on it, at SCHED_FIFO. */
Test(shm_life, s11_condemned_is_told_and_does_not_spin) {
        struct segment *segment = test_segment(4, 16);
        struct listener listener = listener_start(segment, false);
        struct peer peer = peer_start(segment, 0, false);

        listener_hears(&listener, LIFE_NEWS_MEMBERS);
        memset(&segment_pool(segment, 0)->mutex, 0x11, sizeof(pthread_mutex_t));
        peer_kill(peer);
        do /* its look condemns the segment; the news may still be that of its own entry, or of the peer's */
                listener_hears(&listener, LIFE_NEWS_MEMBERS);
        while (atomic_load(&segment->header->condemned) == 0);
        doorbell_ring(segment, listener.peer.ref);
        listener_hears(&listener, LIFE_NEWS_DOORBELL);
}

Test(shm_life, neighbours_in_ring_order) {
        struct segment *segment = test_segment(8, 16);
        struct peer peers[4];
        uint64_t refs[8] = { 0 };

        pool_activate(segment, 1);
        for (unsigned i = 0; i < 4; i++)
                peers[i] = peer_start(segment, i == 2, false);
        cr_assert_eq(life_neighbours(segment, peers[1].ref, refs, 8), 2);
        cr_assert_eq(refs[0], peers[3].ref, "the one of another pool is none");
        cr_assert_eq(refs[1], peers[0].ref, "round the end");
        cr_assert_eq(life_neighbours(segment, peers[1].ref, refs, 1), 1);
        cr_assert_eq(life_neighbours(segment, peers[2].ref, refs, 8), 0);
        peer_kill(peers[3]);
        cr_assert_eq(life_neighbours(segment, peers[1].ref, refs, 8), 1);
}

/* ---- inboxes --------------------------------------------------------------------------------- */

struct seen {
        uint32_t count, slots[8];
};

static void see(void *context, uint32_t slot_index) {
        struct seen *seen = context;

        if (seen->count < ELEMENTSOF(seen->slots))
                seen->slots[seen->count] = slot_index;
        seen->count++;
}

Test(shm_life, s12_inbox_in_rising_order_once) {
        struct segment *segment = test_segment(4, 1000);
        uint64_t ref = worker_ref(2, 1);
        struct seen seen = { 0 };
        uint32_t rings;

        inbox_put(segment, ref, 999);
        inbox_put(segment, ref, 0);
        inbox_put(segment, ref, 64);
        inbox_put(segment, ref, 64);
        inbox_put(segment, ref, 1000);
        inbox_put(segment, worker_ref(4, 1), 5);
        inbox_put(segment, worker_ref(3, 1), 7);
        cr_assert_eq(inbox_drain(segment, ref, see, &seen), 3);
        cr_assert_eq(seen.count, 3);
        cr_assert(seen.slots[0] == 0 && seen.slots[1] == 64 && seen.slots[2] == 999);
        cr_assert_eq(inbox_drain(segment, ref, see, &seen), 0);
        atomic_store(segment->inboxes + 2 * segment->inbox_words + segment->inbox_words - 1, UINT64_MAX);
        cr_assert_eq(inbox_drain(segment, ref, see, &seen), 40,
                     "P1: 960 to 999, no bit behind the last slot");

        rings = atomic_load(&segment_worker(segment, 2)->doorbell);
        doorbell_ring(segment, ref);
        doorbell_ring(segment, worker_ref(4, 1));
        doorbell_ring(segment, 0);
        cr_assert_eq(atomic_load(&segment_worker(segment, 2)->doorbell), rings, "nobody is there");
}

Test(shm_life, s12_futex_words) {
        struct segment *segment = test_segment(4, 16);
        _Atomic uint32_t *word = &segment_worker(segment, 0)->doorbell;

        cr_assert_eq(futex_wait_shared(word, 1, USEC_INFINITY), 0, "the value differs");
        cr_assert_eq(futex_wait_shared(word, 0, clock_usec() + 2000), -ETIMEDOUT);
        futex_wake_shared(word, 1);
}
