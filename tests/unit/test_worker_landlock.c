/* SPDX-License-Identifier: Apache-2.0 */
/* P7: what a worker that confined itself can still do, which is its work, and what not. Each test's process is that
 * worker; what it leaves behind is removed by a child that was there before. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/process.h"
#include "base/ruleset.h"
#include "tests/unit/worker_fixture.h"
#include "worker/source/sqlite_db.h"

/* Ends, and cleans, when the test's process has. */
static pid_t cleaner;

static void start_cleaner(void) {
        char byte;
        int fds[2];

        cr_assert_eq(pipe(fds), 0);
        cleaner = fork();
        if (cleaner != 0) {
                (void) close(fds[0]);
                return;
        }
        (void) setsid();
        for (int fd = 0; fd < 1024; fd++)
                if (fd != fds[0])
                        (void) close(fd);
        (void) !read(fds[0], &byte, 1);
        (void) execl("/bin/rm", "rm", "-rf", fixture_directory, NULL);
        _exit(1);
}

static const char *const folders[] = { "dest", "src", "rollback", "links", "late", "other", "tmp" };

/* A worker of pool 0, whose slots are configured and whose files stand, before it confines itself. */
static void prepare(const char *scheme, const char *destination) {
        const struct segment_geometry geometry = { 4, 8 };

        fixture_scheme = scheme;
        fixture_destination = destination;
        fixture_setup();
        start_cleaner();
        log_init("test");
        log_level(LOG_EMERG);
        cr_assert_eq(mkdir(path_of("state"), 0750), 0);
        cr_assert_eq(mkdir(path_of("run"), 0750), 0);
        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                cr_assert_eq(mkdir(path_of(folders[i]), 0750), 0);
        (void) setenv("SQLITE_TMPDIR", path_of("tmp"), 1);
        cr_assert_eq(symlink("../src/real.db", path_of("links/link.db")), 0);
        must(segment_create(path_of("run"), &geometry, fixture_instance, 1ULL << 32, &segment, failure));
        settings_write();
        urcu_memb_register_thread();
}

static void configure(uint32_t slot_index, uint32_t pool_index, const char *name, const char *file,
                      const char *query) {
        struct layout_config config = config_of(name, file, query);

        config.sibling_slot = slot_index;
        cr_assert_eq(slot_configure(segment, slot_index, pool_index, &config), 0);
}

/* Slot 0 is session orders, in whose outbox five events wait. */
static sqlite3 *prepare_orders(void) {
        sqlite3 *app;

        prepare("sqlite", "dest/d.db");
        app = app_outbox("src/o.db");
        app_fill(app, 5);
        configure(0, 0, "orders", "src/o.db", "");
        return app;
}

/* As main.c has it. */
static void begin_confined(void) {
        struct directories directories;
        struct failure failure = { 0 };

        (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
        must(worker_open(&worker, &directories, 0, failure));
        cr_assert_eq(confine_files(&worker, &failure), 0, "%s", failure.text);
        must(life_enter(worker.segment, 0, &worker.ref, failure));
        fault_note_clear(&worker);
        confine_files_tell(&worker);
}

static bool is_confined(void) {
        if (worker.files.confinement == CONFINEMENT_FILES)
                return true;
        cr_skip_test("this kernel has no Landlock, or somebody forbids it");
        return false;
}

static void end(void) {
        worker_leave();
        urcu_memb_unregister_thread();
        segment_close(TAKE(segment));
}

static int errno_of_open(const char *path, int flags) {
        int fd = open(path, flags | O_CLOEXEC, 0600), r = fd < 0 ? errno : 0;

        if (fd >= 0)
                (void) close(fd);
        return r;
}

/* ---- nobody else's -------------------------------------------------------------------------------------- */
Test(landlock, P7_what_is_not_its_own_is_refused) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(9) };
        char *const nothing[] = { NULL };
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U);
        int tcp;

        prepare("sqlite", "dest/d.db");
        cr_assert_eq(sqlite3_close(app_outbox("src/o.db")), SQLITE_OK);
        cr_assert_eq(sqlite3_close(app_outbox("other/o.db")), SQLITE_OK);
        configure(0, 0, "own", "src/o.db", "");
        configure(1, 1, "anothers", "other/o.db", "");
        tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        begin_confined();
        if (!is_confined())
                return;
        cr_expect_eq(atomic_load(&worker_record(&worker)->confinement), CONFINEMENT_FILES, "it says so");

        cr_expect_eq(errno_of_open(path_of("src/o.db"), O_RDWR), 0, "its own source");
        cr_expect_eq(errno_of_open(path_of("dest"), O_RDONLY | O_DIRECTORY), 0, "its own destination");
        cr_expect_eq(errno_of_open(path_of("other/o.db"), O_RDONLY), EACCES, "the source of another pool");
        cr_expect_eq(errno_of_open(path_of("other"), O_RDONLY | O_DIRECTORY), EACCES);
        cr_expect_eq(errno_of_open(path_of("other/new"), O_WRONLY | O_CREAT), EACCES);
        cr_expect_eq(errno_of_open(path_of("run/segment"), O_RDWR), EACCES, "it has it mapped");
        cr_expect_eq(errno_of_open(path_of("new"), O_WRONLY | O_CREAT), EACCES);
        cr_expect_eq(errno_of_open("/etc/passwd", O_RDONLY), EACCES);
        cr_expect(unlink(path_of("other/o.db")) < 0 && errno == EACCES);
        cr_expect(mkdir(path_of("src/folder"), 0700) < 0 && errno == EACCES, "files alone are made");
        cr_expect(mkdir(path_of("state/folder"), 0700) == 0, "the journal has folders");
        cr_expect(rename(path_of("src/o.db"), path_of("dest/o.db")) < 0, "nothing is moved between two");
        cr_expect(execv("/bin/true", nothing) < 0 && errno == EACCES);
        cr_expect(connect(tcp, (const struct sockaddr *) &address, sizeof address) < 0);
        cr_expect_eq(errno, abi >= 4 ? EACCES : ECONNREFUSED);
        cr_expect_eq(kill(cleaner, 0), abi >= 6 ? -1 : 0, "it signals nobody");
        (void) close(tcp);
        end();
}

/* The cleaner is one. */
Test(landlock, P7_other_processes_are_known_all_the_same) {
        uint64_t ticks;
        int fd = -1;

        prepare("sqlite", "dest/d.db");
        cr_assert_eq(process_start_ticks(cleaner, &ticks), 0);
        begin_confined();
        if (!is_confined())
                return;
        cr_assert_eq(process_open(cleaner, ticks, &fd), 0, "S6: pid and start time");
        cr_expect(process_has_thread(cleaner, cleaner), "S3: refused is not gone");
        cr_expect_not(process_has_thread(0x7ffffff0, 0x7ffffff0), "and gone is gone");
        cr_expect_not(process_has_ended(fd));
        (void) close(fd);
        end();
}

/* ---- its own work --------------------------------------------------------------------------------------- */
static void expect_moved(const char *name, int64_t count) {
        sqlite3 *db = app_open("dest/d.db");

        cr_expect_eq(app_number(db, "SELECT count(*) FROM baton_events WHERE session = '%s'", name), count);
        cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static void clean_all(void) {
        for (unsigned i = 0; i < 100; i++)
                (void) clean_deadline(&worker, clock_usec() + 60 * USEC_PER_SEC);
}

/* What SQLite would spill into a file of its own, it keeps: a trigger makes it keep the way back of a statement that
 * removes more than fits (64 KiB). */
Test(landlock, P7_sources_are_read_and_cleaned) {
        sqlite3 *wal, *rollback, *linked;

        prepare("sqlite", "dest/d.db");
        wal = app_outbox("src/o.db");
        app_run(wal, "CREATE TABLE gone (seq, payload); CREATE TRIGGER t AFTER DELETE ON outbox BEGIN "
                     "INSERT INTO gone VALUES (old.seq, old.payload); END");
        linked = app_outbox("src/real.db");
        rollback = app_open("rollback/o.db");
        app_run(rollback, "CREATE TABLE outbox (" OUTBOX_COLUMNS ")");
        app_fill(wal, 3000);
        app_fill(linked, 100);
        app_fill(rollback, 100);
        configure(0, 0, "wal", "src/o.db", "?clean-up=delete");
        configure(1, 0, "rollback", "rollback/o.db", "?clean-up=delete");
        configure(2, 0, "linked", "links/link.db", "?clean-up=mark&mark=moved_at");
        begin_confined();
        if (!is_confined())
                return;
        for (uint32_t i = 0; i < 3; i++)
                (void) session_take(i);
        settle();
        clean_all();
        expect_moved("wal", 3000);
        expect_moved("rollback", 100);
        expect_moved("linked", 100);
        cr_expect_eq(app_number(wal, "SELECT count(*) FROM outbox"), 1, "the anchor stays (M4)");
        cr_expect_eq(app_number(rollback, "SELECT count(*) FROM outbox"), 1);
        cr_expect_eq(app_number(linked, "SELECT count(*) FROM outbox WHERE moved_at IS NOT NULL"), 100);
        cr_expect_eq(atomic_load(&worker_record(&worker)->renewal_ref), 0, "nothing was missing");
        cr_assert_eq(sqlite3_close(wal) | sqlite3_close(rollback) | sqlite3_close(linked), SQLITE_OK);
        end();
}

Test(landlock, P7_files_are_written_and_rotated) {
        char *first = NULL, *second = NULL;
        _cleanup_fd_ int directory = -1;
        sqlite3 *app;

        prepare("file", "dest?rotate-size=1000");
        app = app_outbox("src/o.db");
        app_run(app, "INSERT INTO outbox (payload) VALUES ('{}'), ('{}'), ('not JSON: parked')");
        configure(0, 0, "orders", "src/o.db", "");
        begin_confined();
        if (!is_confined())
                return;
        (void) session_take(0);
        settle();
        for (unsigned i = 0; i < 20; i++) {
                app_run(app,
                        "INSERT INTO outbox (payload) VALUES ('{\"a\":\"0123456789012345678901234567890123456789\"}')");
                session_set_ready(worker.by_slot[0]);
                settle();
        }
        cr_expect_eq(status_of(0).position, 23, "%s", status_of(0).reason);
        directory = open(path_of("dest"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert_eq(file_read_text(directory, "orders.000001.jsonl", 1 << 20, &first), 0);
        cr_assert_eq(file_read_text(directory, "orders.000002.jsonl", 1 << 20, &second), 0, "rotated");
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        free(first);
        free(second);
        end();
}

/* M7 in STATE, by name: the latch is set and lifted, and a lost source is told. */
Test(landlock, P7_failed_syncs_are_remembered) {
        const struct failure failure = { .kind = FAILURE_SYNC, .text = "the test says so" };
        struct failure ignored = { 0 };
        sqlite3 *app;

        app = prepare_orders();
        begin_confined();
        if (!is_confined())
                return;
        (void) session_take(0);
        settle();
        latch_set(&worker, &failure);
        cr_expect_eq(access(path_of("state/latch-events"), F_OK), 0);
        cr_expect_eq(latch_clear(&worker, &ignored), 0, "%s", ignored.text);
        cr_expect_neq(access(path_of("state/latch-events"), F_OK), 0);
        lost_set(worker.by_slot[0], &failure);
        cr_expect_eq(access(path_of("state/lost-orders"), F_OK), 0);
        lost_clear(worker.by_slot[0]);
        cr_expect_neq(access(path_of("state/lost-orders"), F_OK), 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        end();
}

/* ---- a directory that comes later ------------------------------------------------------------------------ */
static uint64_t renewal_asked(void) {
        return atomic_load(&worker_record(&worker)->renewal_ref);
}

Test(landlock, P7_a_directory_that_came_later_is_said_and_asked_for) {
        sqlite3 *app, *late;

        app = prepare_orders();
        late = app_outbox("late/o.db");
        begin_confined();
        if (!is_confined())
                return;
        (void) session_take(0);
        (void) session_begin_on(1, "absent", "late/absent/o.db", "");
        settle();
        expect_phase(1, SESSION_WAITING);
        cr_expect_eq(renewal_asked(), 0, "what is not there would be reached by nobody: %s",
                     status_of(1).reason);
        (void) session_begin_on(2, "late", "late/o.db", "");
        settle();
        expect_phase(2, SESSION_WAITING);
        cr_expect_not_null(strstr(status_of(2).reason, "another worker takes its place"), "%s",
                           status_of(2).reason);
        cr_expect_not_null(strstr(status_of(2).reason, path_of("late")), "%s", status_of(2).reason);
        cr_expect_eq(renewal_asked(), worker.ref);
        expect_moved("orders", 5);
        cr_assert_eq(sqlite3_close(app) | sqlite3_close(late), SQLITE_OK);
        end();
}

/* Of a failure that another worker would meet as well, nobody is asked: that would never end. */
Test(landlock, P7_what_a_new_worker_could_not_reach_either_is_not_asked_for) {
        struct failure failure = { 0 };

        prepare("sqlite", "dest/d.db");
        cr_assert_eq(sqlite3_close(app_outbox("src/o.db")), SQLITE_OK);
        cr_assert_eq(chmod(path_of("late"), 0), 0);
        configure(0, 0, "orders", "src/o.db", "");
        begin_confined();
        if (!is_confined())
                return;
        cr_expect_eq(confine_files_explain(&worker, "x", path_of("src"), -EBUSY, &failure), -EBUSY,
                     "its own");
        cr_expect_eq(confine_files_explain(&worker, "x", path_of("none"), -EBUSY, &failure), -EBUSY,
                     "absent");
        cr_expect_eq(confine_files_explain(&worker, "x", path_of("src/o.db"), -EBUSY, &failure), -EBUSY,
                     "a file");
        if (geteuid() != 0)
                cr_expect_eq(confine_files_explain(&worker, "x", path_of("late"), -EBUSY, &failure), -EBUSY,
                             "forbidden to this user");
        cr_expect_eq(confine_files_explain(&worker, "x", path_of("other"), -ENOENT, &failure), -ENOENT,
                     "no file there");
        cr_expect_eq(renewal_asked(), 0);
        cr_expect_str_empty(failure.text);
        cr_expect_eq(confine_files_explain(&worker, "x", path_of("other"), -EBUSY, &failure), -EACCES);
        cr_expect_eq(failure.kind, FAILURE_UNAVAILABLE);
        cr_expect_eq(renewal_asked(), worker.ref);
        end();
}

/* What it has a rule for and is refused all the same is a rule that was lost, if it ever worked (a file system that was
 * unmounted and mounted again); else somebody else forbids it. A second ruleset takes everything, in a child, which can
 * do nothing more then. */
static int explain_all_refused(void) {
        struct ruleset nothing = { .fd = -1 };
        struct failure failure = { 0 };

        if (ruleset_new(&nothing) < 0 || ruleset_enforce(&nothing) < 0)
                return 1;
        if (confine_files_explain(&worker, "x", path_of("rollback"), -EBUSY, &failure) != -EBUSY ||
            renewal_asked() != 0)
                return 2;
        return confine_files_explain(&worker, "x", path_of("src"), -EBUSY, &failure) == -EACCES ? 0 : 3;
}

Test(landlock, P7_a_lost_rule_is_told_from_another_guard) {
        sqlite3 *app;
        int status;
        pid_t pid;

        app = prepare_orders();
        configure(1, 0, "never", "rollback/o.db", "");
        begin_confined();
        if (!is_confined())
                return;
        (void) session_take(0);
        settle();
        expect_moved("orders", 5);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        pid = fork();
        if (pid == 0)
                _exit(explain_all_refused());
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
        cr_expect_eq(renewal_asked(), worker.ref);
        end();
}

Test(landlock, P7_the_directory_of_a_file_is_the_one_that_links_lead_to) {
        char directory[PATH_MAX], real[PATH_MAX];

        prepare("sqlite", "dest/d.db");
        cr_assert_eq(sqlite3_close(app_outbox("src/real.db")), SQLITE_OK);
        cr_assert_not_null(realpath(path_of("src"), real));
        cr_expect_eq(db_directory(path_of("links/link.db"), directory, sizeof directory), 0);
        cr_expect_str_eq(directory, real);
        cr_assert_eq(symlink(path_of("dest/absent.db"), path_of("links/nothing.db")), 0);
        cr_expect_eq(db_directory(path_of("links/nothing.db"), directory, sizeof directory), 0);
        cr_expect_str_eq(directory, path_of("dest"));
        cr_assert_eq(symlink("loop.db", path_of("links/loop.db")), 0);
        cr_expect_eq(db_directory(path_of("links/loop.db"), directory, sizeof directory), -ELOOP);
        cr_expect_eq(db_directory("/o.db", directory, sizeof directory), 0);
        cr_expect_str_eq(directory, "/");
        cr_expect_eq(db_directory(path_of("src/real.db"), directory, 4), -ENAMETOOLONG);
        urcu_memb_unregister_thread();
        segment_close(TAKE(segment));
}

/* ---- no Landlock -------------------------------------------------------------------------------------------- */
static void forbid(int call, int error) {
        scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);

        cr_assert_not_null(context);
        cr_assert_eq(seccomp_rule_add(context, SCMP_ACT_ERRNO((unsigned) error), call, 0), 0);
        cr_assert_eq(seccomp_load(context), 0);
        seccomp_release(context);
}

static void expect_unconfined(int call, int error, enum worker_confinement confinement) {
        sqlite3 *app;

        app = prepare_orders();
        forbid(call, error);
        begin_confined();
        cr_expect_eq(worker.files.confinement, confinement);
        cr_expect_eq(atomic_load(&worker_record(&worker)->confinement), confinement);
        (void) session_take(0);
        settle();
        expect_moved("orders", 5);
        cr_expect_eq(errno_of_open(path_of("other"), O_RDONLY | O_DIRECTORY), 0);
        cr_assert_eq(sqlite3_close(app), SQLITE_OK);
        end();
}

Test(landlock, P7_a_kernel_without_it_moves_all_the_same) {
        expect_unconfined(SCMP_SYS(landlock_create_ruleset), ENOSYS, CONFINEMENT_ABSENT);
}
Test(landlock, P7_one_that_has_it_switched_off) {
        expect_unconfined(SCMP_SYS(landlock_create_ruleset), EOPNOTSUPP, CONFINEMENT_ABSENT);
}
Test(landlock, P7_a_container_that_forbids_it) {
        expect_unconfined(SCMP_SYS(landlock_create_ruleset), EPERM, CONFINEMENT_REFUSED);
}
Test(landlock, P7_or_its_last_step) {
        expect_unconfined(SCMP_SYS(landlock_restrict_self), EPERM, CONFINEMENT_REFUSED);
}

/* What a moment later may be there is no reason to go on unconfined. */
Test(landlock, P7_a_want_of_descriptors_is_an_error) {
        struct directories directories;
        struct failure failure = { 0 };

        prepare("sqlite", "dest/d.db");
        (void) snprintf(directories.state, sizeof directories.state, "%s", path_of("state"));
        (void) snprintf(directories.runtime, sizeof directories.runtime, "%s", path_of("run"));
        must(worker_open(&worker, &directories, 0, failure));
        forbid(SCMP_SYS(landlock_create_ruleset), EMFILE);
        cr_expect_eq(confine_files(&worker, &failure), -EMFILE);
        cr_expect_eq(failure.kind, FAILURE_UNAVAILABLE);
        cr_expect_not_null(strstr(failure.text, "cannot confine itself"), "%s", failure.text);
        worker_done(&worker);
        urcu_memb_unregister_thread();
        segment_close(TAKE(segment));
}
