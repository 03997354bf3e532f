/* SPDX-License-Identifier: Apache-2.0 */
/* `baton check --unit`: the drop-in and the commands that grant what a configuration needs, and no more. What is
 * printed can be run as it stands. Must not touch: anything; it prints. */
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macro.h"
#include "supervisor/cli/unit.h"

/* ---- quoting ------------------------------------------------------------------------------------------- */
/* For a shell: in single quotes, where it is not plain. */
static void print_word(const char *text) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@,";

        if (strspn(text, plain) == strlen(text)) {
                fputs(text, stdout);
                return;
        }
        putchar('\'');
        for (const char *c = text; *c; c++)
                if (*c == '\'')
                        fputs("'\\''", stdout);
                else
                        putchar(*c);
        putchar('\'');
}

/* For a unit file: % is a specifier, quotes and spaces need quotes (systemd.syntax(7)). */
static void print_unit_word(const char *text) {
        bool quoted = strpbrk(text, " \t\"'\\") != NULL;

        if (quoted)
                putchar('"');
        for (const char *c = text; *c; c++) {
                if (*c == '%')
                        putchar('%');
                else if (*c == '"' || *c == '\\')
                        putchar('\\');
                putchar(*c);
        }
        if (quoted)
                putchar('"');
}

/* ---- the drop-in ---------------------------------------------------------------------------------------- */
static bool is_first_of_directory(const struct unit_place *places, size_t index) {
        for (size_t i = 0; i < index; i++)
                if (strcmp(places[i].directory, places[index].directory) == 0)
                        return false;
        return !places[index].is_own;
}

static bool any_is_needed(const struct unit_place *places, size_t count) {
        for (size_t i = 0; i < count; i++)
                if (!places[i].is_own)
                        return true;
        return false;
}

static void print_drop_in(const struct unit_place *places, size_t count) {
        bool home = false;

        puts("# The drop-in: `systemctl edit baton`, or this file, then `systemctl daemon-reload`.\n"
             "mkdir -p /etc/systemd/system/baton.service.d\n"
             "cat >/etc/systemd/system/baton.service.d/paths.conf <<'END'\n"
             "[Service]");
        for (size_t i = 0; i < count; i++)
                if (is_first_of_directory(places, i)) {
                        fputs(places[i].is_hidden ? "BindPaths=" : "ReadWritePaths=", stdout);
                        print_unit_word(places[i].directory);
                        putchar('\n');
                        home |= places[i].is_home;
                }
        if (home)
                puts("# The rest of /home stays hidden.\nProtectHome=tmpfs");
        puts("END\n"
             "systemctl daemon-reload");
}

/* ---- access control lists ----------------------------------------------------------------------------------- */
static bool may_not(const char *path, int mode) {
        return unit_user_may(UNIT_USER, path, mode) != 1; /* unknown: the command does no harm */
}

/* The way there: every directory above must let the user through. */
static unsigned print_way(const char *directory) {
        char path[PATH_MAX];
        unsigned printed = 0;

        for (const char *slash = strchr(directory + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                (void) snprintf(path, sizeof(path), "%.*s", (int) (slash - directory), directory);
                if (!may_not(path, X_OK))
                        continue;
                fputs("setfacl -m u:" UNIT_USER ":x ", stdout);
                print_word(path);
                putchar('\n');
                printed++;
        }
        return printed;
}

/* What either of the two makes there the other must be able to open: that is what default entries are for. */
static unsigned print_directory(const struct unit_place *place) {
        const struct passwd *owner = NULL;
        struct stat status;
        char file[PATH_MAX + NAME_MAX + 2];

        if (!may_not(place->directory, R_OK | W_OK | X_OK) && !place->is_shared)
                return 0;
        (void) snprintf(file, sizeof(file), "%s/%s", place->directory, place->file);
        if (place->is_shared && stat(file, &status) == 0)
                owner = getpwuid(status.st_uid);
        fputs("setfacl -m u:" UNIT_USER ":rwx,d:u:" UNIT_USER ":rwx", stdout);
        if (owner && owner->pw_uid != 0 && strcmp(owner->pw_name, UNIT_USER) != 0)
                printf(",d:u:%s:rwx", owner->pw_name);
        putchar(' ');
        print_word(place->directory);
        putchar('\n');
        return 1;
}

static unsigned print_file(const struct unit_place *place, const char *suffix) {
        char path[PATH_MAX + NAME_MAX + 16];

        (void) snprintf(path, sizeof(path), "%s/%s%s", place->directory, place->file, suffix);
        if (access(path, F_OK) < 0 || !may_not(path, R_OK | W_OK))
                return 0;
        fputs("setfacl -m u:" UNIT_USER ":rw ", stdout);
        print_word(path);
        putchar('\n');
        return 1;
}

unsigned unit_print_grants(const struct unit_place *places, size_t count) {
        static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
        unsigned printed = 0;

        if (!any_is_needed(places, count)) {
                puts("# Every file of this configuration is in the service's own directory: nothing is to be granted.");
                return 0;
        }
        print_drop_in(places, count);
        puts("# Rights of the service's user, by access control lists (package acl).");
        for (size_t i = 0; i < count; i++) {
                if (places[i].is_own)
                        continue;
                printf("# %s %s\n", places[i].side, places[i].name);
                if (is_first_of_directory(places, i))
                        printed += print_way(places[i].directory) + print_directory(&places[i]);
                for (size_t j = 0; places[i].file[0] && j < ELEMENTSOF(suffixes); j++)
                        printed += print_file(&places[i], suffixes[j]);
        }
        return printed;
}
