/* SPDX-License-Identifier: Apache-2.0 */
/* M6: what deaths say about an event, as a table: the deaths one after another, then what the next owner
 * does with the event. The counts live in the segment, so each step is another session record. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "shm/slot.h"
#include "worker/session.h"

#define AT 42u

struct bench {
        struct segment segment;
        struct layout_header header;
        struct layout_slot slot;
        struct layout_status status;
        struct worker worker;
};

static void death(struct bench *bench, enum death_note note, uint32_t signal_number, uint64_t position) {
        atomic_store(&bench->slot.death_note, note);
        atomic_store(&bench->slot.death_signal, signal_number);
        atomic_store(&bench->slot.death_position, position);
}

/* The words as slot_take_death_note() would hand them over; ownership itself is tested in test_shm_*. */
int slot_take_death_note(struct segment *segment, uint32_t slot_index, uint64_t self_ref,
                         enum death_note *ret_note, uint32_t *ret_signal, uint64_t *ret_position) {
        struct layout_slot *slot = segment_slot(segment, slot_index);

        (void) self_ref;
        *ret_note = (enum death_note) atomic_exchange(&slot->death_note, DEATH_NONE);
        *ret_signal = atomic_load(&slot->death_signal);
        *ret_position = atomic_load(&slot->death_position);
        return 0;
}

static struct bench *bench_new(void) {
        static struct bench bench;

        memset(&bench, 0, sizeof(bench));
        bench.segment = (struct segment){ .header = &bench.header,
                                          .slots = { (char *) &bench.slot, sizeof(bench.slot) },
                                          .statuses = { (char *) &bench.status, sizeof(bench.status) },
                                          .slot_count = 1,
                                          .writable = true };
        bench.worker.segment = &bench.segment;
        bench.worker.ref = worker_ref(0, 1);
        return &bench;
}

static struct session learn(struct bench *bench) {
        struct session session = { .worker = &bench->worker };

        fault_learn(&session);
        return session;
}

Test(fault, M6_a_fault_in_a_fused_batch_takes_the_row_path) {
        struct bench *bench = bench_new();
        struct session session;

        death(bench, DEATH_IN_BATCH, SIGSEGV, 40);
        session = learn(bench);
        cr_assert(session.suspect);
        cr_assert_not(fault_is_isolated(&session, 40));
        cr_assert_not(fault_must_park(&session, 41));
}

Test(fault, M6_parked_after_the_third_fault_on_it) {
        struct bench *bench = bench_new();
        struct session session;

        for (unsigned deaths = 1; deaths <= 3; deaths++) {
                death(bench, DEATH_ON_EVENT, SIGSEGV, AT);
                session = learn(bench);
                cr_assert(fault_is_isolated(&session, AT), "alone after death %u", deaths);
                cr_assert_eq(fault_must_park(&session, AT), deaths == 3, "death %u", deaths);
                cr_assert_not(fault_must_stop(&session, AT));
                cr_assert_not(fault_is_isolated(&session, AT + 1));
        }
}

Test(fault, M6_a_sigkill_never_parks_the_third_stops) {
        struct bench *bench = bench_new();
        struct session session;

        for (unsigned deaths = 1; deaths <= 3; deaths++) {
                death(bench, DEATH_ON_EVENT, 0, AT);
                session = learn(bench);
                cr_assert_not(fault_must_park(&session, AT));
                cr_assert_eq(fault_must_stop(&session, AT), deaths == 3, "death %u", deaths);
        }
}

Test(fault, M6_sigkills_at_different_places_mean_nothing) {
        struct bench *bench = bench_new();
        struct session session;

        for (uint64_t position = 1; position < 50; position++) {
                death(bench, DEATH_IN_BATCH, 0, position * 100);
                session = learn(bench);
                cr_assert_not(session.suspect);
        }
        /* … but three at the same place make a suspect. */
        death(bench, DEATH_IN_BATCH, 0, 4900);
        (void) learn(bench);
        death(bench, DEATH_IN_BATCH, 0, 4900);
        session = learn(bench);
        cr_assert(session.suspect);
}

Test(fault, M6_passed_is_forgotten) {
        struct bench *bench = bench_new();
        struct session session;

        death(bench, DEATH_ON_EVENT, SIGBUS, AT);
        session = learn(bench);
        session.checkpoint.position = AT - 1;
        fault_passed(&session);
        cr_assert(fault_is_isolated(&session, AT));
        session.checkpoint.position = AT;
        fault_passed(&session);
        cr_assert_not(session.suspect);
        session = learn(bench);
        cr_assert_not(session.suspect, "the words in the segment are clean too");
}

/* Where in the batch it was is not known: suspicion lasts to the batch's end, however small the pieces that
 * are moved meanwhile (the first of an owner has 64 rows). */
Test(fault, M6_suspicion_lasts_for_the_whole_batch) {
        struct bench *bench = bench_new();
        struct session session;

        bench->worker.settings.batch_rows = 1000;
        death(bench, DEATH_IN_BATCH, SIGSEGV, 40);
        session = learn(bench);
        for (uint64_t position = 40; position < 1040; position += 64) {
                session.checkpoint.position = position;
                fault_passed(&session);
                cr_assert(session.suspect, "forgotten at %lu", (unsigned long) position);
        }
        /* The next owner knows it too, also after a SIGKILL inside it, which alone means nothing … */
        death(bench, DEATH_IN_BATCH, 0, 500);
        session = learn(bench);
        cr_assert(session.suspect);
        session.checkpoint.position = 1499;
        fault_passed(&session);
        cr_assert(session.suspect);
        session.checkpoint.position = 1500; /* … and behind the batch it is over. */
        fault_passed(&session);
        cr_assert_not(session.suspect);
        session = learn(bench);
        cr_assert_not(session.suspect);
}

Test(fault, W5_counts_from_the_segment_are_bounded) {
        struct bench *bench = bench_new();
        struct session session;

        atomic_store(&bench->status.fault_position, AT);
        atomic_store(&bench->status.fault_deaths, UINT32_MAX);
        atomic_store(&bench->status.suspect, 77);
        session = learn(bench);
        cr_assert_leq(session.fault_deaths, 3);
        cr_assert_not(session.suspect, "only 1 is true");
}
