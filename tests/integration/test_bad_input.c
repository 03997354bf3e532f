/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input gets one clear sentence, a non-zero exit, and changes nothing: the directories are listed
 * before and after. `check` opens what it checks read-only and makes nothing. */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checksum.h"
#include "include/baton/journal.h"
#include "prove/world/outbox.h"
#include "tests/integration/test.h"

static struct world world;

static void begin(void) {
        test_begin(&world);
}

static void end(void) {
        test_end(&world);
}

TestSuite(bad_input, .init = begin, .fini = end, .timeout = 60);

static const char *file(const char *name) {
        return world_path(&world, name);
}

/* Names, sizes and modification times of all files below the directory, the state directory among them. */
static void list_files(char *ret_text, size_t text_bytes) {
        char command[WORLD_PATH_BYTES * 2];
        size_t bytes;
        FILE *pipe;

        (void) snprintf(command, sizeof(command),
                        "cd '%s' && find . -name '*.log' -o -name . -o -printf '%%p %%s %%T@ %%m\\n' | sort",
                        world.directory);
        pipe = popen(command, "re");
        cr_assert(pipe);
        bytes = fread(ret_text, 1, text_bytes - 1, pipe);
        ret_text[bytes] = '\0';
        cr_assert_eq(pclose(pipe), 0);
}

static unsigned count_lines(const char *text) {
        unsigned count = 0;

        for (; *text; text++)
                count += *text == '\n';
        return count;
}

/* `baton check` says `words` (each; NULL ends), in at most one line, and touches nothing. */
static void expect_check_says(const char *config, const char *const *words) {
        char before[16384], after[16384];

        world_config(&world, config);
        list_files(before, sizeof(before));
        cr_expect_neq(baton(&world, "check", "-c", world.config), 0, "it finds nothing wrong in:\n%s\n%s",
                      config, world.output);
        for (; *words; words++)
                cr_expect(strstr(world.output, *words), "\"%s\" is not in: %s", *words, world.output);
        list_files(after, sizeof(after));
        cr_expect_str_eq(before, after, "something was made or changed");
}

/* The supervisor refuses it at start in the same words, in one line, and makes nothing either. */
static void expect_refused(const char *config, const char *const *words) {
        char before[16384], after[16384];

        expect_check_says(config, words);
        list_files(before, sizeof(before));
        cr_expect_neq(world_run(&world, "batond", "-c", world.config, "--state", world.state, "--runtime",
                                world.runtime, NULL),
                      0);
        for (; *words; words++)
                cr_expect(strstr(world.output, *words), "batond: \"%s\" is not in: %s", *words, world.output);
        cr_expect_eq(count_lines(world.output), 1, "one sentence: %s", world.output);
        list_files(after, sizeof(after));
        cr_expect_str_eq(before, after, "something was made or changed");
}
#define SAYS(...) ((const char *[]){ __VA_ARGS__, NULL })
#define D "[destination d]\nurl = sqlite:%D/d.db\n"
#define A "[source a]\nurl = sqlite:%D/a.db\nto = d\n"

Test(bad_input, a_good_configuration_passes_and_makes_nothing) {
        char before[16384], after[16384];

        world_outbox(&world, "a");
        outbox_fill(&world, "a", 10);
        world_config(&world, D A);
        list_files(before, sizeof(before));
        cr_expect_eq(baton(&world, "check", "-c", world.config), 0, "%s", world.output);
        list_files(after, sizeof(after));
        cr_expect_str_eq(before, after);
}

Test(bad_input, configuration) {
        expect_refused("[destinatoin d]\nurl = sqlite:%D/d.db\n", SAYS(":1:", "destinatoin", "[destination"));
        expect_refused(D "wokers = 2\n" A, SAYS(":3:", "wokers", "workers"));
        expect_refused(D "[source a]\nclean-up = delete\nurl = sqlite:%D/a.db\nto = d\n",
                       SAYS(":4:", "clean-up", "option of the URL"));
        expect_refused(D "workers = 9999\n" A, SAYS(":3:", "workers", "9999", "256"));
        expect_refused(D "workers = -1\n" A, SAYS(":3:", "workers", "-1"));
        expect_refused(D "batch-time = soon\n" A, SAYS(":3:", "batch-time", "soon", "50ms"));
        expect_refused(D "batch-bytes = 1\n" A, SAYS(":3:", "batch-bytes", "4K"));
        expect_refused("[baton]\nstall-timeout = 1us\n" D A, SAYS(":2:", "stall-timeout", "100ms"));
        expect_refused(D "[source a]\nurl = sqlite:%D/a.db\n", SAYS("a", "to", "destination"));
        expect_refused(D "[source a]\nurl = sqlite:%D/a.db\nto = e\n", SAYS("e", "destination"));
        expect_refused(D A A, SAYS("[source a]", "two"));
        expect_refused(D "[source]\nurl = sqlite:%D/a.db\nto = d\n", SAYS(":3:", "without a name"));
        expect_refused(D "[source a b]\nurl = sqlite:%D/a.db\nto = d\n", SAYS(":3:", "a b"));
        expect_refused(D "[source a]\nto = d\n", SAYS("a", "url"));
        expect_refused(D "[source a]\nurl = /a.db\nto = d\n", SAYS(":4:", "scheme"));
        expect_refused(D "[source a]\nurl = sqlte:%D/a.db\nto = d\n", SAYS(":4:", "sqlte", "sqlite"));
        expect_refused(D "[source a]\nurl = sqlite:a.db\nto = d\n", SAYS(":4:", "absolute"));
        expect_refused(D "[source a]\nurl = sqlite:%D/a.db?tabel=x\nto = d\n",
                       SAYS(":4:", "tabel", "\"table\"?\n"));
        expect_refused(D "[source a]\nurl = sqlite:%D/a.db?table=x;drop\nto = d\n", SAYS(":4:", "table"));
        expect_refused(D "[source a]\nurl = sqlite:%D/a.db?clean-up=sweep\nto = d\n",
                       SAYS(":4:", "sweep", "keep"));
        expect_refused("url = x\n", SAYS(":1:", "section"));
        expect_refused(D "what is this\n" A, SAYS(":3:", "what is this"));
}

/* What nothing can be said against still gets a word where it does nothing, or will stop. */
Test(bad_input, check_says_what_it_sees_besides) {
        world_config(&world, "");
        cr_expect_eq(baton(&world, "check", "-c", world.config), 0, "%s", world.output);
        cr_expect(strstr(world.output, "nothing to move"), "%s", world.output);
        world_outbox(&world, "a");
        world_config(&world, D A);
        world_start(&world);
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        cr_expect_eq(baton(&world, "check", "-c", world.config), 0, "%s", world.output);
        cr_expect(!strstr(world.output, "another Baton"), "%s", world.output);
        world_shell(&world, "echo 0123456789abcdef0123456789abcdef >state/instance");
        cr_expect_eq(baton(&world, "check", "-c", world.config), 0, "%s", world.output);
        cr_expect(strstr(world.output, "session a of another Baton"), "%s", world.output);
}

Test(bad_input, no_configuration) {
        cr_expect_neq(baton(&world, "check", "-c", file("absent.conf")), 0);
        cr_expect(strstr(world.output, "absent.conf"), "%s", world.output);
        cr_expect_neq(baton(&world, "check", "-c", file(".")), 0);
        cr_expect(strstr(world.output, "is a directory"), "%s", world.output);
        cr_expect_neq(world_run(&world, "batond", "-c", file("absent.conf"), "--state", world.state,
                                "--runtime", world.runtime, NULL),
                      0);
        cr_expect(strstr(world.output, "absent.conf"), "%s", world.output);
}

Test(bad_input, a_source_that_is_no_database) {
        world_shell(&world, "echo 'this is a text and no database, and long enough to be read as one' >a.db");
        expect_check_says(D A, SAYS("a.db", "database"));
}

Test(bad_input, a_source_without_the_table_or_its_columns) {
        database_run(&world, file("a.db"), "CREATE TABLE other(x)");
        expect_check_says(D A, SAYS("a.db", "outbox"));
        database_run(&world, file("a.db"),
                     "CREATE TABLE outbox(seq INTEGER PRIMARY KEY, key, type, at, body)");
        expect_check_says(D A, SAYS("a.db", "payload"));
}

Test(bad_input, a_seq_that_is_no_integer_primary_key) {
        database_run(&world, file("a.db"), "CREATE TABLE outbox(seq INTEGER, key, type, at, payload)");
        expect_check_says(D A, SAYS("seq", "INTEGER PRIMARY KEY"));
        database_run(&world, file("a.db"),
                     "DROP TABLE outbox; CREATE TABLE outbox(seq TEXT PRIMARY KEY, key, type, at, payload)");
        expect_check_says(D A, SAYS("seq", "INTEGER PRIMARY KEY"));
        database_run(&world, file("a.db"),
                     "DROP TABLE outbox; CREATE TABLE outbox(seq INT PRIMARY KEY, key, type, at, payload)");
        expect_check_says(D A, SAYS("seq", "INTEGER PRIMARY KEY"));
}

Test(bad_input, delete_without_autoincrement) {
        database_run(&world, file("a.db"),
                     "CREATE TABLE outbox(seq INTEGER PRIMARY KEY, key, type, at, payload)");
        expect_check_says(D "[source a]\nurl = sqlite:%D/a.db?clean-up=delete\nto = d\n",
                          SAYS("delete", "AUTOINCREMENT"));
}

Test(bad_input, mark_without_its_column) {
        world_outbox(&world, "a");
        expect_check_says(D "[source a]\nurl = sqlite:%D/a.db?clean-up=mark&mark=gone_at\nto = d\n",
                          SAYS("gone_at"));
}

Test(bad_input, a_destination_that_is_no_database_or_has_another_table) {
        world_outbox(&world, "a");
        world_shell(&world, "echo 'this is a text and no database, and long enough to be read as one' >d.db");
        expect_check_says(D A, SAYS("d.db", "database"));
        world_shell(&world, "rm d.db");
        database_run(&world, file("d.db"), "CREATE TABLE baton_events(a, b)");
        expect_check_says(D A, SAYS("d.db", "baton_events"));
}

Test(bad_input, a_directory_that_is_absent_or_closed) {
        world_outbox(&world, "a");
        expect_check_says("[destination d]\nurl = sqlite:%D/absent/d.db\n" A, SAYS("absent"));
        expect_check_says("[destination d]\nurl = file:%D/absent/out\n" A, SAYS("absent"));
        if (geteuid() == 0)
                return; /* root is kept out by nothing; the rest needs another user */
        world_shell(&world, "mkdir closed && chmod 0 closed");
        expect_check_says("[destination d]\nurl = sqlite:%D/closed/d.db\n" A, SAYS("closed", "ermission"));
}

/* As nobody, for whom root's directory is closed. The program is the world's own copy: where it was built may be
 * closed to others, too. */
static void as_nobody(int *ret_code) {
        pid_t pid = fork();

        if (pid == 0) {
                if (setgid(65534) < 0 || setuid(65534) < 0 || access(world.config, R_OK) < 0)
                        _exit(99); /* or $TMPDIR itself is closed to others */
                memcpy(world.bin, world.directory, sizeof(world.directory));
                *ret_code = baton(&world, "check", "-c", world.config);
                printf("%s", world.output);
                _exit(strstr(world.output, "no permission to make files") && *ret_code != 0 ? 0 : 1);
        }
        *ret_code = wait_exit(pid);
}

Test(bad_input, a_directory_without_permission) {
        char copy[WORLD_PATH_BYTES + 32];
        int code = 0;

        if (geteuid() != 0)
                cr_skip("runs as root only; the test above covers another user");
        world_outbox(&world, "a");
        (void) snprintf(copy, sizeof(copy), "install -m 755 '%s/baton' .", world.bin);
        world_shell(&world, copy);
        world_config(&world, "[destination d]\nurl = sqlite:%D/closed/d.db\n" A);
        world_shell(&world,
                    "mkdir closed && chmod 0700 closed && chmod 0777 . && chmod 0666 a.db baton.conf");
        as_nobody(&code);
        if (code == 99 || code == 127)
                cr_skip("cannot become another user here");
        cr_expect_eq(code, 0, "it names the permission");
}

Test(bad_input, a_bad_source_stops_its_session_alone) {
        world_outbox(&world, "a");
        database_run(&world, file("b.db"), "CREATE TABLE outbox(seq INTEGER, key, type, at, payload)");
        world_shell(&world, "echo 'this is a text and no database, and long enough to be read as one' >c.db");
        world_config(&world, "[baton]\nadopt-timeout = 5s\n" D A "[source b]\nurl = sqlite:%D/b.db\nto = d\n"
                             "[source c]\nurl = sqlite:%D/c.db\nto = d\n");
        world_start(&world);
        outbox_fill(&world, "a", 100);
        wait_all_moved(&world);
        WAIT_UNTIL(&world,
                   session_is(&world, "b", SESSION_STOPPED) && session_is(&world, "c", SESSION_STOPPED));
        cr_expect(strstr(session_reason(&world, "b"), "INTEGER PRIMARY KEY"), "%s",
                  session_reason(&world, "b"));
        cr_expect(strstr(session_reason(&world, "c"), "database"), "%s", session_reason(&world, "c"));
        cr_expect_eq(baton(&world, "status"), 4, "%s", world.output);
        check_final(&world);
}

/* ---- what stands in the runtime and state directories ------------------------------------------ */
Test(bad_input, a_segment_of_another_layout_or_damaged_is_refused_by_readers) {
        world_outbox(&world, "a");
        world_config_standard(&world, 1, NULL);
        world_start(&world);
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        segment_closep(&world.segment);
        world.segment = NULL;
        world.segment_inode = 0;

        char command[WORLD_PATH_BYTES * 2];

        /* The layout number stands behind the magic. */
        (void) snprintf(command, sizeof(command),
                        "printf '\\143' | dd of='%s/segment' bs=1 seek=8 conv=notrunc status=none",
                        world.runtime);
        world_shell(&world, command);
        cr_expect_neq(baton(&world, "status"), 0);
        cr_expect(strstr(world.output, "it is of layout 99, and this program works with "), "%s",
                  world.output);
        (void) snprintf(command, sizeof(command), "truncate -s 100 '%s/segment'", world.runtime);
        world_shell(&world, command);
        cr_expect_neq(baton(&world, "status"), 0);
        cr_expect(strstr(world.output, "segment"), "%s", world.output);

        /* With no worker alive the supervisor makes a new one, and the events go on (S11). */
        world_start(&world);
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        check_final(&world);
}

/* Sound journals of another version: it stands at offset 8, and the header ends with its CRC. */
static void set_journal_versions(uint32_t version) {
        uint8_t header[JOURNAL_HEADER_BYTES];
        glob_t found;

        cr_assert_eq(glob(file("state/journal/d/*.journal"), 0, NULL, &found), 0);
        for (size_t i = 0; i < found.gl_pathc; i++) {
                int fd = open(found.gl_pathv[i], O_RDWR | O_CLOEXEC);
                uint32_t crc;

                cr_assert_eq(pread(fd, header, sizeof(header), 0), sizeof(header));
                memcpy(header + 8, &version, sizeof(version));
                crc = crc32c(0, header, sizeof(header) - sizeof(crc));
                memcpy(header + sizeof(header) - sizeof(crc), &crc, sizeof(crc));
                cr_assert_eq(pwrite(fd, header, sizeof(header), 0), sizeof(header));
                (void) close(fd);
        }
        globfree(&found);
}

static void expect_both_versions(const char *text) {
        cr_expect(strstr(text, ".journal"), "%s", text);
        cr_expect(strstr(text, "its format is of version 7, and this Baton knows version 1"), "%s", text);
        cr_expect_null(strstr(text, "checksum"), "%s", text);
}

Test(bad_input, a_journal_of_another_version_is_refused_by_name) {
        world_outbox(&world, "a");
        world_shell(&world, "mkdir out");
        world_config(&world, "[destination d]\nurl = file:%D/out\n" A);
        world_start(&world);
        outbox_fill(&world, "a", 50);
        wait_all_moved(&world);
        cr_assert_eq(world_stop(&world), 0);
        set_journal_versions(7);
        cr_expect_neq(baton(&world, "journal", "check", file("state/journal")), 0);
        expect_both_versions(world.output);
        cr_expect_neq(baton(&world, "check", "-c", world.config), 0);
        expect_both_versions(world.output);
        outbox_fill(&world, "a", 50);
        world_start(&world);
        WAIT_UNTIL(&world, session_is(&world, "a", SESSION_STOPPED));
        expect_both_versions(session_reason(&world, "a"));
}

Test(bad_input, command_line) {
        cr_expect_eq(baton(&world, "statsu"), 2);
        cr_expect(strstr(world.output, "status"), "the nearest is named: %s", world.output);
        cr_expect_eq(baton(&world, "status", "--jsn"), 2);
        cr_expect(strstr(world.output, "--json"), "%s", world.output);
        cr_expect_eq(baton(&world, "status"), 3, "%s", world.output);
        cr_expect_neq(baton(&world, "adopt", "a"), 0);
        cr_expect_neq(baton(&world, "outbox", "create", file("a.db"), "--table", "x;y"), 0);
        cr_expect_neq(access(file("a.db"), F_OK), 0);
}
