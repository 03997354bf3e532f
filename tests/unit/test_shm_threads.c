/* SPDX-License-Identifier: Apache-2.0 */
/* Workers, a supervisor and a reader as threads of one process, over one segment: what ThreadSanitizer, which
 * sees one process alone, can judge of words that are shared between processes. In every build: no session is
 * in two hands (S2, S3), what its owner before did is seen (S7), epochs only grow, and nobody reads half a record.
 *
 * A thread that ends with its life mutex in its hand is a death, for the kernel as for the others. */
#include <pthread.h>
#include <stdatomic.h>

#include "shm/doorbell.h"
#include "shm/pool.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "shm/turn.h"
#include "tests/unit/test_shm_support.h"

#define POSITIONS 3u
#define LIVES 8u
#define ROUNDS 60u
#define SLOTS 12u

static struct segment *segment;
static uint64_t moved[SLOTS]; /* by whoever owns the session: not atomic, on purpose */
static uint64_t turns;        /* by whoever has the turn: the same */
static _Atomic uint64_t moves;
static _Atomic uint32_t positions_left = POSITIONS;

/* ---- a worker ------------------------------------------------------------------------------------------- */

static void status_say(uint32_t slot_index, uint64_t epoch) {
        struct session_status status = { .phase = SESSION_MOVING,
                                         .epoch = epoch,
                                         .position = moved[slot_index],
                                         .event_count = moved[slot_index] };

        (void) snprintf(status.reason, sizeof status.reason, "%llu", (unsigned long long) moved[slot_index]);
        session_status_write(segment, slot_index, &status);
        session_durable_set(segment, slot_index, moved[slot_index]);
}

static void session_move(uint32_t slot_index, uint64_t ref, uint64_t epoch, unsigned round) {
        uint64_t neighbour = 0;

        moved[slot_index]++;
        atomic_fetch_add(&moves, 1);
        status_say(slot_index, epoch);
        if (round % 7 == 3)
                cr_assert_eq(slot_raise_epoch(segment, slot_index, ref, epoch, epoch + 1, &epoch), 0);
        if (round % 5 != 4)
                return;
        (void) life_neighbours(segment, ref, &neighbour, 1);
        cr_assert_eq(slot_release(segment, slot_index, ref, epoch, round % 2 ? neighbour : 0), 0);
}

static void session_look(uint32_t slot_index, uint64_t ref, unsigned round) {
        struct slot_view view = slot_view_of(segment, slot_index);
        uint64_t epoch;

        if (view.owner_ref == ref)
                session_move(slot_index, ref, view.epoch, round);
        else if (view.state == SLOT_ORPHAN && (view.assigned_ref == ref || view.heir_ref == ref))
                (void) slot_take(segment, slot_index, ref, &epoch);
}

static void hint_see(void *context, uint32_t slot_index) {
        session_look(slot_index, *(uint64_t *) context, 1);
}

static void worker_turn(uint64_t ref, unsigned round) {
        struct layout_worker *self = segment_worker(segment, worker_ref_index(ref));

        atomic_store(&self->pong, atomic_load(&self->ping));
        (void) takeover_run(segment, 0, ref, NULL);
        (void) inbox_drain(segment, ref, hint_see, &ref);
        for (uint32_t i = 0; i < SLOTS; i++)
                session_look(i, ref, round + i);
        if (turn_take(segment, 0, ref, NULL, NULL) < 0)
                return;
        turns++;
        turn_give(segment, 0, ref);
}

static void leave(uint64_t ref) {
        for (uint32_t i = 0; i < SLOTS; i++) {
                struct slot_view view = slot_view_of(segment, i);

                if (view.owner_ref == ref)
                        cr_assert_eq(slot_release(segment, i, ref, view.epoch, 0), 0);
        }
        life_leave(segment, ref);
}

static void *live(void *argument) {
        bool dies = argument != NULL;
        struct failure failure = { 0 };
        uint64_t ref = 0;

        cr_assert_eq(life_enter(segment, 0, &ref, &failure), 0, "%s", failure.text);
        for (unsigned round = 0; round < ROUNDS; round++)
                worker_turn(ref, round);
        if (!dies) {
                leave(ref);
                return NULL;
        }
        /* The kernel tells of a death after all that the dead did. ThreadSanitizer does not see the kernel:
         * a mutex that the next look takes tells it the same. */
        cr_assert_eq(pool_lock(segment, 0, ref), 0);
        pool_unlock(segment, 0);
        return NULL;
}

/* One life after the other: every third ends in order. */
static void *position(void *argument) {
        uintptr_t first = (uintptr_t) argument;

        for (uintptr_t i = 0; i < LIVES; i++) {
                pthread_t thread;

                cr_assert_eq(pthread_create(&thread, NULL, live, (void *) ((first + i) % 3)), 0);
                cr_assert_eq(pthread_join(thread, NULL), 0);
        }
        atomic_fetch_sub(&positions_left, 1);
        return NULL;
}

/* ---- the supervisor ------------------------------------------------------------------------------------- */

static uint32_t live_refs(uint64_t *ret_refs) {
        uint32_t count = 0;

        for (uint32_t i = 0; i < segment->worker_count; i++) {
                uint64_t ref = worker_ref(i, atomic_load(&segment_worker(segment, i)->life) >> 8);

                if (life_is_live(segment, ref))
                        ret_refs[count++] = ref;
        }
        return count;
}

static void *supervise(void *argument) {
        (void) argument;
        for (unsigned turn = 0; atomic_load(&positions_left) > 0; turn++) {
                struct layout_config config = { .sibling_slot = turn % SLOTS };
                uint64_t refs[2 * POSITIONS];
                uint32_t count = live_refs(refs);

                for (uint32_t i = 0; i < count; i++)
                        atomic_fetch_add(&segment_worker(segment, worker_ref_index(refs[i]))->ping, 1);
                for (uint32_t i = 0; i < SLOTS && count > 0; i++)
                        slot_assign(segment, i, refs[(i + turn) % count],
                                    count > 1 ? refs[(i + turn + 1) % count] : 0);
                (void) snprintf(config.session, sizeof config.session, "session-%u", turn);
                (void) snprintf(config.source, sizeof config.source, "session-%u", turn);
                cr_assert_eq(slot_reconfigure(segment, turn % SLOTS, &config), 0);
                pool_activate(segment, 0);
                test_pause();
        }
        return NULL;
}

/* ---- a reader: `status` --------------------------------------------------------------------------------- */

static void read_slot(uint32_t slot_index, uint64_t *epoch) {
        struct session_config config;
        struct session_status status;
        uint64_t durable;
        struct slot_view view = slot_view_of(segment, slot_index);

        cr_assert_geq(view.epoch, *epoch, "an epoch went back");
        *epoch = view.epoch;
        if (session_status_read(segment, slot_index, &status) == 0 && status.event_count > 0) {
                cr_assert_eq(status.position, status.event_count, "half a record");
                cr_assert_eq(strtoull(status.reason, NULL, 10), status.event_count, "half a record");
        }
        if (session_durable_get(segment, slot_index, &durable) == 0)
                cr_assert_leq(durable, atomic_load(&moves));
        if (session_config_read(segment, slot_index, &config) == 0 && config.source[1] == 'e')
                cr_assert_str_eq(config.session, config.source, "half a record");
}

static void read_pool(uint64_t *takeovers) {
        const struct layout_pool *pool = segment_pool(segment, 0);
        uint64_t count = atomic_load_explicit(&pool->takeover_count, memory_order_acquire);
        struct pool_settings settings;

        cr_assert_geq(count, *takeovers);
        *takeovers = count;
        if (count > 0)
                cr_assert_neq(atomic_load_explicit(&pool->takeover_last_ref, memory_order_relaxed), 0,
                              "counted before it was told");
        if (pool_settings_read(segment, 0, &settings) == 0)
                cr_assert_str_eq(settings.name, "events");
}

static void *read_all(void *argument) {
        uint64_t epochs[SLOTS] = { 0 }, takeovers = 0;

        while (atomic_load(&positions_left) > 0) {
                for (uint32_t i = 0; i < SLOTS; i++)
                        read_slot(i, &epochs[i]);
                read_pool(&takeovers);
        }
        return argument;
}

/* ---- all together --------------------------------------------------------------------------------------- */

Test(shm_threads, S2_S3_S7_sessions_have_one_owner_whoever_dies, .timeout = 120) {
        pthread_t positions[POSITIONS], supervisor, reader;
        uint64_t sum = 0;

        segment = test_segment(2 * POSITIONS, SLOTS);
        sessions_configure(segment, 0, 0, SLOTS);
        cr_assert_eq(pthread_create(&supervisor, NULL, supervise, NULL), 0);
        cr_assert_eq(pthread_create(&reader, NULL, read_all, NULL), 0);
        for (uintptr_t i = 0; i < POSITIONS; i++)
                cr_assert_eq(pthread_create(&positions[i], NULL, position, (void *) i), 0);
        for (uintptr_t i = 0; i < POSITIONS; i++)
                cr_assert_eq(pthread_join(positions[i], NULL), 0);
        cr_assert_eq(pthread_join(supervisor, NULL), 0);
        cr_assert_eq(pthread_join(reader, NULL), 0);
        cr_assert_eq(takeover_run(segment, 0, 0, NULL), 0);
        cr_assert(is_converged(segment));
        for (uint32_t i = 0; i < SLOTS; i++)
                sum += moved[i];
        cr_assert_eq(sum, atomic_load(&moves), "a session was moved by two at once");
        cr_assert_gt(sum, POSITIONS * LIVES);
        cr_assert_eq(turns, POSITIONS * LIVES * ROUNDS, "two had the turn at once");
        cr_assert_gt(segment_pool(segment, 0)->takeover_count, 0);
}
