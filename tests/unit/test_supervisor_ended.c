/* SPDX-License-Identifier: Apache-2.0 */
/* How workers ended that another supervisor had started, and those whose end nobody saw (V11, M6, V6). */
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_ended, .init = place_make, .fini = place_remove, .timeout = 120);

/* Workers of a dead supervisor, adopted by one in this process, which is not their parent. */
struct household {
        pid_t parent;
        struct segment *segment;
        struct manager *manager;
};

/* Until the supervisor is dead: `workers` workers own `sources` sessions. */
static struct household household_orphaned(unsigned workers, unsigned sources) {
        struct household household = { 0 };
        pid_t first;

        config_simple("", workers, sources);
        first = supervisor_fork_elsewhere(&household.parent);
        household.segment = segment_seen();
        wait_owned(household.segment, sources, workers);
        if (workers == 2)
                wait_spread(household.segment, sources);
        /* Seen to have joined: the supervisor that knows of them has noted them. */
        for (uint64_t end_usec = clock_usec() + PATIENCE_USEC, seen = 0; seen != workers;) {
                cr_assert_lt(clock_usec(), end_usec, "never watched");
                (void) usleep(2000);
                seen = 0;
                for (uint32_t i = 0; i < household.segment->worker_count; i++)
                        seen += atomic_load(&segment_worker(household.segment, i)->watched_ref) != 0;
        }
        cr_assert_eq(kill(first, SIGKILL), 0);
        while (kill(first, 0) == 0)
                (void) usleep(2000);
        return household;
}

static void adopt(struct household *household) {
        log_listen();
        household->manager = supervisor_start();
}

static struct household household_new(unsigned workers, unsigned sources) {
        struct household household = household_orphaned(workers, sources);

        adopt(&household);
        cr_assert_not(some_member(household.manager)->is_child);
        return household;
}

static void household_end(struct household *household) {
        supervisor_stop(household->manager);
        segment_close(household->segment);
        cr_assert_eq(kill(household->parent, SIGKILL), 0);
        cr_assert_eq(waitpid(household->parent, NULL, 0), household->parent);
}

static bool kernel_tells(void) {
        int pid_fd = pidfd_open(getpid(), 0), r;
        struct process_end end;

        r = process_how_ended(pid_fd, &end);
        (void) close(pid_fd);
        return r == -EAGAIN;
}

/* Where this kernel does not tell, it is unknown, and that is what has to be said. */
static const char *or_unknown(const char *words) {
        return kernel_tells() ? words : "has ended, how is unknown (adopted, not our child)";
}

static pid_t pid_of(const struct segment *segment, uint64_t ref) {
        return (pid_t) atomic_load(&segment_worker(segment, worker_ref_index(ref))->pid);
}

/* The worker that is told of, once; in the end another has its sessions. */
static void expect_said(struct household *household, unsigned workers, unsigned sources, const char *words) {
        until(household->manager, log_said(or_unknown(words)) == 1);
        until(household->manager, is_balanced(household->manager, sources, workers));
        cr_assert_eq(log_said(or_unknown(words)), 1);
        household_end(household);
}

/* It is told so, and never so. */
static void expect_said_without(struct household *household, const char *words, const char *never) {
        until(household->manager, log_said(or_unknown(words)) == 1);
        cr_assert_eq(log_said(never), 0);
        household_end(household);
}

/* ---- adopted ----------------------------------------------------------------------------------------------- */
Test(supervisor_ended, V11_the_signal_of_an_adopted_worker_is_told) {
        struct household household = household_new(1, 2);

        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        expect_said(&household, 1, 2, "was killed by SIGKILL");
}

Test(supervisor_ended, V11_the_exit_code_of_an_adopted_worker_is_told) {
        struct household household = household_new(1, 2);
        char exits[64];

        (void) snprintf(exits, sizeof exits, "exits-with-3.%llu",
                        (unsigned long long) some_member(household.manager)->ref);
        worker_does(exits, true);
        expect_said(&household, 1, 2, "could not go on (exit code 3)");
}

Test(supervisor_ended, V11_an_adopted_worker_that_leaves_in_order_has_left) {
        const char *error = NULL;
        struct household household = household_new(1, 2);

        until(household.manager, is_balanced(household.manager, 2, 1));
        cr_assert_eq(operator_scale(household.manager, "events", 0, &error, NULL), 0);
        expect_said_without(&household, "has left (exit code 0)", "worker-ended");
}

/* Its own handler has left the number in the table, and the kernel says the same. */
Test(supervisor_ended, M6_a_fault_of_its_own_is_told_as_one) {
        struct household household = household_new(1, 2);
        struct process *victim = some_member(household.manager);

        atomic_store(&segment_worker(household.segment, worker_ref_index(victim->ref))->fault_signal, SIGILL);
        cr_assert_eq(kill(victim->pid, SIGILL), 0);
        expect_said(&household, 1, 2, "was killed by SIGILL, its own fault");
}

Test(supervisor_ended, M6_a_fault_that_another_sent_is_not) {
        struct household household = household_new(1, 2);

        cr_assert_eq(kill(some_member(household.manager)->pid, SIGILL), 0);
        expect_said_without(&household, "was killed by SIGILL", "its own fault");
}

/* P1: what a worker wrote is no proof. */
Test(supervisor_ended, M6_a_fault_that_the_kernel_does_not_confirm_is_not) {
        struct household household = household_new(1, 2);
        struct process *victim = some_member(household.manager);

        atomic_store(&segment_worker(household.segment, worker_ref_index(victim->ref))->fault_signal, SIGILL);
        cr_assert_eq(kill(victim->pid, SIGKILL), 0);
        expect_said_without(&household, "was killed by SIGKILL", "its own fault");
}

/* ---- a parent that takes its time ------------------------------------------------------------------------------ */
Test(supervisor_ended, V11_a_worker_that_nobody_reaps_is_replaced_at_once_and_told_later) {
        struct household household = household_new(1, 2);
        uint64_t ref = some_member(household.manager)->ref;

        if (!kernel_tells())
                cr_skip("this kernel does not tell how others' children end (before 6.15)");
        worker_does("reaps-nobody", true);
        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        until(household.manager,
              is_balanced(household.manager, 2, 1) && !watch_find_ref(household.manager, ref));
        cr_assert_eq(log_said("was killed by"), 0, "nobody knows yet");
        cr_assert_eq(log_said("has ended, how is unknown"), 0);
        cr_assert_neq(household.manager->endings[0].manager, NULL);
        worker_does("reaps-nobody", false);
        until(household.manager, log_said("was killed by SIGKILL") == 1);
        cr_assert_eq(household.manager->endings[0].manager, NULL);
        household_end(&household);
}

Test(supervisor_ended, V11_a_worker_that_is_never_reaped_has_ended_nobody_knows_how) {
        struct household household = household_new(1, 2);
        struct ending *ending = &household.manager->endings[0];

        if (!kernel_tells())
                cr_skip("this kernel does not tell how others' children end (before 6.15)");
        worker_does("reaps-nobody", true);
        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        until(household.manager, ending->manager != NULL);
        cr_assert_leq(set_for_usec(household.manager, ending->timer), 5 * USEC_PER_SEC);
        elapse(ending->timer);
        until(household.manager, log_said("has ended, how is unknown (adopted, not our child)") == 1);
        cr_assert_eq(log_said("was killed by"), 0);
        household_end(&household);
}

/* Whoever goes tells what it knows. */
Test(supervisor_ended, V11_a_supervisor_that_stops_leaves_no_end_untold) {
        struct household household = household_new(1, 2);

        worker_does("reaps-nobody", true);
        supervisor_stop(household.manager);
        cr_assert_eq(log_said("has ended, how is unknown (adopted, not our child)"), 1);
        segment_close(household.segment);
        cr_assert_eq(kill(household.parent, SIGKILL), 0);
        cr_assert_eq(waitpid(household.parent, NULL, 0), household.parent);
}

/* ---- a kernel that does not tell ------------------------------------------------------------------------------- */
Test(supervisor_ended, V11_where_the_kernel_does_not_tell_it_is_unknown) {
        struct household household = household_new(1, 2);
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

        cr_assert_not_null(filter);
        cr_assert_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 1,
                                      SCMP_A1(SCMP_CMP_EQ, _IOWR(0xff, 11, char[64]))),
                     0);
        cr_assert_eq(seccomp_load(filter), 0);
        seccomp_release(filter);
        cr_assert_not(kernel_tells());
        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        until(household.manager, log_said("has ended, how is unknown (adopted, not our child)") == 1);
        cr_assert_eq(log_said("exit code"), 0);
        cr_assert_eq(log_said("was killed"), 0);
        until(household.manager, is_balanced(household.manager, 2, 1));
        household_end(&household);
}

/* ---- V6: quick deaths -------------------------------------------------------------------------------------- */
/* An adopted worker has lived since it entered, not since we came. */
Test(supervisor_ended, V6_the_age_of_an_adopted_worker_is_its_own) {
        struct household household = household_orphaned(1, 2);
        struct layout_worker *entry = segment_worker(household.segment, 0);
        struct pool *pool;

        cr_assert_gt(clock_usec(), 100 * USEC_PER_SEC, "the machine is up for less");
        atomic_store(&entry->entered_usec, clock_usec() - 61 * USEC_PER_SEC);
        adopt(&household);
        pool = &household.manager->pools[0];
        pool->restart_delay_usec = USEC_PER_SEC;
        pool->restart_waits = true;
        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        until(household.manager,
              is_balanced(household.manager, 2, 1) && some_member(household.manager)->is_child);
        cr_assert_eq(pool->restart_delay_usec, 0, "a long life resets the delay");
        cr_assert_not(pool->restart_waits);
        household_end(&household);
}

Test(supervisor_ended, V6_a_short_life_of_an_adopted_worker_counts) {
        struct household household = household_new(1, 2);
        struct pool *pool = &household.manager->pools[0];

        cr_assert_not(pool->restart_waits);
        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        until(household.manager,
              is_balanced(household.manager, 2, 1) && some_member(household.manager)->is_child);
        cr_assert(pool->restart_waits, "the next one would wait");
        cr_assert_eq(pool->restart_delay_usec, 0, "the first is replaced at once");
        household_end(&household);
}

/* ---- while nobody watched ---------------------------------------------------------------------------------- */
static unsigned said_unseen(void) {
        return log_said("ended while no supervisor watched");
}

/* The next supervisor, after one that has told all: nothing is said again. */
static void expect_told_once(struct household *household, unsigned workers, unsigned sources) {
        until(household->manager, is_balanced(household->manager, sources, workers));
        manager_free(household->manager);
        household->manager = supervisor_start();
        until(household->manager, is_balanced(household->manager, sources, workers));
        cr_assert_eq(said_unseen(), 1);
        household_end(household);
}

Test(supervisor_ended, V11_a_worker_that_died_unseen_is_told_once_and_its_heir_has_its_sessions) {
        struct household household = household_orphaned(2, 4);
        uint64_t ref = atomic_load(&segment_slot(household.segment, 0)->owner_ref);
        char words[128];

        cr_assert_eq(kill(pid_of(household.segment, ref), SIGKILL), 0);
        wait_owned(household.segment, 4, 1);
        adopt(&household);
        (void) snprintf(
                words, sizeof words,
                "destination events: worker %u (pid %d), generation 1, ended while no supervisor watched",
                worker_ref_index(ref), pid_of(household.segment, ref));
        cr_assert_eq(log_said(words), 1);
        cr_assert_eq(log_said("of its sessions others have 2, 0 wait for a worker"), 1);
        cr_assert_eq(log_said("how: unknown;"), 1);
        cr_assert_not(household.manager->pools[0].restart_waits, "it is nobody's quick death");
        cr_assert_eq(household.manager->pools[0].restart_usec, 0);
        expect_told_once(&household, 2, 4);
}

Test(supervisor_ended, V11_a_worker_that_died_unseen_and_alone_is_replaced) {
        struct household household = household_orphaned(1, 3);

        cr_assert_eq(kill(pid_of(household.segment,
                                 atomic_load(&segment_slot(household.segment, 0)->owner_ref)),
                          SIGKILL),
                     0);
        while (!life_is_proven_dead(household.segment,
                                    atomic_load(&segment_slot(household.segment, 0)->owner_ref)))
                (void) usleep(2000);
        adopt(&household);
        cr_assert_eq(said_unseen(), 1);
        cr_assert_eq(log_said("of its sessions others have 0, 3 wait for a worker"), 1);
        until(household.manager, is_balanced(household.manager, 3, 1));
        cr_assert_not(household.manager->pools[0].restart_waits, "it is nobody's quick death");
        expect_told_once(&household, 1, 3);
}

/* Its parent has not come to it: the kernel knows only then. A supervisor that was upgraded is the parent itself. */
Test(supervisor_ended, U5_how_a_child_ended_is_known_after_an_upgrade) {
        struct manager *manager;
        pid_t pid;

        config_simple("", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        pid = some_member(manager)->pid;
        manager_free(manager);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitid(P_PID, (id_t) pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
        log_listen();
        manager = supervisor_start();
        cr_assert_eq(log_said("ended while no supervisor watched; how: SIGKILL;"), 1);
        cr_assert_eq(waitpid(pid, NULL, WNOHANG), -1, "it is reaped");
        until(manager, is_balanced(manager, 2, 1));
        supervisor_stop(manager);
}

/* The end that a supervisor was there for is its own to tell. */
Test(supervisor_ended, V11_who_was_seen_to_end_is_not_told_again) {
        struct household household = household_new(1, 2);

        cr_assert_eq(kill(some_member(household.manager)->pid, SIGKILL), 0);
        until(household.manager,
              is_balanced(household.manager, 2, 1) && some_member(household.manager)->is_child);
        until(household.manager, log_said(or_unknown("was killed by SIGKILL")) == 1);
        manager_free(household.manager);
        household.manager = supervisor_start();
        until(household.manager, is_balanced(household.manager, 2, 1));
        cr_assert_eq(said_unseen(), 0);
        household_end(&household);
}

Test(supervisor_ended, V11_who_had_been_asked_to_leave_left) {
        struct household household = household_orphaned(2, 4);
        uint64_t ref = atomic_load(&segment_slot(household.segment, 0)->owner_ref);
        struct layout_worker *entry = segment_worker(household.segment, worker_ref_index(ref));

        atomic_store(&entry->drain_ref, ref);
        doorbell_ring(household.segment, ref);
        wait_owned(household.segment, 4, 1);
        adopt(&household);
        cr_assert_eq(log_said("ended while no supervisor watched, as it had been asked to; how: unknown"), 1);
        household_end(&household);
}

/* A word of ours that somebody wrote over says nothing, and harms nobody. */
Test(supervisor_ended, V11_a_note_that_means_nothing_is_left_out) {
        struct household household = household_orphaned(1, 2);

        atomic_store(&segment_worker(household.segment, 3)->watched_ref, UINT64_MAX);
        atomic_store(&segment_worker(household.segment, 4)->watched_ref, worker_ref(5, 1));
        adopt(&household);
        cr_assert_eq(said_unseen(), 0);
        cr_assert_eq(atomic_load(&segment_worker(household.segment, 3)->watched_ref), 0);
        until(household.manager, is_balanced(household.manager, 2, 1));
        household_end(&household);
}
