/* SPDX-License-Identifier: Apache-2.0 */
/* What must become of every session after whatever a worker left (world.h): owned by a worker that lives, or what
 * keeps it was told. Must not touch: a word that worker 0 or the supervisor would not touch. */
#include <stdatomic.h>

#include "base/clock.h"
#include "shm/life.h"
#include "shm/lock.h"
#include "shm/pool.h"
#include "shm/slot.h"
#include "shm/takeover.h"
#include "tests/fuzz/lib/world.h"

/* Two stall-timeouts and more; a beat that comes later than after half of one believes that it was stopped itself. */
#define SETTLE_BEATS 6
#define SETTLE_BEAT_USEC (450 * USEC_PER_MSEC)
/* adopt-timeout, the grace between SIGTERM and SIGKILL, and a beat for each member; twice that is enough. */
#define RENEW_BEATS 20
#define RENEW_BEAT_USEC (5 * USEC_PER_SEC)

/* Its mover answers, and its takeover thread looks. */
static void self_works(void *context) {
        struct layout_worker *self = segment_worker(world.segment, worker_ref_index(world.self_ref));

        (void) context;
        atomic_store(&self->pong, atomic_load(&self->ping));
        (void) takeover_run(world.segment, 0, world.self_ref, NULL);
}

static void others_end(void) {
        for (unsigned i = 1; i < FAKE_COUNT_MAX; i++)
                if (fakes[i].is_used && !fakes[i].is_gone)
                        world_kill(&fakes[i], true);
}

static bool is_owned(const struct slot_view *view) {
        return view->owner_ref != 0 && life_is_live(world.segment, view->owner_ref);
}

/* Can worker 0 be given anything? By its own record, which an input may have overwritten. */
static bool self_may_have(void) {
        const struct layout_worker *self;

        if (world.self_ref == 0 || !life_is_live(world.segment, world.self_ref))
                return false;
        self = segment_worker(world.segment, worker_ref_index(world.self_ref));
        return atomic_load(&self->pool_index) == 0 && atomic_load(&self->phase) != PHASE_DRAINING &&
               atomic_load(&self->drain_ref) != world.self_ref;
}

static void expect_session(uint32_t session) {
        const struct manager *manager = world.manager;
        const char *name = manager->config->sessions[session].name;
        uint32_t slot = 0;
        struct slot_view view;

        while (slot < manager->slot_high &&
               !(manager->slots[slot].used && manager->slots[slot].session == session))
                slot++;
        fuzz_must(slot < manager->slot_high, "session %s has no slot", name);
        if (slot_read(world.segment, slot, &view) < 0) {
                fuzz_must(manager->slots[slot].bad_told, "session %s: a bad slot, and nobody says so", name);
                return;
        }
        if (view.quarantined) {
                fuzz_must(manager->slots[slot].quarantine_told, "session %s: quarantined, nobody says so",
                          name);
                return;
        }
        fuzz_must(view.state != SLOT_FREE, "session %s has vanished", name);
        if (manager->slots[slot].pool_index == 0 && self_may_have())
                fuzz_must(is_owned(&view) || manager->slots[slot].bad_told, "session %s: nobody runs it",
                          name);
}

/* A lock that no worker holds is not waited for: the segment is given up (S11). */
static void expect_no_stranger(void) {
        for (uint32_t i = 0; i < 2; i++)
                fuzz_must(lock_holder(&segment_pool(world.segment, i)->mutex) != FAKE_STRANGER_PID &&
                                  lock_holder(&segment_pool(world.segment, i)->turn) != FAKE_STRANGER_PID,
                          "pool %u: a lock that nobody will let go of", i);
}

/* S11: a new one is made, and not before the last of the one before is gone: worker 0 never leaves by itself. */
static void expect_new_segment(void) {
        world_beat(RENEW_BEAT_USEC); /* worker 0 may have condemned it after the last one */
        for (unsigned beats = 0; beats < RENEW_BEATS && world.manager->state == MANAGER_WAITING; beats++)
                world_beat(RENEW_BEAT_USEC);
        fuzz_must(world.manager->state == MANAGER_SERVING, "a new segment is waited for without end");
        fuzz_must(fakes[0].is_gone, "a new segment, and worker 0 lives in the one before");
}

void world_settle(void) {
        others_end();
        for (unsigned beats = 0; beats < SETTLE_BEATS; beats++) {
                world_beat(SETTLE_BEAT_USEC);
                world_self(self_works, NULL);
        }
        if (world.manager->state == MANAGER_WAITING || segment_is_condemned(world.segment) ||
            world_is_given_up()) {
                expect_new_segment();
                return;
        }
        expect_no_stranger();
        if (!world.is_trusted)
                return;
        for (uint32_t i = 0; i < world.manager->config->session_count; i++)
                expect_session(i);
}
