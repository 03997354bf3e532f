/* SPDX-License-Identifier: Apache-2.0 */
/* The fence (M1, M2) alone: ownership moves at any moment, also from an owner that lives and is only slow, so nothing
 * of S1–S7 is taken for granted. What the destination holds must come right by the epoch in it. README.md says what is
 * left out. By default the destination is SQLite: its one writer holds the lock from begin to commit. -DSERVER: locks
 * of rows, and a COMMIT that was sent may be done long after its sender is dead. */
#ifndef OWNERS
#define OWNERS 3
#endif
#ifndef EVENTS
#define EVENTS 3
#endif
#ifndef MOVES
#define MOVES 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define NOBODY OWNERS

/* The slot: who owns it and at which epoch. */
byte owner, slot_epoch = 1, moves = MOVES;

/* The destination, as it is seen, and what of it a power cut would leave. */
byte stored_epoch, stored_position, stored_events, durable_position;
byte lock_holder = NOBODY; /* of the file, or of the checkpoint's row */
byte cleaned;              /* so far the source has deleted */
byte journal_position;     /* the best record in any journal */

typedef transaction { /* at a server it outlives its client */
        bool is_open, is_sent, changes;
        byte epoch, first, last
};
transaction tx[OWNERS];
bool killed[OWNERS], is_claimed[OWNERS];
byte epoch[OWNERS], position[OWNERS], kills = KILLS;

/* It could commit: claimed at the very epoch that the destination holds. */
#define COULD_COMMIT(q) (!killed[q] && is_claimed[q] && epoch[q] == stored_epoch)

inline forget(q) {
        tx[q].is_open = false; tx[q].is_sent = false; tx[q].changes = false;
        tx[q].epoch = 0; tx[q].first = 0; tx[q].last = 0;
        lock_holder = (lock_holder == q -> NOBODY : lock_holder)
}

/* From now on everyone sees it. */
inline commit(q) {
        assert(tx[q].epoch >= stored_epoch);
        stored_epoch = tx[q].epoch;
        if
        :: tx[q].last != 0 ->
                assert(tx[q].first == stored_events + 1); /* each event once, in order, none left out */
                assert(tx[q].last >= stored_position);    /* no checkpoint goes back */
                stored_events = tx[q].last; stored_position = tx[q].last
        :: else -> skip
        fi;
        /* Two owners that can both commit. */
        assert(!(COULD_COMMIT(0) && COULD_COMMIT(1)));
#if OWNERS > 2
        assert(!(COULD_COMMIT(0) && COULD_COMMIT(2)) && !(COULD_COMMIT(1) && COULD_COMMIT(2)));
#endif
}

#define DIE :: atomic { kills > 0 -> kills--; goto dying }
#define STEP if DIE :: atomic {
#define DONE } fi
#define LOCK (lock_holder == NOBODY) -> lock_holder = q

/* sqlite_begin(): the write lock. At a server nothing is locked yet. */
inline transaction_begin() {
#ifdef SERVER
        STEP tx[q].is_open = true DONE
#else
        STEP LOCK; tx[q].is_open = true DONE
#endif
}

/* sqlite_session_fence(), claim_transactional(): the epoch is raised and then the checkpoint read, in one transaction. */
inline claim_run() {
#ifdef FAULT_READ_BEFORE_FENCE
        STEP warm = stored_position DONE;
#endif
        transaction_begin();
#ifdef SERVER
        STEP LOCK DONE;
#endif
        STEP
                fenced = stored_epoch > epoch[q];
                if
                :: fenced && owner == q && slot_epoch == epoch[q] ->
                        slot_epoch = stored_epoch + 1; epoch[q] = slot_epoch /* epoch_raise(), slot_raise_epoch() */
                :: fenced && !(owner == q && slot_epoch == epoch[q]) -> epoch[q] = 0 /* -EOWNERDEAD */
                :: else ->
                        tx[q].epoch = epoch[q];
#ifdef FAULT_READ_BEFORE_FENCE
                        position[q] = warm;
#else
                        position[q] = stored_position;
#endif
#ifndef FAULT_FENCE_CHANGES_NOTHING
                        tx[q].changes = true; /* write_fence(): fence_count grows */
#endif
                        assert(journal_position <= stored_position) /* compare_with_journal(): never ahead (M1) */
                fi
        DONE
}

/* move_batch(): some events, or none. */
inline move_batch() {
        STEP
                if
                :: position[q] < EVENTS -> tx[q].first = position[q] + 1; tx[q].last = position[q] + 1; tx[q].changes = true
                :: position[q] + 1 < EVENTS -> tx[q].first = position[q] + 1; tx[q].last = position[q] + 2; tx[q].changes = true
                :: true -> skip
                fi
        DONE
}

/* sqlite_session_end(): one row, that of our epoch, or fenced. (That its position must be ours, too, is for restored
 * backups; the epoch alone must do.) */
inline sqlite_session_end() {
#ifdef SERVER
        if
        DIE
        :: atomic { lock_holder == NOBODY || lock_holder == q -> lock_holder = q }
        fi;
#endif
#ifdef FAULT_EPOCH_CHECKED_AT_CLAIM_ONLY
        STEP fenced = false; tx[q].epoch = stored_epoch DONE
#else
#ifdef FAULT_COMMIT_NOT_WAITED_FOR
        STEP tx[q].epoch = (stored_epoch == epoch[q] -> epoch[q] : stored_epoch); fenced = false DONE
#else
        STEP fenced = is_claimed[q] && stored_epoch != epoch[q]; tx[q].epoch = epoch[q] DONE
#endif
#endif
}

proctype mover(byte q) {
        byte warm;
        bool fenced;

again:
        do
        DIE
        :: atomic { owner == q && epoch[q] != slot_epoch -> epoch[q] = slot_epoch; is_claimed[q] = false } /* session_begin() */
        :: epoch[q] != 0 && !is_claimed[q] ->
                claim_run();
                if
                :: fenced -> goto voided
                :: else -> break
                fi
        :: is_claimed[q] && position[q] < EVENTS -> transaction_begin(); break
        od;
        move_batch();
        sqlite_session_end();
        if
        :: fenced -> is_claimed[q] = false; /* fenced: begun again, if the slot is still ours: batch_void() */
                epoch[q] = (owner == q && slot_epoch == epoch[q] -> epoch[q] : 0); goto voided
        :: else -> skip
        fi;
#ifdef FAULT_JOURNAL_FIRST
        STEP journal_position = (tx[q].last > journal_position -> tx[q].last : journal_position) DONE;
#endif
#ifdef SERVER
        STEP position[q] = (tx[q].last != 0 -> tx[q].last : position[q]); tx[q].is_sent = true DONE;
        STEP !tx[q].is_open -> is_claimed[q] = true DONE; /* the answer */
#else
        STEP
                is_claimed[q] = true;
                position[q] = (tx[q].last != 0 -> tx[q].last : position[q]);
                fenced = tx[q].changes;
                commit(q);
                forget(q)
        DONE;
        STEP /* synced, unless it changed nothing; all frames before it with it */
                durable_position = (fenced -> stored_position : durable_position); fenced = false
        DONE;
#endif
        /* batch_committed(): journal_append(), then clean_run() */
        STEP journal_position = (position[q] > journal_position -> position[q] : journal_position) DONE;
        STEP
                cleaned = (position[q] > cleaned -> position[q] : cleaned);
                assert(cleaned <= durable_position) /* a power cut loses nothing */
        DONE;
        goto again;

voided:   atomic { forget(q); fenced = false; goto again };

dying:  atomic {
                killed[q] = true; is_claimed[q] = false; warm = 0; fenced = false;
                if
                :: tx[q].is_open && tx[q].is_sent -> skip /* the server has it */
                :: else -> skip
                fi
        }
        /* The lock goes some time after its holder; a commit that was sent may still be done. */
        if
        :: atomic { tx[q].is_open && !tx[q].is_sent -> forget(q) }
        :: else -> skip
        fi
}

#ifdef SERVER
/* Does what was sent, when it comes to it. */
proctype server() {
        do
        :: atomic { tx[0].is_sent -> commit(0); durable_position = stored_position; forget(0) }
        :: atomic { tx[1].is_sent -> commit(1); durable_position = stored_position; forget(1) }
#if OWNERS > 2
        :: atomic { tx[2].is_sent -> commit(2); durable_position = stored_position; forget(2) }
#endif
        od
}
#endif

/* Whoever thinks that it has reason to: slot_apply(). The one before may live. */
proctype takeover() {
        byte to;
        do
        :: atomic { moves > 0 ->
                moves--;
                select(to : 0 .. OWNERS - 1);
                owner = to;
#ifndef FAULT_EPOCH_KEPT
                slot_epoch++
#endif
                to = 0 }
        :: atomic { killed[owner] && moves == 0 -> /* a last owner lives */
                if
                :: !killed[0] -> owner = 0
                :: !killed[1] -> owner = 1
#if OWNERS > 2
                :: !killed[2] -> owner = 2
#endif
                fi;
#ifndef FAULT_EPOCH_KEPT
                slot_epoch++
#endif
                }
        od
}

/* Nothing can happen any more: all is there. */
proctype rest() {
        timeout -> assert(stored_events == EVENTS)
}

init {
        atomic {
                run mover(0); run mover(1);
#if OWNERS > 2
                run mover(2);
#endif
#ifdef SERVER
                run server();
#endif
                run takeover(); run rest()
        }
}
