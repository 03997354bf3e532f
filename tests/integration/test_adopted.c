/* SPDX-License-Identifier: Apache-2.0 */
/* A supervisor that comes after one that died: what it says of workers that ended, what it makes of a configuration that
 * is bad by now, what it keeps when it becomes another binary; and one that hangs (P1, U5, U6). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(adopted, .init = begin, .fini = end, .timeout = 120);

enum { A, B };

static void config_two(const char *baton_lines) {
        char text[2048];

        (void) snprintf(
                text, sizeof(text),
                "[baton]\n%s\n[destination d]\nurl = sqlite:%%D/d.db\nworkers = 2\n"
                "[source a]\nurl = sqlite:%%D/a.db\nto = d\n[source b]\nurl = sqlite:%%D/b.db\nto = d\n",
                baton_lines);
        world_config(&world, text);
}

static struct pool_look start_two(const char *baton_lines) {
        struct pool_look look;

        world_outbox(&world, "a");
        world_outbox(&world, "b");
        config_two(baton_lines);
        world_start(&world);
        wait_settled(&world, "d", 2, &look);
        return look;
}

static void finish(void) {
        wait_all_moved(&world);
        check_final(&world);
}

/* Lines that hold the words, of the batond that was started last. */
static unsigned said(const char *words) {
        _cleanup_free_ char *text = NULL;
        char name[64];
        unsigned count = 0;

        (void) snprintf(name, sizeof(name), "batond-%u.log", world.batond_starts - 1);
        cr_assert_eq(file_read_text(AT_FDCWD, world_path(&world, name), 1 << 20, &text), 0);
        for (const char *p = text; (p = strstr(p, words)); p += strlen(words))
                count++;
        return count;
}

static bool kernel_tells(void) {
        struct process_end process_end;
        int pid_fd = pidfd_open(getpid(), 0), r;

        r = process_how_ended(pid_fd, &process_end);
        (void) close(pid_fd);
        return r == -EAGAIN;
}

/* ---- workers that ended ---------------------------------------------------------------------------------- */
Test(adopted, V11_a_worker_that_died_unseen_is_told_once_and_replaced) {
        struct pool_look before = start_two("adopt-timeout = 20s");
        char words[64];

        outbox_fill(&world, "a", 500);
        world_kill_batond(&world);
        kill_and_wait(before.owners[A], SIGKILL);
        WAIT_UNTIL(&world, session_owner(&world, "a") == before.owners[B]);
        world_start(&world);
        wait_settled(&world, "d", 2, NULL);
        (void) snprintf(words, sizeof(words), "(pid %d), generation 1, ended while no supervisor",
                        before.owners[A]);
        cr_expect_eq(said(words), 1);
        cr_expect_eq(said("of its sessions others have 1, 0 wait for a worker"), 1);

        /* It was told; and the one that is seen to die now is told how. */
        world_kill_batond(&world);
        world_start(&world);
        wait_settled(&world, "d", 2, NULL);
        cr_expect_eq(said("ended while no supervisor"), 0);
        kill_and_wait(before.owners[B], SIGKILL);
        wait_settled(&world, "d", 2, NULL);
        WAIT_UNTIL(&world, said(kernel_tells() ? "was killed by SIGKILL" : "how is unknown") == 1);
        outbox_fill(&world, "b", 500);
        finish();
}

/* ---- the configuration is bad by now (U6) ------------------------------------------------------------------- */
#define BAD \
        "[baton]\n[destination d]\nurl = sqlite:%D/d.db\nwokers = 2\n[source a]\nurl = sqlite:%D/a.db\nto = d\n"

Test(adopted, U6_a_supervisor_that_dies_behind_a_bad_configuration_is_replaced) {
        struct pool_look before = start_two("adopt-timeout = 1s"), after;
        uint64_t back_usec;

        outbox_fill(&world, "a", 300);
        world_config(&world, BAD);
        world_kill_batond(&world);
        world_start(&world);
        WAIT_UNTIL(&world, said("ready: of 2 sessions 2 have an owner") == 1);
        cr_expect_eq(said("baton.conf:4: [destination d] has no key \"wokers\""), 1);
        /* Longer than they would wait for one: they have one. */
        back_usec = clock_usec();
        WAIT_UNTIL(&world, clock_usec() - back_usec > 3 * USEC_PER_SEC);
        wait_settled(&world, "d", 2, &after);
        cr_expect(after.owners[A] == before.owners[A] && after.owners[B] == before.owners[B],
                  "the same workers");

        cr_expect_eq(baton(&world, "status"), 4, "it needs attention: %s", world.output);
        cr_expect(strstr(world.output, "the last good one goes on: ") &&
                          strstr(world.output, "baton.conf:4:"),
                  "%s", world.output);
        cr_expect_eq(baton(&world, "status", "--json"), 4);
        cr_expect(strstr(world.output, "\"configuration_refused\": \"") != NULL, "%s", world.output);
        cr_expect_neq(baton(&world, "reload"), 0);
        cr_expect(strstr(world.output, "baton.conf:4:") != NULL, "%s", world.output);
        cr_expect_neq(baton(&world, "upgrade"), 0);
        cr_expect(strstr(world.output, "baton.conf:4:") && strstr(world.output, "nothing has changed"), "%s",
                  world.output);
        cr_expect_eq(baton(&world, "scale", "d", "3"), 0, "%s", world.output);
        wait_settled(&world, "d", 3, NULL);
        kill_and_wait(after.owners[B], SIGKILL);
        wait_settled(&world, "d", 3, NULL);
        outbox_fill(&world, "b", 300);
        wait_all_moved(&world);

        config_two("adopt-timeout = 20s");
        cr_expect_eq(baton(&world, "reload"), 0, "%s", world.output);
        cr_expect_eq(baton(&world, "status"), 0, "%s", world.output);
        cr_expect_eq(baton(&world, "status", "--json"), 0);
        cr_expect(strstr(world.output, "\"configuration_refused\": null") != NULL, "%s", world.output);
        cr_expect_eq(baton(&world, "upgrade"), 0, "%s", world.output);
        finish();
}

Test(adopted, U6_a_stopped_one_does_not_start_with_a_bad_configuration) {
        (void) start_two("");
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        world_config(&world, BAD);
        cr_expect_eq(wait_exit(world_start_unwaited(&world, world.config)), 1);
        cr_expect_eq(said("baton.conf:4: [destination d] has no key \"wokers\""), 1);
        cr_expect_eq(said("goes on"), 0);
        config_two("");
        world_start(&world);
        wait_settled(&world, "d", 2, NULL);
        finish();
}

/* ---- one that hangs -------------------------------------------------------------------------------------- */
/* It lives, so nobody leaves, however long it takes; systemd's watchdog is who ends it (U4). */
Test(adopted, P1_workers_of_a_supervisor_that_hangs_stay) {
        struct pool_look before = start_two("adopt-timeout = 1s");
        uint64_t since_usec;
        pid_t workers[4];

        kill_process(world.batond, SIGSTOP);
        since_usec = clock_usec();
        outbox_fill(&world, "a", 200);
        wait_all_moved(&world);
        WAIT_UNTIL(&world, clock_usec() - since_usec > 4 * USEC_PER_SEC);
        cr_expect_eq(live_workers(&world, "d", workers, 4), 2);
        cr_expect(process_is_alive(before.owners[A]) && process_is_alive(before.owners[B]));
        outbox_fill(&world, "b", 200);
        wait_all_moved(&world);
        /* As the watchdog does. */
        world_kill_batond(&world);
        world_start(&world);
        struct pool_look after;

        wait_settled(&world, "d", 2, &after);
        cr_expect(after.owners[A] == before.owners[A] && after.owners[B] == before.owners[B],
                  "the same workers");
        finish();
}

/* ---- U5: what it was started with ------------------------------------------------------------------------- */
static void expect_command_line(const char *const *words) {
        _cleanup_fd_ int fd = -1;
        char path[64], text[4096];
        const char *p = text;
        size_t bytes = 0;

        (void) snprintf(path, sizeof(path), "/proc/%d/cmdline", world.batond);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        cr_assert_eq(fd_pread_all(fd, text, sizeof(text) - 1, 0, &bytes), 0);
        text[bytes] = '\0';
        for (p += strlen(p) + 1; *words; words++, p += strlen(p) + 1)
                cr_expect_str_eq(p, *words);
        cr_expect_eq(p, text + bytes, "and nothing else: %s", p);
}

static void upgrade_keeps(bool verbose) {
        const char *wanted[] = { "--config",
                                 world.config,
                                 "--state",
                                 world.state,
                                 "--runtime",
                                 world.runtime,
                                 verbose ? "--verbose" : NULL,
                                 NULL };
        char *argv[] = { "batond",    "-c",          world.config,          "--state", world.state,
                         "--runtime", world.runtime, verbose ? "-v" : NULL, NULL };
        _cleanup_fd_ int fd = open(world_path(&world, "batond-0.log"),
                                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        unsigned before;

        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world.batond = world_spawn(&world, fd, argv);
        world.batond_starts = 1;
        WAIT_UNTIL(&world, world_segment(&world) && all_owned_by_live(&world) &&
                                   (pid_t) world.segment->header->supervisor_pid == world.batond);
        before = said("session a is ");
        cr_assert_eq(baton(&world, "upgrade"), 0, "%s", world.output);
        expect_command_line(wanted);
        outbox_fill(&world, "a", 100);
        finish();
        WAIT_UNTIL(&world, !verbose || said("session a is ") > before); /* and does what it was told */
        cr_expect(verbose || said("session a is ") == 0);
}

/* Every option that changes how batond serves stands here: config, state, runtime, verbose (batond --help). */
Test(adopted, U5_the_options_outlive_an_upgrade) {
        upgrade_keeps(true);
}

Test(adopted, U5_what_it_was_not_told_it_is_not_told_by_an_upgrade) {
        upgrade_keeps(false);
}
