/* SPDX-License-Identifier: Apache-2.0 */
/* How long the heir takes under the unit: from the kill of an owner to the stamp of the next one's ownership, as
 * tests/bench has it outside. With the scheduling class that the takeover threads really got, which is printed beside
 * each figure; where the manager may not raise the limit, once more with the capability in its place. */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "shm/slot.h"
#include "tests/bench/lib/figures.h"
#include "tests/bench/lib/stub.h"
#include "tests/systemd/guest/guest.h"

#define KILLS 50
#define KILLS_QUICK 8
/* A pool whose workers die young is given new ones ever more slowly; a restart forgets that. */
#define KILLS_A_LIFE 4

static bool has_heir(struct guest *guest, size_t i, struct pool_look *ret_look) {
        return pool_is_settled(&guest->world, "events", 2, ret_look) && ret_look->heirs[i] != 0 &&
               ret_look->heirs[i] != ret_look->owners[i] && nobody_is_accused(&guest->world);
}

static bool is_owned_anew(struct guest *guest, size_t i, uint64_t epoch, uint64_t *ret_usec) {
        uint32_t slot = session_slot(&guest->world, guest->world.outboxes[i].name);
        struct slot_view view;

        if (slot == LAYOUT_NONE || slot_read(guest->world.segment, slot, &view) < 0 || view.epoch <= epoch ||
            view.state != SLOT_OWNED)
                return false;
        *ret_usec = view.owned_since_usec;
        return true;
}

/* Of a live worker; what its takeover thread says that it got. */
static bool is_fifo(struct guest *guest, pid_t worker) {
        struct segment *segment = world_segment(&guest->world);

        for (uint32_t i = 0; segment && i < segment->worker_count; i++)
                if ((segment_worker(segment, i)->life & 0xff) == LIFE_LIVE &&
                    (pid_t) segment_worker(segment, i)->pid == worker)
                        return segment_worker(segment, i)->takeover_is_fifo == 1;
        return false;
}

struct measured {
        struct series spans; /* milliseconds from the kill of an owner to the stamp of the next */
        double look_most; /* of these, from the look to ownership; the rest are the owner's end and a waking */
        size_t fifo;      /* so many of the heirs were SCHED_FIFO */
};

/* From the look of whoever took over to the last slot owned. The words stand before the count does (layout.h); the
 * destination of the shop is the first pool. */
static double look_msec(struct guest *guest, uint64_t takeovers) {
        WAIT_UNTIL(&guest->world, takeover_count(&guest->world, "events") != takeovers);
        return (double) atomic_load(&segment_pool(guest->world.segment, 0)->takeover_last_span_usec) / 1e3;
}

static void kill_owner(struct guest *guest, size_t i, struct measured *measured) {
        uint64_t killed_usec, owned_usec = 0, takeovers;
        struct pool_look look;

        WAIT_UNTIL(&guest->world, has_heir(guest, i, &look));
        (void) usleep(20000); /* the heir warms up (S8) */
        takeovers = takeover_count(&guest->world, "events");
        measured->fifo += is_fifo(guest, look.heirs[i]);
        killed_usec = clock_usec();
        kill_process(look.owners[i], SIGKILL);
        WAIT_UNTIL(&guest->world, is_owned_anew(guest, i, look.epochs[i], &owned_usec));
        series_add(&measured->spans, ((double) owned_usec - (double) killed_usec) / 1e3);
        measured->look_most = MAX_OF(measured->look_most, look_msec(guest, takeovers));
}

/* How long who kills waits for a processor is not what is measured. */
static void hurry(struct guest *guest, int policy) {
        const struct sched_param parameter = { .sched_priority = policy == SCHED_OTHER ? 0 : 1 };

        if (sched_setscheduler(0, policy | SCHED_RESET_ON_FORK, &parameter) < 0)
                world_fail(&guest->world, "the scheduling class of this test: %m");
}

/* True: the heirs' takeover threads were SCHED_FIFO, each. */
static bool measure(struct guest *guest, bool saturated) {
        size_t kills = bench_count(KILLS, KILLS_QUICK);
        struct measured measured = {};
        struct series *spans = &measured.spans;

        shop_write(guest, "orders", 1500);
        shop_write(guest, "payments", 1500);
        if (saturated)
                burn_begin();
        hurry(guest, SCHED_FIFO);
        for (size_t i = 0; i < kills; i++) {
                if (i > 0 && i % KILLS_A_LIFE == 0)
                        shell(guest, "systemctl restart baton");
                kill_owner(guest, i % 2, &measured);
        }
        hurry(guest, SCHED_OTHER);
        burn_end();
        shop_check(guest);
        printf("  kill -9 of an owner -> its heir owns, %s, %zu of %zu heirs SCHED_FIFO: p50 %.2f ms, p99 %.2f ms, "
               "max %.2f ms; from the look on, max %.3f ms\n",
               saturated ? "all cores busy" : "idle", measured.fifo, spans->count,
               series_percentile(spans, 50), series_percentile(spans, 99), series_max(spans),
               measured.look_most);
        series_done(spans);
        shell(guest, "systemctl restart baton");
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
        return measured.fifo == kills;
}

/* LimitRTPRIO= asks for more than the manager has, and CAP_SYS_RESOURCE alone raises a limit. */
static void say_why_not(struct guest *guest) {
        bool may_raise =
                shell_code(guest,
                           "test $((0x$(awk '/^CapEff/ { print $2 }' /proc/1/status) >> 24 & 1)) = 1") == 0;

        shell(guest, "awk '/Max realtime priority/ { print $5 }' /proc/1/limits");
        guest->world.output[strcspn(guest->world.output, "\n")] = '\0';
        printf("  LimitRTPRIO=10 does not grant it here: the manager's own limit is %s, and it has %sCAP_SYS_RESOURCE; "
               "so once more with the capability that stands for the limit, CAP_SYS_NICE\n",
               guest->world.output, may_raise ? "" : "no ");
}

static void taken_over(struct guest *guest) {
        bool granted = measure(guest, false);

        granted &= measure(guest, true);
        if (granted)
                return;
        say_why_not(guest);
        drop_in(guest, "baton", "AmbientCapabilities=CAP_SYS_NICE\\nCapabilityBoundingSet=CAP_SYS_NICE");
        shell(guest, "systemctl restart baton");
        (void) measure(guest, false);
        (void) measure(guest, true);
        drop_in_end(guest, "baton");
        shell(guest, "systemctl restart baton");
        WAIT_UNTIL(&guest->world, all_owned_by_live(&guest->world));
}

const struct step steps_takeover[] = {
        { "takeover, idle and saturated", taken_over },
        { NULL, NULL },
};
