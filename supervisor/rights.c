/* SPDX-License-Identifier: Apache-2.0 */
/* R1: a peer has the rights of its user and groups at the moment at which it connected (SO_PEERCRED, SO_PEERGROUPS):
 * what it says of itself is never asked. Must not touch: anything else. */
#include "supervisor/rights.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macro.h"

#define GROUP_COUNT_MAX 65536u

/* A host without the group has nobody in it. */
#define GROUP_UNKNOWN ((gid_t) -1)

static gid_t group_find(const char *name) {
        const struct group *group = getgrnam(name);

        return group ? group->gr_gid : GROUP_UNKNOWN;
}

static enum right right_of_group(gid_t group) {
        static bool is_known;
        static gid_t look, work;

        if (!is_known) {
                look = group_find(RIGHTS_GROUP_LOOK);
                work = group_find(RIGHTS_GROUP_WORK);
                is_known = true;
        }
        if (group == GROUP_UNKNOWN)
                return RIGHT_NONE;
        return group == work ? RIGHT_WORK : group == look ? RIGHT_LOOK : RIGHT_NONE;
}

/* Its other groups: the kernel says with ERANGE how many bytes they take. */
static int peer_groups(int fd, enum right *right) {
        _cleanup_free_ gid_t *groups = NULL;
        socklen_t bytes = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) >= 0)
                return 0;
        if (errno != ERANGE || bytes > GROUP_COUNT_MAX * sizeof(gid_t))
                return -errno;
        groups = malloc(bytes);
        if (!groups)
                return -ENOMEM;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) < 0)
                return -errno;
        for (size_t i = 0; i < bytes / sizeof(gid_t); i++)
                *right = MAX_OF(*right, right_of_group(groups[i]));
        return 0;
}

int rights_of_socket(int fd, struct peer *ret_peer) {
        struct ucred credentials;
        socklen_t bytes = sizeof(credentials);
        enum right right;
        int r = 0;

        assert(fd >= 0 && ret_peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) < 0)
                return -errno;
        right = right_of_group(credentials.gid);
        if (credentials.uid == 0 || credentials.uid == geteuid())
                right = RIGHT_MOVE;
        else
                r = peer_groups(fd, &right);
        if (r < 0)
                return r;
        *ret_peer = (struct peer){ .pid = credentials.pid, .uid = credentials.uid, .right = right };
        return 0;
}

int rights_check(const struct peer *peer, enum right wanted, const char *what, struct failure *ret_failure) {
        const struct passwd *user;
        const char *name;

        assert(peer && what);
        assert(wanted > RIGHT_NONE);

        if (peer->right >= wanted)
                return 0;
        user = getpwuid(peer->uid);
        name = user ? user->pw_name : "your user";
        if (wanted == RIGHT_MOVE)
                return failure_set(
                        ret_failure, -EACCES, FAILURE_STOP,
                        "%s changes what is moved: only root and the user that Baton runs as may ask for it "
                        "(you are %s); try `sudo`",
                        what, name);
        return failure_set(ret_failure, -EACCES, FAILURE_STOP,
                           "%s needs group %s (you are %s): `adduser %s %s`, then log in anew", what,
                           wanted == RIGHT_WORK ? RIGHTS_GROUP_WORK : RIGHTS_GROUP_LOOK, name, name,
                           wanted == RIGHT_WORK ? RIGHTS_GROUP_WORK : RIGHTS_GROUP_LOOK);
}
