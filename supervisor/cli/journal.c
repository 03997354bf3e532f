/* SPDX-License-Identifier: Apache-2.0 */
/* `baton journal check|show`: reads Baton's journals, one file or a directory of them (and the
 * directories in it: STATE/journal has one for each destination). Must not touch: any journal; they
 * are read, never mended. */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "include/baton/journal.h"
#include "supervisor/cli/command.h"
#include "supervisor/cli/format.h"

#define SUFFIX ".journal"

struct file_list {
        char **paths;
        size_t count, capacity;
};

/* nftw() has no context of its own. */
static struct file_list *walk_list;

static void list_add(struct file_list *list, const char *path) {
        if (list->count == list->capacity) {
                list->capacity = MAX_OF(list->capacity * 2, (size_t) 16);
                list->paths = must_have(reallocarray(list->paths, list->capacity, sizeof(list->paths[0])));
        }
        list->paths[list->count++] = must_have(strdup(path));
}

static void list_done(struct file_list *list) {
        for (size_t i = 0; i < list->count; i++)
                free(list->paths[i]);
        free(list->paths);
}

static int walk_step(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        size_t length = strlen(path);

        (void) st;
        (void) ftw;
        if (type == FTW_F && length > strlen(SUFFIX) && strcmp(path + length - strlen(SUFFIX), SUFFIX) == 0)
                list_add(walk_list, path);
        return 0;
}

static int compare_paths(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The journals at the path, sorted. 0 or -errno. */
static int list_fill(const char *path, struct file_list *list) {
        struct stat st;

        if (stat(path, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode)) {
                list_add(list, path);
                return 0;
        }
        walk_list = list;
        if (nftw(path, walk_step, 16, FTW_PHYS) < 0)
                return -errno;
        if (list->count > 1)
                qsort(list->paths, list->count, sizeof(list->paths[0]), compare_paths);
        return 0;
}

static int check_file(const struct invocation *invocation, const char *path) {
        struct failure failure = {};
        int r;

        /* It prints its findings itself; a torn end is one, and no failure. */
        r = journal_check(path, stdout, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        return EXIT_CODE_OK;
}

static int show_file(const struct invocation *invocation, const char *path) {
        struct failure failure = {};
        bool json = invocation->values[CLI_JSON];
        int r;

        if (!json)
                printf("%s\n", path);
        r = journal_show(path, json, stdout, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        return EXIT_CODE_OK;
}

static int run(const struct invocation *invocation,
               int (*each)(const struct invocation *invocation, const char *path)) {
        _cleanup_(list_done) struct file_list list = {};
        const char *path = invocation->arguments[0];
        int code = EXIT_CODE_OK, r;

        r = list_fill(path, &list);
        if (r < 0)
                return cli_fail(invocation, EXIT_CODE_FAILED, "cannot read %s: %s", path, strerror(-r));
        if (list.count == 0)
                return cli_fail(invocation, EXIT_CODE_FAILED,
                                "there is no *" SUFFIX " in %s; they are in the state "
                                "directory, in journal/DESTINATION/",
                                path);
        for (size_t i = 0; i < list.count; i++)
                code = MAX_OF(code, each(invocation, list.paths[i]));
        return code;
}

static int run_check(const struct invocation *invocation) {
        return run(invocation, check_file);
}

static int run_show(const struct invocation *invocation) {
        return run(invocation, show_file);
}

extern const struct command command_journal_check, command_journal_show;
const struct command command_journal_check = {
        .name = "journal check",
        .arguments = "FILE|DIRECTORY",
        .summary = "Checks every record of Baton's own journals; mends nothing",
        .text = "A journal is what Baton remembers of how far it got. For a file destination it decides;\n"
                "for a database, which keeps the position itself, it only remembers. Damage is named by\n"
                "file and offset. A torn end is no damage: it is what a power cut leaves. Safe while\n"
                "Baton runs, although the last record may then look torn.",
        .argument_min = 1,
        .argument_max = 1,
        .run = run_check,
};
const struct command command_journal_show = {
        .name = "journal show",
        .arguments = "FILE|DIRECTORY",
        .summary = "Prints the records of Baton's own journals",
        .text = "One line for each record: what happened (snapshot, claim, moved, rotated, released), to\n"
                "which session, in which epoch, up to which position. With --json one object a file,\n"
                "its records in an array.",
        .options = CLI(JSON),
        .argument_min = 1,
        .argument_max = 1,
        .run = run_show,
};
