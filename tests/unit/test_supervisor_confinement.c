/* SPDX-License-Identifier: Apache-2.0 */
/* P7: what workers say of their confinement is told once; and never what another said in the same entry. */
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_confinement, .init = place_make, .fini = place_remove, .timeout = 60);

#define SAYS "workers are not confined to their own files"

static struct manager *started(void) {
        struct manager *manager;

        config_simple("", 1, 1);
        log_listen();
        manager = supervisor_start();
        until(manager, manager->ready_told && is_balanced(manager, 1, 1));
        return manager;
}

static struct process *the_worker(struct manager *manager) {
        return watch_find_ref(manager, atomic_load(&segment_slot(manager->segment, 0)->owner_ref));
}

/* As that worker, or as whoever had its entry before, would have written it. */
static void word_put(struct manager *manager, enum worker_confinement confinement) {
        uint32_t index = worker_ref_index(the_worker(manager)->ref);

        atomic_store(&segment_worker(manager->segment, index)->confinement, confinement);
}

Test(supervisor_confinement, P7_workers_that_are_not_confined_are_told_once) {
        struct manager *manager = started();

        cr_expect_eq(log_said(SAYS), 0);
        word_put(manager, CONFINEMENT_REFUSED);
        confinement_look(manager);
        confinement_look(manager);
        cr_expect_eq(log_said(SAYS), 1);
        supervisor_stop(manager);
}

/* A process of layout 1 does not know the word, and does not clear it when it takes the entry over. */
Test(supervisor_confinement, L3_a_word_that_layout_1_does_not_clear_is_nobodys) {
        struct manager *manager = started();

        manager->segment->layout_number = 1;
        word_put(manager, CONFINEMENT_REFUSED);
        confinement_look(manager);
        cr_expect_eq(log_said(SAYS), 0);
        manager->segment->layout_number = LAYOUT_NUMBER;
        supervisor_stop(manager);
}

/* The process is not reaped yet, and its entry is another's already. */
Test(supervisor_confinement, P7_the_word_of_the_next_in_an_entry_is_not_the_last_ones) {
        struct manager *manager = started();
        struct process *process = the_worker(manager);
        uint64_t ref = process->ref;

        word_put(manager, CONFINEMENT_REFUSED);
        process->ref = worker_ref(worker_ref_index(ref), worker_ref_generation(ref) + 1);
        confinement_look(manager);
        cr_expect_eq(log_said(SAYS), 0);
        process->ref = ref;
        supervisor_stop(manager);
}
