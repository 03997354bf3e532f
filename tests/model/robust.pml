/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's part: robust mutexes, the end of a thread, whom it wakes and whom not.
 *
 * A process is two threads here: its mover, which holds the life mutex, and its watcher (takeover and control
 * thread in one). SIGKILL reaches each at a moment of its own, so one may go on for some steps after the other is
 * gone. A thread's robust list is walked mutex by mutex, the life mutex last, because it was taken first. */

#define MOVER(q) (2 * (q))
#define WATCHER(q) (2 * (q) + 1)

bool killed[PROCESSES];
bool dead[2 * PROCESSES]; /* of a thread: no effect comes from it any more */
bool walked[PROCESSES];   /* and its life mutex says so, or never will */
bool lost[PROCESSES];     /* the robust lists went with the memory that they stood in */
byte deaths = DEATHS;     /* so many may still be killed, */
byte losses = LOSSES;     /* so many of them without a word in any mutex */

/* The pidfd is readable. */
#define IS_GONE(q) (dead[MOVER(q)] && dead[WATCHER(q)] && walked[q])

/* Every step of a thread is one of these: it is done whole, or the thread ends before it. */
#define DIE atomic { (killed[p] || deaths > 0) -> deaths = (killed[p] -> deaths : deaths - 1); killed[p] = true; goto dying }
#define STEP if :: DIE :: d_step {
#define CHOICE if :: DIE :: atomic {
#define DONE } fi

/* lock_take() returns. lock_holder_is_lost(): one that is gone and never said so is not waited for. */
#define CAN_TAKE(word) \
        (!IS_HELD(word) || (lost[HOLDERS_PROCESS(word)] && IS_GONE(HOLDERS_PROCESS(word))))

/* futex_waitv: on which life words a sleeping watcher stands in the queue, and whether it is to wake. Woken by one
 * word it stands in the other queues until it runs, and may be chosen again, in vain. */
byte queued[PROCESSES];
bool woken[PROCESSES];
#ifdef FAULT_NEWS_OF_ONE
byte heard[PROCESSES]; /* whose death, + 1 */
#define HEARS(q, e) heard[q] = (e) + 1
#define hears_by_pidfd(e) heard[p] = (worker[e].process + 1 == neighbour[p] -> (e) + 1 : heard[p])
#define HEARS_OF_NEIGHBOUR EACH_ENTRY(hears_by_pidfd)
#else
#define HEARS(q, e) skip
#define HEARS_OF_NEIGHBOUR skip
#endif

/* FUTEX_WAKE of one: nobody says which of the waiters. It may be one that is about to die. */
#define WAKES(q, e) queued[q] & BIT(e) -> queued[q] = queued[q] & ~BIT(e); woken[q] = true; HEARS(q, e)
inline kernel_wake_one(e) {
        if
        :: WAKES(0, e)
        :: WAKES(1, e)
#if PROCESSES > 2
        :: WAKES(2, e)
#endif
#if PROCESSES > 3
        :: WAKES(3, e)
#endif
        :: else -> skip
        fi
}

/* The out-of-memory reaper was faster. */
inline kernel_reap() {
        if
        :: losses > 0 -> losses--; lost[p] = true
        :: skip
        fi
}

inline kernel_release(word) {
        if
        :: word == HELD(t) && !lost[p] -> word = MUTEX_OWNER_DIED
        :: else -> skip
        fi
}
#define kernel_release_slot(s) kernel_release(slot[s].mutex)

/* exit_robust_list(), all but the life mutex. */
inline kernel_end_thread() {
        dead[t] = true;
        EACH_SLOT(kernel_release_slot);
        kernel_release(pool_mutex)
}

/* … and the life mutex, with its wake. */
inline kernel_end_life() {
        walked[p] = true;
        if
        :: worker[entry_of[p]].life_mutex == HELD(t) && !lost[p] ->
                worker[entry_of[p]].life_mutex = MUTEX_OWNER_DIED;
                kernel_wake_one(entry_of[p])
        :: else -> skip
        fi
}
