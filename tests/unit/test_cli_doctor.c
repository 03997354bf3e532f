/* SPDX-License-Identifier: Apache-2.0 */
/* `baton doctor`: what a row says of what it found. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/cli/command.h"
#include "supervisor/cli/doctor.h"
#include "supervisor/waits.h"

TestSuite(cli_doctor, .init = cr_redirect_stdout);

static char said[8192];

/* What one look printed. */
static const char *look(void (*doctor_look)(struct doctor *doctor), struct doctor *doctor) {
        size_t bytes;

        doctor_look(doctor);
        (void) fflush(stdout);
        bytes = fread(said, 1, sizeof(said) - 1, cr_get_redirected_stdout());
        said[bytes] = '\0';
        return said;
}

#define EXPECT(look_function, doctor, words)                                                      \
        do {                                                                                      \
                const char *printed = look(look_function, doctor);                                \
                                                                                                  \
                cr_expect_not_null(strstr(printed, words), "not \"%s\" but: %s", words, printed); \
        } while (0)

/* ---- landlock ------------------------------------------------------------------------------------------------ */
static bool has_landlock(void) {
        return syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) > 0;
}

#define WORKERS 3u
static struct view_worker workers[WORKERS];

static struct doctor with_workers(uint32_t count, const enum worker_confinement *words) {
        for (uint32_t i = 0; i < count; i++)
                workers[i] = (struct view_worker){ .index = 7 + i, .is_live = true, .confinement = words[i] };
        return (struct doctor){
                .view = { .layout_number = LAYOUT_NUMBER, .workers = workers, .worker_count = count }
        };
}

#define OF(...)                                                                                            \
        with_workers(sizeof((enum worker_confinement[]){ __VA_ARGS__ }) / sizeof(enum worker_confinement), \
                     (const enum worker_confinement[]){ __VA_ARGS__ })

Test(cli_doctor, P7_who_is_confined_is_well) {
        struct doctor doctor = OF(CONFINEMENT_FILES, CONFINEMENT_FILES);

        EXPECT(doctor_look_landlock, &doctor,
               "ok   landlock               all 2 workers reach their own sources");
        cr_expect_eq(doctor.bad_count + doctor.unknown_count, 0u);
}

Test(cli_doctor, P7_who_is_not_confined_is_named_with_the_reason) {
        struct doctor doctor = OF(CONFINEMENT_FILES, CONFINEMENT_REFUSED);

        EXPECT(doctor_look_landlock, &doctor, "bad  landlock ");
        if (has_landlock())
                cr_expect(strstr(said, "worker 8 says that the kernel refuses it"), "%s", said);
        doctor = OF(CONFINEMENT_ABSENT, CONFINEMENT_UNSAID);
        EXPECT(doctor_look_landlock, &doctor, "bad  landlock ");
        if (has_landlock())
                cr_expect(strstr(said, "worker 7 says that the kernel has none"), "%s", said);
}

/* Where the machine cannot do it, that is what is known of them. */
static void expect_unknown(struct doctor *doctor, const char *words) {
        EXPECT(doctor_look_landlock, doctor, has_landlock() ? "?    landlock " : "bad  landlock ");
        if (has_landlock())
                cr_expect(strstr(said, words), "not \"%s\" but: %s", words, said);
}

Test(cli_doctor, P7_what_nobody_has_said_is_not_well) {
        struct doctor doctor = {};

        expect_unknown(&doctor, "no worker runs that could be confined");
        doctor = OF(CONFINEMENT_FILES, CONFINEMENT_UNSAID);
        expect_unknown(&doctor, "1 of 2 workers are confined, worker 8 has not said it yet");
        doctor = OF(CONFINEMENT_UNSAID);
        expect_unknown(&doctor, "0 of 1 workers are confined, worker 7 has not said it yet");
        doctor = OF(CONFINEMENT_FILES);
        workers[0].is_live = false;
        expect_unknown(&doctor, "no worker runs that could be confined");
        doctor = OF(CONFINEMENT_UNSAID);
        doctor.view.layout_number = 1;
        expect_unknown(&doctor, "they have no word for it in a segment of layout 1");
}

/* ---- what the service's processes have ---------------------------------------------------------------------- */
/* A child with a system-call filter, as a worker has one; ended by child_end(). */
static pid_t child_filtered(void) {
        scmp_filter_ctx filter;
        int ready[2];
        char byte;
        pid_t pid;

        cr_assert_eq(pipe(ready), 0);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                filter = seccomp_init(SCMP_ACT_ALLOW);
                if (!filter || seccomp_load(filter) < 0)
                        _exit(1);
                (void) !write(ready[1], "y", 1);
                for (;;)
                        (void) pause();
        }
        (void) close(ready[1]);
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        (void) close(ready[0]);
        return pid;
}

static void child_end(pid_t pid) {
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

/* What is said of the supervisor is of one that runs: the number of one that is gone is another's, or nobody's. */
Test(cli_doctor, a_supervisor_that_is_gone_has_no_sandbox_and_no_credentials) {
        struct doctor doctor = OF(CONFINEMENT_FILES);
        pid_t pid = child_filtered();

        doctor.config_path = "/nowhere/baton.conf";
        workers[0].pid = pid;
        doctor.view.supervisor = SUPERVISOR_GONE;
        doctor.view.supervisor_pid = 0x7ffffffe;
        EXPECT(doctor_look_sandbox, &doctor,
               "?    sandbox                workers filter their own system calls");
        doctor.view.supervisor = SUPERVISOR_NONE;
        doctor.view.supervisor_pid = 0;
        EXPECT(doctor_look_sandbox, &doctor, "no supervisor runs");
        doctor.view.supervisor = SUPERVISOR_GONE;
        doctor.view.supervisor_pid = 0x7ffffffe;
        EXPECT(doctor_look_credentials, &doctor, "no supervisor runs that could have been given some");
        doctor.view.supervisor = SUPERVISOR_RUNNING;
        EXPECT(doctor_look_credentials, &doctor, "?    credentials ");
        doctor.view.supervisor_pid = pid;
        EXPECT(doctor_look_sandbox, &doctor, "ok   sandbox ");
        child_end(pid);
}

/* ---- as whom the service runs ---------------------------------------------------------------------------------- */
#define SERVICE_UID 64999u
static bool has_service_user;

/* In place of the C library's: the package's user, whether it is installed here or not. */
struct passwd *getpwnam(const char *name) {
        static char service_name[] = UNIT_USER, root_name[] = "root";
        static struct passwd service = { .pw_name = service_name,
                                         .pw_uid = SERVICE_UID,
                                         .pw_gid = SERVICE_UID };
        static struct passwd root = { .pw_name = root_name };

        if (strcmp(name, root_name) == 0)
                return &root;
        return has_service_user && strcmp(name, UNIT_USER) == 0 ? &service : NULL;
}

/* In memory, and where every user gets through. */
static struct doctor with_directory(void) {
        struct doctor doctor = {};

        (void) snprintf(doctor.directories.state, sizeof(doctor.directories.state),
                        "/dev/shm/baton-doctor-XXXXXX");
        cr_assert_not_null(mkdtemp(doctor.directories.state), "%s", strerror(errno));
        cr_assert_eq(chmod(doctor.directories.state, 0755), 0);
        memcpy(doctor.directories.runtime, doctor.directories.state, sizeof(doctor.directories.runtime));
        has_service_user = true;
        return doctor;
}

static bool is_root(void) {
        if (geteuid() == 0)
                return true;
        cr_skip_test("rights of another user are asked for as root");
        return false;
}

Test(cli_doctor, a_directory_is_judged_with_the_rights_of_the_services_user) {
        struct doctor doctor;
        const char *state;

        if (!is_root())
                return;
        doctor = with_directory();
        state = doctor.directories.state;
        EXPECT(doctor_look_directories, &doctor, "bad  state directory ");
        cr_expect(strstr(said, "bad  runtime directory "), "%s", said);
        cr_expect(strstr(said,
                         "is of root, mode 755: user baton, as whom the service runs, may not write there"),
                  "%s", said);
        cr_expect(strstr(said, "chown -R baton: /dev/shm/"), "%s", said);
        cr_assert_eq(chown(state, SERVICE_UID, SERVICE_UID), 0);
        EXPECT(doctor_look_directories, &doctor, "ok   state directory ");
        cr_expect(strstr(said, "ok   runtime directory "), "%s", said);
        cr_assert_eq(chmod(state, 0550), 0);
        EXPECT(doctor_look_directories, &doctor, "bad  state directory ");
        /* Nobody that the service could run as: not known, whoever owns it. */
        has_service_user = false;
        EXPECT(doctor_look_directories, &doctor, "?    state directory ");
        cr_assert_eq(rmdir(state), 0);
}

/* By hand, as root: that is who writes there. */
Test(cli_doctor, who_runs_is_asked_before_who_would) {
        struct doctor doctor;

        if (!is_root())
                return;
        doctor = with_directory();
        doctor.view.supervisor = SUPERVISOR_RUNNING;
        doctor.view.supervisor_pid = getpid();
        EXPECT(doctor_look_directories, &doctor, "ok   state directory ");
        cr_assert_eq(rmdir(doctor.directories.state), 0);
}

Test(cli_doctor, a_lock_that_the_services_user_may_not_write_is_bad) {
        struct doctor doctor;
        char path[600];

        if (!is_root())
                return;
        doctor = with_directory();
        (void) snprintf(path, sizeof(path), "%s/workers.lock", doctor.directories.state);
        cr_assert_eq(close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0640)), 0);
        EXPECT(doctor_look_locks, &doctor, "bad  workers.lock ");
        cr_expect(strstr(said, "?    supervisor.lock "), "%s", said);
        cr_assert_eq(chown(path, SERVICE_UID, SERVICE_UID), 0);
        EXPECT(doctor_look_locks, &doctor, "ok   workers.lock ");
        cr_assert_eq(unlink(path), 0);
        cr_assert_eq(rmdir(doctor.directories.state), 0);
}

/* ---- credentials ------------------------------------------------------------------------------------------------- */
#define NO_COMPLAINT "?    credentials            no supervisor runs that could have been given some"

static char base[512];

static const char *in_base(const char *name) {
        static char paths[4][700];
        static unsigned next;
        char *path = paths[next++ % 4];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
        return path;
}

static void file_put(const char *path, mode_t mode) {
        cr_assert_eq(close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600)), 0);
        cr_assert_eq(chmod(path, mode), 0);
}

/* BASE/baton.credentials, with BASE/baton.conf beside it, and BASE/elsewhere. */
static struct doctor with_credentials(void) {
        struct doctor doctor = with_directory();
        static char config_path[700];

        (void) snprintf(base, sizeof(base), "%s", doctor.directories.state);
        (void) snprintf(config_path, sizeof(config_path), "%s/baton.conf", base);
        doctor.config_path = config_path;
        cr_assert_eq(mkdir(in_base("baton.credentials"), 0750), 0);
        cr_assert_eq(mkdir(in_base("elsewhere"), 0755), 0);
        return doctor;
}

static void credentials_remove(void) {
        char command[600];

        (void) snprintf(command, sizeof(command), "rm -r %s", base);
        cr_assert_eq(system(command), 0); /* NOLINT(cert-env33-c): a path that mkdtemp() made */
}

Test(cli_doctor, a_credential_that_others_may_read_is_bad) {
        struct doctor doctor = with_credentials();

        file_put(in_base("baton.credentials/a.conf"), 0600);
        EXPECT(doctor_look_credentials, &doctor, NO_COMPLAINT);
        cr_assert_eq(chmod(in_base("baton.credentials/a.conf"), 0640), 0);
        EXPECT(doctor_look_credentials, &doctor, "bad  credentials ");
        cr_expect(strstr(said, "/a.conf may be read by others than its owner"), "%s", said);
        credentials_remove();
}

/* Its own mode is 0777 and means nothing: the file at its end counts, and that systemd passes over links. */
Test(cli_doctor, a_link_is_judged_by_the_file_at_its_end) {
        struct doctor doctor = with_credentials();

        file_put(in_base("elsewhere/a"), 0600);
        cr_assert_eq(symlink("../elsewhere/b", in_base("baton.credentials/a.conf")), 0);
        cr_assert_eq(symlink("a", in_base("elsewhere/b")), 0);
        EXPECT(doctor_look_credentials, &doctor, "a.conf is a symbolic link, and systemd passes over it");
        cr_expect_null(strstr(said, "may be read"), "%s", said);
        cr_assert_eq(chmod(in_base("elsewhere/a"), 0644), 0);
        EXPECT(doctor_look_credentials, &doctor, "/a.conf may be read by others than its owner");
        cr_assert_eq(unlink(in_base("elsewhere/a")), 0);
        EXPECT(doctor_look_credentials, &doctor, "is a symbolic link to nothing that can be seen");
        cr_assert_eq(symlink("b", in_base("elsewhere/a")), 0);
        EXPECT(doctor_look_credentials, &doctor,
               "is a symbolic link to nothing that can be seen"); /* a loop */
        credentials_remove();
}

/* systemd follows the link that the directory is; whoever may replace it, or a file in it, has the service read his. */
Test(cli_doctor, a_directory_by_a_link_is_well_unless_others_may_replace_it) {
        struct doctor doctor = with_credentials();

        file_put(in_base("elsewhere/a.conf"), 0600);
        cr_assert_eq(rmdir(in_base("baton.credentials")), 0);
        cr_assert_eq(symlink(in_base("elsewhere"), in_base("baton.credentials")), 0);
        EXPECT(doctor_look_credentials, &doctor, NO_COMPLAINT);
        cr_assert_eq(chmod(in_base("elsewhere"), 0777), 0);
        EXPECT(doctor_look_credentials, &doctor, "others may replace ");
        cr_expect(strstr(said, in_base("elsewhere/a.conf, which is on the way")), "%s", said);
        cr_assert_eq(chmod(in_base("elsewhere"), 01777), 0);
        EXPECT(doctor_look_credentials, &doctor, NO_COMPLAINT); /* sticky, and the file is ours */
        cr_assert_eq(chmod(base, 0775), 0);
        EXPECT(doctor_look_credentials, &doctor, "others may replace ");
        cr_expect(strstr(said, in_base("baton.credentials, which is on the way")), "%s", said);
        credentials_remove();
}

/* `.` and `..` are in no directory's gift: who may write there can put nothing in their place. */
Test(cli_doctor, a_way_back_out_of_an_open_directory_is_well) {
        struct doctor_way way;

        (void) with_credentials();
        file_put(in_base("baton.credentials/a.conf"), 0600);
        cr_assert_eq(chmod(in_base("elsewhere"), 0777), 0);
        cr_assert_eq(doctor_way_follow(in_base("elsewhere/./../baton.credentials/a.conf"), &way), 0);
        cr_expect_str_eq(way.open_step, "");
        cr_assert_eq(symlink("elsewhere/..", in_base("round")), 0);
        cr_assert_eq(doctor_way_follow(in_base("round/elsewhere/../baton.credentials/a.conf"), &way), 0);
        cr_expect_str_eq(way.open_step, "");
        cr_assert_eq(symlink("../baton.credentials/a.conf", in_base("elsewhere/a.conf")), 0);
        cr_assert_eq(doctor_way_follow(in_base("elsewhere/a.conf"), &way), 0);
        cr_expect_not_null(strstr(way.open_step, "elsewhere/a.conf"), "%s", way.open_step);
        credentials_remove();
}

/* Who is not root and not that user: of another's directory that his group may write in, nothing is claimed. */
static unsigned look_as_somebody(mode_t mode, bool has_user) {
        struct doctor doctor = with_directory();
        const char *state = doctor.directories.state;

        has_service_user = has_user;
        cr_assert_eq(chown(state, 64998, 64998), 0);
        cr_assert_eq(chmod(state, mode), 0);
        cr_assert_eq(seteuid(64997), 0);
        (void) look(doctor_look_directories, &doctor);
        cr_assert_eq(seteuid(0), 0);
        cr_assert_eq(rmdir(state), 0);
        return doctor.bad_count;
}

Test(cli_doctor, what_another_user_may_is_not_guessed) {
        if (!is_root())
                return;
        cr_expect_eq(look_as_somebody(0770, true), 0u, "%s", said);
        cr_expect(strstr(said, "?    state directory "), "%s", said);
        cr_expect_eq(look_as_somebody(0750, false), 0u, "%s", said);
        cr_expect(strstr(said, "there is no user baton"), "%s", said);
        cr_expect_eq(look_as_somebody(0755, true), 2u, "%s", said);
}

Test(cli_doctor, a_directory_behind_one_that_is_closed_is_not_missed) {
        struct doctor doctor;

        if (!is_root())
                return;
        doctor = with_credentials();
        (void) strcat(doctor.directories.state, "/elsewhere");
        cr_assert_eq(chmod(base, 0700), 0);
        cr_assert_eq(seteuid(64997), 0);
        EXPECT(doctor_look_directories, &doctor, "?    state directory ");
        cr_assert_eq(seteuid(0), 0);
        credentials_remove();
}

Test(cli_doctor, a_credential_of_another_user_is_his_to_read) {
        struct doctor doctor;

        if (!is_root())
                return;
        doctor = with_credentials();
        file_put(in_base("baton.credentials/a.conf"), 0600);
        cr_assert_eq(chown(in_base("baton.credentials/a.conf"), SERVICE_UID, SERVICE_UID), 0);
        EXPECT(doctor_look_credentials, &doctor, "a.conf may be read and changed by user 64999");
        credentials_remove();
}

/* ---- the whole command -------------------------------------------------------------------------------------------- */
extern const struct command command_doctor;

/* What it prints with BASE for all directories; something is bad there. */
static void run_in_base(const struct doctor *doctor) {
        struct invocation invocation = { .command = &command_doctor };
        size_t bytes;

        invocation.values[CLI_CONFIG] = doctor->config_path;
        invocation.values[CLI_STATE] = invocation.values[CLI_RUNTIME] = base;
        cr_expect_eq(command_doctor.run(&invocation), EXIT_CODE_ATTENTION);
        (void) fflush(stdout);
        bytes = fread(said, 1, sizeof(said) - 1, cr_get_redirected_stdout());
        said[bytes] = '\0';
}

/* Of another layout, say, or not ours to read: supervisor and workers may well run. */
Test(cli_doctor, of_a_segment_that_cannot_be_read_nobody_is_said_not_to_run) {
        struct doctor doctor = with_credentials();

        file_put(in_base("segment"), 0600);
        run_in_base(&doctor);
        cr_expect(strstr(said, "?    segment "), "%s", said);
        cr_expect_null(strstr(said, "none runs"), "%s", said);
        cr_expect_null(strstr(said, "no worker runs"), "%s", said);
        cr_expect_null(strstr(said, "no supervisor runs"), "%s", said);
        cr_expect(strstr(said, "?    supervisor             the segment cannot be read"), "%s", said);
        cr_assert_eq(unlink(in_base("segment")), 0);
        run_in_base(&doctor);
        cr_expect(strstr(said, "?    supervisor             none runs with "), "%s", said);
        credentials_remove();
}

/* It is not in the segment that is there, as it has none yet (L5). */
Test(cli_doctor, L5_a_supervisor_that_waits_is_seen) {
        struct doctor doctor = with_credentials();
        char wanted[128];

        waits_tell(base, "for a worker that does not leave");
        run_in_base(&doctor);
        (void) snprintf(wanted, sizeof(wanted), "bad  supervisor             pid %d waits: for a worker",
                        getpid());
        cr_expect(strstr(said, wanted), "%s", said);
        credentials_remove();
}
