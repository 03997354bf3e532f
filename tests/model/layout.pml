/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the segment (shm/layout.h), as far as ownership depends on them. */

#define BIT(n) (1 << (n))
#if ENTRIES > 2
#define EACH_ENTRY(f) f(0); f(1); f(2)
#define ANY_ENTRY(f) (f(0) || f(1) || f(2))
#define ENTRY_MASK(f) (f(0) + f(1) + f(2))
#else
#define EACH_ENTRY(f) f(0); f(1)
#define ANY_ENTRY(f) (f(0) || f(1))
#define ENTRY_MASK(f) (f(0) + f(1))
#endif
#if SLOTS > 1
#define EACH_SLOT(f) f(0); f(1)
#define ANY_SLOT(f) (f(0) || f(1))
#else
#define EACH_SLOT(f) f(0)
#define ANY_SLOT(f) f(0)
#endif
#if PROCESSES > 3
#define EACH_PROCESS(f) f(0); f(1); f(2); f(3)
#define ANY_PROCESS(f) (f(0) || f(1) || f(2) || f(3))
#elif PROCESSES > 2
#define EACH_PROCESS(f) f(0); f(1); f(2)
#define ANY_PROCESS(f) (f(0) || f(1) || f(2))
#else
#define EACH_PROCESS(f) f(0); f(1)
#define ANY_PROCESS(f) (f(0) || f(1))
#endif

/* A robust mutex: free, OWNER_DIED, or its holder. */
#define MUTEX_FREE 0
#define MUTEX_OWNER_DIED 1
#define HELD(thread) (2 + (thread))
#define IS_HELD(word) ((word) >= 2)
#define HOLDERS_PROCESS(word) (((word) - 2) / 2)

#define LIFE_FREE 0
#define LIFE_ENTERING 1
#define LIFE_LIVE 2
#define LIFE_LEFT 3
#define LIFE_DEAD 4

typedef layout_worker {
        byte life, generation, life_mutex;
        byte process;  /* pid and start time (S6) */
        bool draining; /* PHASE_DRAINING */
        byte note;     /* the slot whose batch is in hand, + 1 (M6) */
        byte inbox     /* a bit for each slot */
};
layout_worker worker[ENTRIES];

/* generation, entry; generations begin at 1, so 0 is nobody. */
#define NOBODY 0
#define REF(e) (worker[e].generation * 4 + (e))
#define INDEX(ref) ((ref) % 4)

#define SLOT_FREE 0
#define SLOT_ORPHAN 1
#define SLOT_OWNED 2

typedef layout_slot {
        byte mutex;
        byte owner_ref, epoch, state, orphan_attempts;
        bool quarantined, death_note, wanted;
        byte assigned_ref, heir_ref
};
layout_slot slot[SLOTS];

byte pool_mutex;
bool hints_owed;
bool condemned;
