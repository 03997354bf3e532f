/* SPDX-License-Identifier: Apache-2.0 */
/* Where Baton keeps what lasts (STATE) and what a boot may lose (RUNTIME).
 * Must not touch: what is inside them. */

#include "base/directories.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/io.h"
#include "base/text.h"

/* One of the two: what it is called, and where it comes from. */
struct place {
        const char *what, *option_name, *environment, *fallback;
        size_t bytes_max; /* of the path, without NUL */
};

/* The runtime directory holds sockets: "/control" behind it must still fit into a socket's address. */
static const struct place places[] = {
        { "state directory", "--state", "STATE_DIRECTORY", "/var/lib/baton",
          sizeof(((struct directories *) NULL)->state) - 1 },
        { "runtime directory", "--runtime", "RUNTIME_DIRECTORY", "/run/baton",
          sizeof(((struct sockaddr_un *) NULL)->sun_path) - sizeof("/control") },
};

/* Makes the path absolute and takes slashes off its end. Several processes use it, with working
 * directories of their own. */
static int place_resolve(const struct place *place, const char *option, char *ret_path, size_t path_bytes,
                         struct failure *ret_failure) {
        const char *given = option ? option : getenv(place->environment);
        _cleanup_free_ char *path = NULL;
        size_t length;

        if (!given || (!option && !*given))
                given = place->fallback;
        if (!*given)
                return failure_set(ret_failure, -EINVAL, FAILURE_STOP, "%s is empty: give the %s as a path",
                                   place->option_name, place->what);
        length = option ? strlen(given) : strcspn(given, ":"); /* systemd's list: the first */

        if (*given == '/')
                path = strndup(given, length);
        else {
                _cleanup_free_ char *here = getcwd(NULL, 0);

                if (!here)
                        return failure_set(ret_failure, -errno, FAILURE_STOP,
                                           "cannot resolve the %s %.*s: the working directory: %m; give an "
                                           "absolute path with %s",
                                           place->what, (int) length, given, place->option_name);
                if (asprintf(&path, "%s/%.*s", here, (int) length, given) < 0)
                        path = NULL;
        }
        if (!path)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "out of memory");

        for (length = strlen(path); length > 1 && path[length - 1] == '/'; length--)
                path[length - 1] = '\0';
        if (length > place->bytes_max)
                return failure_set(ret_failure, -ENAMETOOLONG, FAILURE_STOP,
                                   "the %s %.80s… has %zu bytes and may have %zu: choose a shorter path "
                                   "with %s",
                                   place->what, path, length, place->bytes_max, place->option_name);
        assert(length < path_bytes);
        memcpy(ret_path, path, length + 1);
        return 0;
}

int directories_resolve(const char *state_option, const char *runtime_option,
                        struct directories *ret_directories, struct failure *ret_failure) {
        struct directories directories;
        int r;

        assert(ret_directories);

        r = place_resolve(&places[0], state_option, directories.state, sizeof directories.state, ret_failure);
        if (r < 0)
                return r;
        r = place_resolve(&places[1], runtime_option, directories.runtime, sizeof directories.runtime,
                          ret_failure);
        if (r < 0)
                return r;
        *ret_directories = directories;
        return 0;
}

static int place_use(const struct place *place, const char *path, struct failure *ret_failure) {
        int r;

        if (access(path, R_OK | W_OK | X_OK) == 0)
                return 0;
        r = -errno;
        return failure_set(ret_failure, r, failure_kind_of_errno(r),
                           "cannot use the %s %s: %s; give this user read and write permission, or "
                           "another path with %s",
                           place->what, path, strerror(-r), place->option_name);
}

static int place_make_fails(const struct place *place, const char *path, int r, struct failure *ret_failure) {
        if (r == -ENOTDIR)
                return failure_set(ret_failure, r, FAILURE_STOP,
                                   "cannot make the %s %s: something that is no directory stands there; "
                                   "remove it or give another path with %s",
                                   place->what, path, place->option_name);
        return failure_set(ret_failure, r, failure_kind_of_errno(r),
                           "cannot make the %s %s: %s; make it by hand, or give another path with %s",
                           place->what, path, strerror(-r), place->option_name);
}

int directories_check_state(const struct directories *directories, struct failure *ret_failure) {
        char path[sizeof directories->state];
        struct stat st;
        char *slash;

        assert(directories);

        if (stat(directories->state, &st) == 0)
                return S_ISDIR(st.st_mode)
                               ? place_use(&places[0], directories->state, ret_failure)
                               : place_make_fails(&places[0], directories->state, -ENOTDIR, ret_failure);
        (void) text_copy(path, sizeof path, directories->state);
        while (path[0] != '\0' && stat(path, &st) < 0 && errno == ENOENT) { /* up to what is there */
                slash = strrchr(path, '/');
                (slash ? slash : path)[0] = '\0';
        }
        if (access(path[0] ? path : directories->state[0] == '/' ? "/" : ".", W_OK | X_OK) == 0)
                return 0;
        return place_make_fails(&places[0], directories->state, -errno, ret_failure);
}

static int place_prepare(const struct place *place, const char *path, struct failure *ret_failure) {
        int r = dir_make(path, 0750);

        if (r < 0)
                return place_make_fails(place, path, r, ret_failure);
        return place_use(place, path, ret_failure);
}

int directories_prepare(const struct directories *directories, bool *ret_runtime_is_tmpfs,
                        struct failure *ret_failure) {
        struct statfs status;
        int r;

        assert(directories);

        r = place_prepare(&places[0], directories->state, ret_failure);
        if (r < 0)
                return r;
        r = place_prepare(&places[1], directories->runtime, ret_failure);
        if (r < 0)
                return r;
        if (statfs(directories->runtime, &status) < 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot examine the runtime directory %s: %s", directories->runtime,
                                   strerror(-r));
        }
        if (ret_runtime_is_tmpfs)
                *ret_runtime_is_tmpfs = status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
        return 0;
}
