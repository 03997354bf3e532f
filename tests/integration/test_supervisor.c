/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor dies, is doubled, is told to stop or to reload: no event is lost and none waits for it
 * (P1, S3, S11, M10). Each test that moves events ends with the checker. */
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "prove/world/outbox.h"
#include "shm/doorbell.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(supervisor, .init = begin, .fini = end, .timeout = 120);

static void wait_workers(uint32_t workers) {
        wait_settled(&world, "d", workers, NULL);
}

/* Sessions as the look numbers them: each has a worker of its own. */
enum { A, B };

static struct pool_look start_two(const char *baton_lines) {
        struct pool_look look;

        char text[2048];

        world_outbox(&world, "a");
        world_outbox(&world, "b");
        (void) snprintf(
                text, sizeof(text),
                "[baton]\nadopt-timeout = 5s\n%s\n[destination d]\nurl = sqlite:%%D/d.db\nworkers = 2\n"
                "[source a]\nurl = sqlite:%%D/a.db\nto = d\n[source b]\nurl = sqlite:%%D/b.db\nto = d\n",
                baton_lines);
        world_config(&world, text);
        world_start(&world);
        wait_settled(&world, "d", 2, &look);
        return look;
}

static pid_t write_paced(const char *source, uint64_t events, unsigned per_second) {
        struct writer_options options = { .source = source, .events = events, .per_second = per_second };

        return writer_start(&world, &options);
}

static void finish(void) {
        wait_all_moved(&world);
        check_final(&world);
}

Test(supervisor, killed_alone_the_workers_go_on_and_the_next_one_adopts_them) {
        struct pool_look before = start_two("");

        world_kill_batond(&world);
        /* All of it is written and moved without one. */
        pid_t a = write_paced("a", 4000, 8000), b = write_paced("b", 4000, 8000);

        WAIT_UNTIL(&world, session_position(&world, "a") > 1000 && session_position(&world, "b") > 1000);
        cr_expect_eq(session_epoch(&world, "a"), before.epochs[A], "nothing changes without a supervisor");
        world_start(&world);
        WAIT_UNTIL(&world, world.segment->header->supervisor_pid == (uint32_t) world.batond);
        /* It commands what it adopted. */
        cr_expect_eq(baton(&world, "scale", "d", "3"), 0, "%s", world.output);
        struct pool_look after;

        wait_settled(&world, "d", 3, &after);
        cr_expect(after.owners[A] == before.owners[A] && after.owners[B] == before.owners[B],
                  "the same workers");
        cr_expect_eq(after.epochs[A], before.epochs[A], "and nothing was taken over");
        writer_wait(&world, a);
        writer_wait(&world, b);
        finish();
}

Test(supervisor, killed_and_then_a_worker_too_the_survivor_takes_over) {
        struct pool_look before = start_two("");
        pid_t a = write_paced("a", 3000, 4000);

        WAIT_UNTIL(&world, session_position(&world, "a") > 100);
        world_kill_batond(&world);
        kill_and_wait(before.owners[A], SIGKILL);
        WAIT_UNTIL(&world, session_owner(&world, "a") == before.owners[B]);
        world_start(&world);
        wait_workers(2);
        cr_expect(process_is_alive(before.owners[B]));
        writer_wait(&world, a);
        finish();
}

/* It dies while it writes a session's configuration anew: the old one stands. The harness maps read-only, so
 * the half-written word is made through a mapping of its own. */
Test(supervisor, killed_while_it_writes_a_configuration) {
        struct segment *segment = NULL;
        uint32_t slot;
        uint64_t owner_ref;

        world_outbox(&world, "a");
        world_config(&world, "[destination d]\nurl = sqlite:%D/d.db\nworkers = 1\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d\n");
        world_start(&world);
        wait_workers(1);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        slot = session_slot(&world, "a");
        world_kill_batond(&world);
        cr_assert_eq(segment_open(world.runtime, true, &segment, NULL), 0);
        owner_ref = atomic_load(&segment_slot(segment, slot)->owner_ref);
        (void) atomic_fetch_or(&segment_config(segment, slot)->sequence, 1);
        inbox_put(segment, owner_ref, slot);
        doorbell_ring(segment, owner_ref);
        outbox_fill(&world, "a", 200);
        WAIT_UNTIL(&world,
                   __atomic_load_n(&segment_status(segment, slot)->position, __ATOMIC_ACQUIRE) >= 200);
        segment_close(segment);
        world_start(&world); /* writes it whole */
        outbox_fill(&world, "a", 300);
        finish();
}

Test(supervisor, killed_together_with_a_worker) {
        struct pool_look before = start_two(""), after;

        outbox_fill(&world, "a", 3000);
        outbox_fill(&world, "b", 3000);
        kill_together((pid_t[]){ world.batond, before.owners[B] }, 2, SIGKILL);
        world.batond = 0;
        world_start(&world);
        wait_settled(&world, "d", 2, &after);
        cr_expect_gt(after.epochs[B], before.epochs[B], "it was taken over");
        finish();
}

/* Wall time is for records (base/clock.h): a jump is seen in them and moves nothing else. */
Test(supervisor, whose_wall_clock_jumps_goes_on) {
        static const int hours[] = { 30, -30 };

        world_jumps(&world);
        (void) start_two("");
        for (size_t i = 0; i < ELEMENTSOF(hours); i++) {
                const char *ahead = hours[i] > 0 ? ">" : "<";
                char sql[256];

                world_clock_set(&world, hours[i] * 3600);
                outbox_fill(&world, "a", 200);
                wait_all_moved(&world);
                (void) snprintf(sql, sizeof(sql),
                                "SELECT count(*) FROM baton_checkpoint WHERE session = 'a' AND"
                                " julianday(updated_at) - julianday('now') %s %d",
                                ahead, hours[i] / 24);
                cr_expect_eq(database_number(&world, world_path(&world, "d.db"), sql), 1, "jump %d",
                             hours[i]);
        }
        cr_expect(all_owned_by_live(&world) && takeover_count(&world, "d") == 0, "nobody was taken for dead");
        finish();
}

static void kill_everything(void) {
        pid_t pids[16];
        size_t count;

        world_kill_batond(&world);
        while ((count = world_processes(&world, pids, ELEMENTSOF(pids))) > 0)
                for (size_t i = 0; i < count; i++)
                        kill_and_wait(pids[i], SIGKILL);
        world_reap();
}

Test(supervisor, starts_again_after_all_died) {
        uint64_t epoch = start_two("").epochs[A];

        outbox_fill(&world, "a", 3000);
        kill_everything();
        check_live(&world);
        outbox_fill(&world, "b", 500);
        world_start(&world);
        wait_workers(2);
        cr_expect_gt(session_epoch(&world, "a"), epoch);
        finish();
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
        (void) status, (void) kind;
        return walk->level > 0 ? remove(path) : 0;
}

Test(supervisor, starts_again_after_a_reboot_which_empties_the_runtime_directory) {
        uint64_t epoch = start_two("").epochs[A];

        outbox_fill(&world, "a", 3000);
        wait_all_moved(&world);

        kill_everything();
        cr_assert_eq(nftw(world.runtime, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
        outbox_fill(&world, "a", 500);
        world_start(&world);
        wait_workers(2);
        cr_expect_gt(session_epoch(&world, "a") >> 32, epoch >> 32,
                     "epochs of a new segment are above all before");
        finish();
}

Test(supervisor, starts_again_after_an_orderly_stop_and_a_reboot) {
        (void) start_two("");
        outbox_fill(&world, "a", 500);
        wait_all_moved(&world);
        kill_process(world.batond, SIGTERM);
        cr_assert_eq(wait_exit(world.batond), 0);
        world.batond = 0;
        cr_assert_eq(nftw(world.runtime, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
        outbox_fill(&world, "a", 500);
        world_start(&world);
        wait_workers(2);
        finish();
}

Test(supervisor, a_second_one_is_refused_with_the_pid_of_the_first) {
        char pid_text[16];

        (void) start_two("");
        (void) snprintf(pid_text, sizeof(pid_text), "%d", (int) world.batond);
        cr_expect_neq(world_run(&world, "batond", "-c", world.config, "--state", world.state, "--runtime",
                                world.runtime, NULL),
                      0);
        cr_expect(strstr(world.output, pid_text), "names the first, %s: %s", pid_text, world.output);
        /* Another runtime directory makes no difference: the state is what must not be shared. */
        cr_expect_neq(world_run(&world, "batond", "-c", world.config, "--state", world.state, "--runtime",
                                world_path(&world, "other"), NULL),
                      0);
        cr_expect(strstr(world.output, pid_text), "%s", world.output);
        outbox_fill(&world, "a", 100);
        finish();
}

Test(supervisor, terminated_it_drains_and_exits_0) {
        (void) start_two("");
        pid_t a = write_paced("a", 2000, 5000);

        WAIT_UNTIL(&world, session_position(&world, "a") > 100);
        cr_expect_eq(world_stop(&world), 0);
        check_live(&world);
        writer_wait(&world, a);
        cr_expect_eq(baton(&world, "status"), 3, "not running has its own exit code: %s", world.output);
        world_start(&world);
        wait_workers(2);
        finish();
}

Test(supervisor, workers_without_one_leave_after_adopt_timeout) {
        (void) start_two("");
        world_config(&world,
                     "[baton]\nadopt-timeout = 1s\n[destination d]\nurl = sqlite:%D/d.db\nworkers = 2\n"
                     "[source a]\nurl = sqlite:%D/a.db\nto = d\n[source b]\nurl = sqlite:%D/b.db\nto = d\n");
        cr_assert_eq(baton(&world, "reload"), 0, "%s", world.output);
        WAIT_UNTIL(&world, world.segment->header->adopt_timeout_usec == USEC_PER_SEC);
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        world_kill_batond(&world);
        pid_t pid;
        WAIT_UNTIL(&world, (world_reap(), world_processes(&world, &pid, 1) == 0));
        outbox_fill(&world, "a", 200);
        world_start(&world);
        wait_workers(2);
        finish();
}

Test(supervisor, stopped_status_still_answers) {
        (void) start_two("");
        outbox_fill(&world, "a", 300);
        wait_all_moved(&world);
        kill_process(world.batond, SIGSTOP);
        (void) baton(&world, "status", "--json");
        cr_expect(strstr(world.output, "\"a\"") && strstr(world.output, "300"), "%s", world.output);
        outbox_fill(&world, "b", 300);
        wait_all_moved(&world);
        kill_process(world.batond, SIGCONT);
        finish();
}

/* ---- stalls (S3) ------------------------------------------------------------------------------- */
Test(supervisor, kills_a_worker_that_does_not_answer_and_replaces_it) {
        pid_t victim = start_two("stall-timeout = 1s\n").owners[A];

        outbox_fill(&world, "b", 100);
        wait_all_moved(&world);
        kill_process(victim, SIGSTOP);
        outbox_fill(&world, "a", 500);
        outbox_fill(&world, "b", 500);
        WAIT_UNTIL(&world, !process_is_alive(victim));
        wait_workers(2);
        finish();
}

Test(supervisor, kills_a_worker_stopped_in_its_transaction) {
        pid_t victim;

        (void) start_two("stall-timeout = 1s\n");
        victim = stop_in_transaction(&world);
        WAIT_UNTIL(&world, !process_is_alive(victim));
        wait_workers(2);
        finish();
}

static uint64_t answered_pings(pid_t pid) {
        for (uint32_t i = 0; i < world.segment->worker_count; i++)
                if ((pid_t) segment_worker(world.segment, i)->pid == pid)
                        return segment_worker(world.segment, i)->pong;
        return 0;
}

Test(supervisor, an_idle_worker_is_not_stalled) {
        struct pool_look look = start_two("stall-timeout = 500ms\n");
        pid_t a = look.owners[A], b = look.owners[B];

        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_IDLE) && session_is(&world, "b", SESSION_IDLE));
        uint64_t before_a = answered_pings(a), before_b = answered_pings(b);

        /* The supervisor asks four times in a stall-timeout: this is four of them. */
        WAIT_UNTIL(&world, (answered_pings(a) >= before_a + 16 && answered_pings(b) >= before_b + 16) ||
                                   !process_is_alive(a) || !process_is_alive(b));
        cr_expect(process_is_alive(a) && process_is_alive(b), "idle is not stalled");
        outbox_fill(&world, "a", 100);
        finish();
}

/* ---- reload ------------------------------------------------------------------------------------ */
static void reload(void) {
        uint64_t generation = world.segment->header->config_generation;

        kill_process(world.batond, SIGHUP);
        WAIT_UNTIL(&world, world.segment->header->config_generation > generation);
}

Test(supervisor, reload_adds_and_removes_sources) {
        (void) start_two("");
        outbox_fill(&world, "a", 500);
        outbox_fill(&world, "b", 500);
        wait_all_moved(&world);
        world_outbox(&world, "c");
        outbox_fill(&world, "c", 500);
        world_config_standard(&world, 2, NULL);
        reload();
        wait_workers(2);
        wait_all_moved(&world);
        check_final(&world);

        /* b goes; what it had is kept, what comes after is not moved. */
        world.outbox_count = 1;
        strcpy(world.outboxes[1].name, "c");
        world_config(&world,
                     "[baton]\nadopt-timeout = 5s\n[destination d]\nurl = sqlite:%D/d.db\nworkers = 2\n"
                     "[source a]\nurl = sqlite:%D/a.db\nto = d\n[source c]\nurl = sqlite:%D/c.db\nto = d\n");
        reload();
        WAIT_UNTIL(&world, session_slot(&world, "b") == LAYOUT_NONE);
        outbox_fill(&world, "a", 500);
        wait_all_moved(&world);
        database_run(&world, world_path(&world, "b.db"),
                     "INSERT INTO outbox(key, type, at, payload) VALUES ('k', 't', 'x', '1')");

        /* And it comes back where it stood. */
        world.outbox_count = 3;
        strcpy(world.outboxes[1].name, "b");
        world_config_standard(&world, 2, NULL);
        reload();
        wait_all_moved(&world);
        finish();
}

Test(supervisor, reload_of_a_bad_file_changes_nothing_and_says_why) {
        pid_t owner = start_two("").owners[A];
        uint64_t generation = world.segment->header->config_generation;

        world_config(&world, "[baton]\n[destination d]\nurl = sqlite:%D/d.db\nwokers = 2\n"
                             "[source a]\nurl = sqlite:%D/a.db\nto = d\n");
        cr_expect_neq(baton(&world, "reload"), 0);
        cr_expect(strstr(world.output, "wokers") && strstr(world.output, "workers"), "%s", world.output);
        cr_expect(strstr(world.output, ":4:"), "it names the line: %s", world.output);
        cr_expect_eq(world.segment->header->config_generation, generation);
        outbox_fill(&world, "a", 300);
        outbox_fill(&world, "b", 300);
        wait_all_moved(&world);
        cr_expect_eq(session_owner(&world, "a"), owner);
        finish();
}

/* Whoever traces a worker is told of its death first; the supervisor asks in vain until then. It must ask
 * again, or nobody ever replaces that worker. */
Test(supervisor, S7_a_worker_that_dies_under_a_debugger_is_replaced) {
        pid_t victim = start_two("").owners[A];
        uint64_t killed_usec;
        int status;

        cr_assert_eq(ptrace(PTRACE_SEIZE, victim, NULL, NULL), 0);
        killed_usec = clock_usec();
        kill_process(victim, SIGKILL);
        WAIT_UNTIL(&world, !process_is_alive(victim));
        WAIT_UNTIL(&world, world.segment->header->supervisor_beat_usec > killed_usec);
        cr_assert_eq(waitpid(victim, &status, __WALL), victim);
        wait_workers(2);
        outbox_fill(&world, "a", 100);
        finish();
}
