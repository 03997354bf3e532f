/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that hangs is killed, and no other (S3); a lock that is lost condemns the segment (S11). */
#include "base/sanitize.h"
#include "tests/unit/test_supervisor_support.h"

TestSuite(supervisor_ping, .init = place_make, .fini = place_remove);

Test(supervisor_ping, S3_a_mover_that_answers_lives) {
        struct manager *manager;
        pid_t before;

        config_simple("stall-timeout = 200ms\n", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        before = some_member(manager)->pid;
        until(manager,
              atomic_load(&segment_worker(manager->segment, 0)->ping) >= 12); /* three stall-timeouts */
        cr_assert_eq(some_member(manager)->pid, before);
        cr_assert_eq(some_member(manager)->kill_usec, 0);
        supervisor_stop(manager);
}

Test(supervisor_ping, S3_a_mover_that_does_not_answer_is_killed_and_replaced) {
        struct manager *manager;
        pid_t before;

        config_simple("stall-timeout = 200ms\n", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        before = some_member(manager)->pid;
        worker_does("silent", true);
        until(manager, members(manager) == 0);
        worker_does("silent", false);
        until(manager, is_balanced(manager, 2, 1) && some_member(manager)->pid != before);
        supervisor_stop(manager);
}

/* Of a worker stays its keeper, which has no parent any more: as init of a container batond inherits it. */
Test(supervisor_ping, P2_an_orphan_is_reaped_and_no_worker) {
        struct manager *manager;
        siginfo_t info = { 0 };
        pid_t orphan;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        orphan = fork();
        if (orphan == 0)
                _exit(0);
        cr_assert_eq(waitid(P_PID, (id_t) orphan, &info, WEXITED | WNOWAIT), 0);
        watch_reap_orphans(manager);
        cr_assert_lt(kill(orphan, 0), 0, "it is no zombie any more");
        cr_assert_eq(members(manager), 1);
        supervisor_stop(manager);
}

Test(supervisor_ping, S3_a_stopped_process_is_killed_too) {
        struct manager *manager;
        pid_t before;

        config_simple("stall-timeout = 200ms\n", 2, 4);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 4, 2));
        before = some_member(manager)->pid;
        cr_assert_eq(kill(before, SIGSTOP), 0);
        until(manager, members(manager) == 1);
        until(manager, is_balanced(manager, 4, 2));
        supervisor_stop(manager);
}

/* A process in an uninterruptible wait cannot be had for a test: the news of its end is held back instead,
 * which is all that the supervisor knows of it. */
Test(supervisor_ping, S3_a_victim_that_survives_sigkill_by_a_second_is_reported) {
        struct process *victim;
        struct manager *manager;
        pid_t pid;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        log_listen();
        victim = some_member(manager);
        pid = victim->pid;
        cr_assert_geq(sd_event_source_set_enabled(victim->source, SD_EVENT_OFF), 0);
        watch_kill(victim, MESSAGE_WORKER_HUNG, "is in the way of a test");
        cr_assert_eq(log_said("it is killed"), 1);
        cr_assert_eq(set_for_usec(manager, victim->kill_source), 1 * USEC_PER_SEC);
        turn_for(manager, 50 * USEC_PER_MSEC);
        cr_assert_eq(log_said("survives SIGKILL"), 0, "not before its second is over");
        elapse(victim->kill_source);
        until(manager, log_said("survives SIGKILL") == 1);
        cr_assert_eq(log_said("events: worker 0"), 2, "both lines say whom they are about");
        cr_assert_eq(victim->pid, pid, "its record stays: only its end is a proof");
        cr_assert_not(watch_is_eligible(manager, victim), "it gets nothing more");
        cr_assert_geq(sd_event_source_set_enabled(victim->source, SD_EVENT_ON), 0);
        until(manager, is_balanced(manager, 1, 1) && some_member(manager)->pid != pid);
        cr_assert_eq(log_said("survives SIGKILL"), 1);
        supervisor_stop(manager);
}

Test(supervisor_ping, S3_a_victim_that_dies_is_not_said_to_survive) {
        struct process *victim;
        struct manager *manager;
        sd_event_source *timer;
        pid_t pid;

        config_simple("", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        log_listen();
        victim = some_member(manager);
        pid = victim->pid;
        watch_kill(victim, MESSAGE_WORKER_HUNG, "is in the way of a test");
        timer = sd_event_source_ref(victim->kill_source);
        until(manager, is_balanced(manager, 1, 1) && some_member(manager)->pid != pid);
        cr_assert_eq(sd_event_source_get_enabled(timer, NULL), 0, "its timer went with it");
        sd_event_source_unref(timer);
        cr_assert_eq(log_said("was killed by SIGKILL"), 1);
        cr_assert_eq(log_said("survives"), 0);
        supervisor_stop(manager);
}

Test(supervisor_ping, S3_who_sits_on_the_turn_is_killed) {
        struct manager *manager;
        uint64_t holder;

        config_simple("stall-timeout = 200ms\n", 1, 2);
        worker_does("holds-the-turn", true);
        manager = supervisor_start();
        until(manager,
              members(manager) == 1 && atomic_load(&segment_pool(manager->segment, 0)->turn_holder_ref) != 0);
        holder = atomic_load(&segment_pool(manager->segment, 0)->turn_holder_ref);
        worker_does("holds-the-turn", false);
        until(manager, !life_is_live(manager->segment, holder));
        until(manager, is_balanced(manager, 2, 1));
        supervisor_stop(manager);
}

/* It waits for a disk, with the turn: a sync that takes many stall-timeouts is no hang. */
Test(supervisor_ping, S3_who_waits_for_a_disk_is_not_killed) {
        struct manager *manager;
        struct process *member;
        uint64_t pings;
        pid_t before;
        char state = '?';

        if (SANITIZE_THREAD)
                cr_skip_test("ThreadSanitizer makes a fork() of vfork(): nobody waits in state D then");
        config_simple("stall-timeout = 200ms\n", 1, 1);
        worker_does("holds-the-turn", true);
        manager = supervisor_start();
        until(manager,
              members(manager) == 1 && atomic_load(&segment_pool(manager->segment, 0)->turn_holder_ref) != 0);
        worker_does("waits-for-disk", true);
        member = some_member(manager);
        before = member->pid;
        until(manager, process_state(member->pid, &state) >= 0 && state == 'D');
        pings = atomic_load(&segment_worker(manager->segment, 0)->ping);
        until(manager, atomic_load(&segment_worker(manager->segment, 0)->ping) >=
                               pings + 16); /* four stall-timeouts */
        cr_assert(member->pid == before && member->kill_usec == 0);
        cr_assert_neq(member->disk_told_usec, 0);
        /* … but not for ever: some of these waits can be ended. */
        member->answered_usec -= 61 * USEC_PER_SEC;
        ping_tick(manager, clock_usec());
        cr_assert_neq(member->kill_usec, 0);
        worker_does("waits-for-disk", false);
        worker_does("holds-the-turn", false);
        until(manager, is_balanced(manager, 1, 1));
        supervisor_stop(manager);
}

Test(supervisor_ping, S3_a_supervisor_that_was_stopped_itself_kills_nobody) {
        const struct layout_worker *entry;
        struct manager *manager;
        struct process *member;
        int status;

        config_simple("stall-timeout = 1s\n", 1, 1);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 1, 1));
        member = some_member(manager);
        /* Its last beat and the last answer are an hour ago, and a ping is open: all stood still. */
        cr_assert_eq(kill(member->pid, SIGSTOP), 0);
        cr_assert_eq(waitpid(member->pid, &status, WUNTRACED), member->pid);
        cr_assert(WIFSTOPPED(status));
        ping_tick(manager, clock_usec());
        entry = segment_worker(manager->segment, worker_ref_index(member->ref));
        cr_assert_neq(atomic_load(&entry->pong), atomic_load(&entry->ping));
        manager->ping_usec -= 3600 * USEC_PER_SEC;
        member->answered_usec -= 3600 * USEC_PER_SEC;
        ping_tick(manager, clock_usec());
        cr_assert_eq(member->kill_usec, 0);
        cr_assert_eq(kill(member->pid, SIGCONT), 0);
        supervisor_stop(manager);
}

Test(supervisor_ping, a_process_that_never_joins_is_killed_after_a_minute) {
        struct manager *manager;
        struct process *process = NULL;

        config_simple("", 1, 1);
        worker_does("does-not-join", true);
        manager = supervisor_start();
        until(manager, watch_count(manager, 0, true) == 1);
        for (size_t i = 0; i < PROCESS_COUNT_MAX; i++)
                if (manager->processes[i].pid > 0)
                        process = &manager->processes[i];
        cr_assert_not_null(process);
        ping_tick(manager, clock_usec());
        cr_assert_eq(process->kill_usec, 0);
        process->started_usec -= 61 * USEC_PER_SEC;
        ping_tick(manager, clock_usec());
        cr_assert_neq(process->kill_usec, 0);
        worker_does("does-not-join", false);
        until(manager, is_balanced(manager, 1, 1));
        supervisor_stop(manager);
}

Test(supervisor_ping, S11_a_lock_held_by_nobody_alive_condemns_the_segment) {
        struct manager *manager;
        pid_t gone;

        config_simple("stall-timeout = 200ms\n", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        gone = fork();
        cr_assert_geq(gone, 0);
        if (gone == 0)
                _exit(0);
        cr_assert_eq(waitpid(gone, NULL, 0), gone);
        /* As if its robust list had been lost with it: the word names a thread that is no more. */
        atomic_store(lock_word(&segment_pool(manager->segment, 0)->turn), (uint32_t) gone);
        until(manager, manager->state == MANAGER_WAITING);
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32);
        supervisor_stop(manager);
}

/* The word of a lock names a process that lives and is no worker, as an overwritten one may: nobody will ever let
 * go of it, and every worker would wait, be killed for not answering, and be replaced by one that waits. */
Test(supervisor_ping, S11_a_lock_that_no_worker_holds_condemns_the_segment) {
        struct manager *manager;

        config_simple("stall-timeout = 200ms\n", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        atomic_store(lock_word(&segment_pool(manager->segment, 0)->turn), (uint32_t) getppid());
        until(manager, manager->state == MANAGER_WAITING);
        until(manager, is_balanced(manager, 2, 1));
        cr_assert_eq(manager->segment->header->epoch_base, 2ULL << 32);
        supervisor_stop(manager);
}

/* What stands beside a lock is a worker's word: it may name another. */
Test(supervisor_ping, P1_who_is_only_said_to_sit_on_the_turn_is_not_killed) {
        struct layout_pool *pool;
        struct manager *manager;
        uint64_t ref;

        config_simple("stall-timeout = 200ms\n", 1, 2);
        manager = supervisor_start();
        until(manager, is_balanced(manager, 2, 1));
        pool = segment_pool(manager->segment, 0);
        ref = atomic_load(&segment_slot(manager->segment, 0)->owner_ref);
        atomic_store(&pool->turn_since_usec, 1);
        atomic_store(&pool->turn_holder_ref, ref);
        ping_tick(manager, clock_usec());
        cr_assert_eq(watch_find_ref(manager, ref)->kill_usec, 0, "nobody holds it");
        atomic_store(lock_word(&pool->turn), (uint32_t) getpid());
        ping_tick(manager, clock_usec());
        cr_assert_eq(watch_find_ref(manager, ref)->kill_usec, 0, "another holds it");
        atomic_store(lock_word(&pool->turn), 0);
        supervisor_stop(manager);
}
