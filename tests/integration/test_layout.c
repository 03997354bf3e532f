/* SPDX-License-Identifier: Apache-2.0 */
/* L1, L4, L5: programs of two layouts and one segment, with real processes that really differ: those of this build, and
 * those of the next layout (build/next/, LAYOUT_NEXT), whose elements are longer and have one more word. Both are
 * installed in turn in one directory, as a package would, and each test ends with the checker. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/world/outbox.h"
#include "shm/lock.h"
#include "tests/integration/test.h"

#define NEXT_NUMBER (LAYOUT_NUMBER + 1)

static struct world world;
static char built[WORLD_PATH_BYTES]; /* build/bin; build/next is beside it */

/* As a package does it: each program is replaced, while the one before may run. */
static void install_programs(const char *directory, const char *programs) {
        char command[WORLD_PATH_BYTES * 2];

        (void) snprintf(command, sizeof(command),
                        "for f in %s; do cp '%.400s%s'/$f bin/$f.new && mv bin/$f.new bin/$f || exit 1; done",
                        programs, built, directory);
        world_shell(&world, command);
}

static void install_this(void) {
        install_programs("", "batond baton-worker baton baton-checker");
}

static void install_next(void) {
        install_programs("/../next/bin", "batond baton-worker baton");
}

static void begin(void) {
        test_begin(&world);
        (void) snprintf(built, sizeof(built), "%s", world.bin);
        (void) snprintf(world.bin, sizeof(world.bin), "%.480s/bin", world.directory);
        cr_assert_eq(mkdir(world.bin, 0700), 0);
        install_this();
        world_outbox(&world, "a");
        world_outbox(&world, "b");
        world_outbox(&world, "c");
        world_config_standard(&world, 3, NULL);
        world_shell(&world, "sed -i 's/adopt-timeout = 5s/adopt-timeout = 1s/' baton.conf");
}

static void end(void) {
        test_end(&world);
}

TestSuite(layout, .init = begin, .fini = end, .timeout = 120);

/* ---- what is seen --------------------------------------------------------------------------------------------- */
static bool runs_installed(pid_t pid, const char *program) {
        char path[WORLD_PATH_BYTES * 2];
        struct stat runs, stands;

        (void) snprintf(path, sizeof(path), "/proc/%d/exe", (int) pid);
        if (stat(path, &runs) < 0)
                return false;
        (void) snprintf(path, sizeof(path), "%s/%s", world.bin, program);
        cr_assert_eq(stat(path, &stands), 0);
        return runs.st_dev == stands.st_dev && runs.st_ino == stands.st_ino;
}

/* Live workers that run what is installed now; the others run what was. */
static uint32_t installed_workers(pid_t *ret_one) {
        pid_t pids[WORLD_WORKER_MAX];
        uint32_t live = live_workers(&world, "d", pids, ELEMENTSOF(pids)), count = 0;

        for (uint32_t i = 0; i < live; i++)
                if (runs_installed(pids[i], "baton-worker")) {
                        *ret_one = pids[i];
                        count++;
                }
        return count;
}

/* As it stands in the file, of whatever layout; inode 0: there is none. */
static struct layout_header header_now(uint64_t *ret_inode) {
        struct layout_header header = {};
        struct stat status = {};
        char path[WORLD_PATH_BYTES * 2];

        (void) snprintf(path, sizeof(path), "%s/" SEGMENT_FILE_NAME, world.runtime);
        if (segment_peek(world.runtime, &header) < 0 || stat(path, &status) < 0)
                status.st_ino = 0;
        if (ret_inode)
                *ret_inode = status.st_ino;
        return header;
}

static bool serves(pid_t supervisor, uint32_t layout_number) {
        struct layout_header header = header_now(NULL);

        return header.layout_number == layout_number && (pid_t) header.supervisor_pid == supervisor;
}

/* The segment of a later layout can be read here no further than its header: the judge is asked. */
static void wait_all_judged(void) {
        char destination[WORLD_PATH_BYTES * 2];

        (void) snprintf(destination, sizeof(destination), "sqlite:%s/d.db", world.directory);
        WAIT_UNTIL(&world, check_says(&world, destination, "--final"));
}

/* Writers of all outboxes, until they are told to end. */
static volatile bool *writers_stop;
static pid_t writers[3];

static void writers_begin(void) {
        void *shared = mmap(NULL, sizeof(bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        cr_assert_neq(shared, MAP_FAILED);
        writers_stop = shared;
        for (size_t i = 0; i < ELEMENTSOF(writers); i++) {
                struct writer_options options = { .source = world.outboxes[i].name,
                                                  .events = 1000000,
                                                  .per_second = 2000,
                                                  .rolls_back = true,
                                                  .leaves_gaps = true,
                                                  .stops = writers_stop };

                writers[i] = writer_start(&world, &options);
        }
}

static void writers_end(void) {
        *writers_stop = true;
        for (size_t i = 0; i < ELEMENTSOF(writers); i++)
                writer_wait(&world, writers[i]);
}

/* A worker that runs what was installed before, and is in a transaction; 0: none is. */
static pid_t other_in_transaction(void) {
        pid_t pids[WORLD_WORKER_MAX];
        uint32_t live = live_workers(&world, "d", pids, ELEMENTSOF(pids));

        for (uint32_t i = 0; i < live; i++)
                if (!runs_installed(pids[i], "baton-worker") && worker_in_transaction(&world, pids[i]))
                        return pids[i];
        return 0;
}

/* Such a one, stopped in the midst of it. */
static pid_t stop_other_in_transaction(void) {
        uint64_t since = wait_begin();
        pid_t pid;

        for (;;) {
                WAIT_UNTIL(&world, (pid = other_in_transaction()) != 0);
                stop_process(&world, pid);
                if (worker_in_transaction(&world, pid))
                        return pid;
                kill_process(pid, SIGCONT);
                wait_step(&world, since, "a worker of before stopped in a transaction", __FILE__, __LINE__);
        }
}

static void kill_stopped(pid_t pid) {
        kill_process(pid, SIGKILL);
        kill_and_wait(pid, SIGCONT); /* which only wakes who waits for it */
        WAIT_UNTIL(&world, all_owned_by_live(&world));
}

/* L4: nobody wrote where another element begins. Baton lives with much of that, so it is looked for: the supervisor
 * puts its words back and says so (V13), and a life mutex that was struck names no mover. */
static void expect_nothing_overwritten(void) {
        world_shell(&world, "! grep -h 'written over' batond-*.log");
        for (uint32_t i = 0; i < world.segment->worker_count; i++) {
                const struct layout_worker *worker = segment_worker(world.segment, i);
                uint32_t holder = lock_holder(&worker->life_mutex);

                cr_expect(holder == 0 || holder == atomic_load(&worker->pid),
                          "worker %u: %u holds its life, not %u", i, holder, atomic_load(&worker->pid));
        }
}

/* ---- L1 --------------------------------------------------------------------------------------------------------- */
/* The supervisor of this layout, workers of both: each has a session, each moves, each is killed. */
static void mixed_under_this(void) {
        struct pool_look look;
        pid_t next = 0;

        kill_stopped(stop_other_in_transaction());
        wait_settled(&world, "d", 3, &look);
        cr_assert_eq(installed_workers(&next), 1, "in the place of the dead one");
        for (size_t i = 0; i < 3; i++) {
                uint64_t position = session_position(&world, world.outboxes[i].name);

                cr_expect_neq(look.owners[i], look.owners[(i + 1) % 3], "one each, whatever its layout");
                WAIT_UNTIL(&world, session_position(&world, world.outboxes[i].name) > position);
        }
        cr_expect_eq(baton(&world, "status", "--json"), 0, "%s", world.output);
        cr_expect(strstr(world.output, "\"layout\": 2"), "%s", world.output);
        kill_and_wait(next, SIGKILL);
        WAIT_UNTIL(&world, all_owned_by_live(&world));
        wait_settled(&world, "d", 3, NULL);
        check_live(&world);
}

/* An upgrade, held up by a worker of before that is stopped in its transaction; one of each is killed. */
static void upgrade_with_kills(void) {
        char *argv[] = { "baton", "upgrade", NULL };
        pid_t held = stop_other_in_transaction(), upgrade, next = 0;

        upgrade = world_spawn(&world, STDERR_FILENO, argv);
        WAIT_UNTIL(&world, runs_installed(world.batond, "batond"));
        WAIT_UNTIL(&world, installed_workers(&next) > 0);
        kill_and_wait(next, SIGKILL);
        WAIT_UNTIL(&world, installed_workers(&next) > 0);
        cr_expect(process_is_alive(held), "still the two, side by side");
        kill_stopped(held);
        cr_expect_eq(wait_exit(upgrade), 0);
}

Test(layout, L1_an_upgrade_to_the_next_layout_goes_on_in_the_segment) {
        uint64_t inode, inode_before;
        pid_t one;

        world_start(&world);
        wait_settled(&world, "d", 3, NULL);
        (void) header_now(&inode_before);
        writers_begin();
        install_next();
        mixed_under_this();
        upgrade_with_kills();
        wait_settled(&world, "d", 3, NULL);
        cr_expect_eq(installed_workers(&one), 3, "all were replaced");
        cr_expect(serves(world.batond, LAYOUT_NUMBER), "the same process in the layout of before");
        (void) header_now(&inode);
        cr_expect_eq(inode, inode_before, "the same segment");
        check_live(&world);
        writers_end();
        wait_all_moved(&world);
        check_final(&world);
        expect_nothing_overwritten();

        cr_expect_eq(world_stop(&world), 0);
        world.batond = world_start_unwaited(&world, world.config);
        WAIT_UNTIL(&world, serves(world.batond, NEXT_NUMBER));
        outbox_fill(&world, "a", 100);
        wait_all_judged();
        cr_expect_eq(world_stop(&world), 0);
}

/* ---- L4 --------------------------------------------------------------------------------------------------------- */
/* The last word of an element that is one line longer than it was. */
static uint64_t next_word(int fd, uint64_t offset, uint32_t bytes) {
        uint64_t word = 0;

        cr_assert_eq(pread(fd, &word, sizeof(word), (off_t) (offset + bytes - LAYOUT_LINE)),
                     (ssize_t) sizeof(word));
        return word;
}

/* Without this the tests here would prove nothing: the programs of the next layout do use what it adds. */
Test(layout, L4_the_next_layout_uses_its_words_where_they_are) {
        struct layout_header header;
        char path[WORLD_PATH_BYTES * 2];
        _cleanup_fd_ int fd = -1;

        install_next();
        world.batond = world_start_unwaited(&world, world.config);
        WAIT_UNTIL(&world, serves(world.batond, NEXT_NUMBER));
        outbox_fill(&world, "a", 100);
        outbox_fill(&world, "b", 100);
        wait_all_judged();
        header = header_now(NULL);
        cr_assert_eq(header.worker_bytes, sizeof(struct layout_worker) + LAYOUT_LINE);
        (void) snprintf(path, sizeof(path), "%s/" SEGMENT_FILE_NAME, world.runtime);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        cr_expect_gt(next_word(fd, header.pool_offset, header.pool_bytes), 0);
        cr_expect_gt(next_word(fd, header.worker_offset, header.worker_bytes), 0);
        cr_expect_gt(next_word(fd, header.slot_offset, header.slot_bytes), 0);
        cr_expect_gt(next_word(fd, header.status_offset, header.status_bytes), 0);
}

/* ---- L5 --------------------------------------------------------------------------------------------------------- */
static void expect_refused_sentence(uint32_t number) {
        char sentence[160];

        (void) snprintf(sentence, sizeof(sentence),
                        "it is of layout %u, and this program works with %u and %u", number, LAYOUT_NUMBER,
                        LAYOUT_NUMBER - 1);
        cr_expect(strstr(world.output, sentence), "%s", world.output);
}

/* It comes, waits, says so, and has a new segment; nothing is lost. `waits`: the sentence of `baton status`. */
static void expect_fresh_start(uint32_t layout_number, const char *sentence) {
        char command[512];

        world.batond = world_start_unwaited(&world, world.config);
        WAIT_UNTIL(&world, baton(&world, "status") == 4);
        cr_expect(strstr(world.output, "waits: a new segment has to wait until worker pid "), "%s",
                  world.output);
        cr_expect(strstr(world.output, sentence), "%s", world.output);
        outbox_fill(&world, "b", 100); /* meanwhile, for the workers that are there */
        WAIT_UNTIL(&world, serves(world.batond, layout_number));
        outbox_fill(&world, "c", 100);
        wait_all_judged();
        (void) snprintf(command, sizeof(command),
                        "test 1 = \"$(cat batond-%u.log | grep -c 'that is there is not adopted: .*%s')\"",
                        world.batond_starts - 1, sentence);
        world_shell(&world, command);
}

Test(layout, L5_the_layout_after_is_refused_then_drained_and_left) {
        uint64_t inode, inode_before;
        char sentence[64];

        install_next();
        world.batond = world_start_unwaited(&world, world.config);
        WAIT_UNTIL(&world, serves(world.batond, NEXT_NUMBER));
        outbox_fill(&world, "a", 100);
        wait_all_judged();
        (void) header_now(&inode_before);
        install_this();
        cr_expect_eq(baton(&world, "upgrade"), 1, "%s", world.output);
        cr_expect(strstr(world.output, "would not go on from here, so nothing has changed"), "%s",
                  world.output);
        expect_refused_sentence(NEXT_NUMBER);
        cr_expect(strstr(world.output, "stop Baton and start it with this one"), "%s", world.output);
        cr_expect_eq(baton(&world, "status"), 1, "%s", world.output);
        expect_refused_sentence(NEXT_NUMBER);
        (void) header_now(&inode);
        cr_expect(inode == inode_before && serves(world.batond, NEXT_NUMBER), "nothing has changed");
        outbox_fill(&world, "a", 100);
        wait_all_judged();

        world_kill_batond(&world);
        (void) snprintf(sentence, sizeof(sentence), "it is of layout %u, ", NEXT_NUMBER);
        expect_fresh_start(LAYOUT_NUMBER, sentence);
        cr_expect_eq(world_stop(&world), 0);
}

/* Living workers, and a number that is not theirs: who comes knows no more of the segment than that. */
static void renumber(uint32_t number) {
        char path[WORLD_PATH_BYTES * 2];
        _cleanup_fd_ int fd = -1;

        (void) snprintf(path, sizeof(path), "%s/" SEGMENT_FILE_NAME, world.runtime);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert_eq(pwrite(fd, &number, sizeof(number), offsetof(struct layout_header, layout_number)),
                     (ssize_t) sizeof(number));
}

Test(layout, L5_two_layouts_apart_is_too_far_either_way) {
        char sentence[64];

        world_start(&world);
        wait_settled(&world, "d", 3, NULL);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        world_kill_batond(&world);
        renumber(LAYOUT_NUMBER + 2);
        (void) snprintf(sentence, sizeof(sentence), "it is of layout %u, ", LAYOUT_NUMBER + 2);
        expect_fresh_start(LAYOUT_NUMBER, sentence);

        world_kill_batond(&world);
        renumber(NEXT_NUMBER - 2);
        install_next();
        (void) snprintf(sentence, sizeof(sentence), "it is of layout %u, ", NEXT_NUMBER - 2);
        expect_fresh_start(NEXT_NUMBER, sentence);
        cr_expect_eq(world_stop(&world), 0);
}
