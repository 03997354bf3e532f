/* SPDX-License-Identifier: Apache-2.0 */
/* Which places a configuration names, and what of them the service's user may do. Must not touch: any of them; the
 * kernel is asked by access(), as that user. */
#include "supervisor/cli/unit.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/text.h"
#include "base/url.h"

/* ---- places ------------------------------------------------------------------------------------------- */
static bool is_below(const char *path, const char *directory) {
        size_t length = strlen(directory);

        return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool is_below_any(const char *path, const char *const *directories) {
        for (; *directories; directories++)
                if (is_below(path, *directories))
                        return true;
        return false;
}

/* The directory may not be there yet: then what is given is what will be. */
static void directory_resolve(const char *given, char *ret_directory) {
        if (!realpath(given, ret_directory))
                (void) snprintf(ret_directory, PATH_MAX, "%s", given);
}

static int place_of(const char *text, struct unit_place *place, struct failure *ret_failure) {
        char path[PATH_MAX], copy[PATH_MAX];
        struct url url;
        int r;

        r = url_parse(text, &url, ret_failure);
        if (r < 0)
                return r;
        if (text_copy(path, sizeof(path), url.path) < 0 || text_copy(copy, sizeof(copy), url.path) < 0)
                return failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP, "%s: the path is too long",
                                   text);
        if (strcmp(url.scheme, "file") == 0) {
                directory_resolve(path, place->directory);
                return 0;
        }
        directory_resolve(dirname(copy), place->directory);
        (void) snprintf(place->file, sizeof(place->file), "%.*s", NAME_MAX, basename(path));
        return 0;
}

static bool is_known(const struct unit_place *places, size_t count, const struct unit_place *place) {
        for (size_t i = 0; i < count; i++)
                if (strcmp(places[i].directory, place->directory) == 0 &&
                    strcmp(places[i].file, place->file) == 0)
                        return true;
        return false;
}

int unit_places(const struct config *config, const char *state_directory, struct unit_place **ret_places,
                size_t *ret_count, struct failure *ret_failure) {
        static const char *const homes[] = { "/home", "/root", "/run/user", NULL };
        static const char *const temporary[] = { "/tmp", "/var/tmp", NULL };
        _cleanup_free_ struct unit_place *places = NULL;
        size_t count = 0;
        uint32_t total;
        int r;

        assert(config && state_directory && ret_places && ret_count);

        total = config->source_count + config->destination_count;
        places = calloc(total + 1, sizeof(*places));
        if (!places)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "out of memory");
        for (uint32_t i = 0; i < total; i++) {
                const bool is_source = i < config->source_count;
                const uint32_t other = i - config->source_count;
                struct unit_place *place = &places[count];

                place->side = is_source ? "source" : "destination";
                place->name = is_source ? config->sources[i].name : config->destinations[other].name;
                r = place_of(is_source ? config->sources[i].url : config->destinations[other].url, place,
                             ret_failure);
                if (r < 0)
                        return r;
                place->is_shared = is_source;
                place->is_own = is_below(place->directory, state_directory);
                place->is_home = is_below_any(place->directory, homes);
                place->is_hidden = place->is_home || is_below_any(place->directory, temporary);
                if (is_known(places, count, place))
                        *place = (struct unit_place){ 0 };
                else
                        count++;
        }
        *ret_places = TAKE(places);
        *ret_count = count;
        return 0;
}

/* ---- as the service's user ------------------------------------------------------------------------------ */
/* In a child of its own. */
static int become_and_ask(const struct passwd *user, const char *path, int mode) {
        if (geteuid() == 0 && user->pw_uid != 0 &&
            (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 ||
             setuid(user->pw_uid) < 0))
                return 2;
        return access(path, mode) < 0;
}

int unit_user_may(const char *user_name, const char *path, int mode) {
        const struct passwd *user = getpwnam(user_name);
        int status;
        pid_t pid;

        if (!user)
                return -ENOENT;
        if (geteuid() != 0 && geteuid() != user->pw_uid)
                return -EPERM;
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                _exit(become_and_ask(user, path, mode));
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
                return -EPERM;
        return WEXITSTATUS(status) == 0;
}
