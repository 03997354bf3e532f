/* SPDX-License-Identifier: Apache-2.0 */
/* R1 and R3 (rights.h). Must not touch: anything but what the kernel, or the bus, says of a peer. */
#include "supervisor/rights.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static enum right right_of(uid_t user, const gid_t *groups, size_t count) {
        enum right right = RIGHT_NONE;

        if (user == 0 || user == geteuid())
                return RIGHT_MOVE;
        for (size_t i = 0; i < count; i++)
                right = MAX_OF(right, right_of_group(groups[i]));
        return right;
}

/* ---- of a socket ---------------------------------------------------------------------------------------- */
/* Its other groups: the kernel says with ERANGE how many bytes they take. *ret_groups is NULL where there are none. */
static int peer_groups(int fd, gid_t **ret_groups, size_t *ret_count) {
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
        *ret_count = bytes / sizeof(gid_t);
        *ret_groups = TAKE(groups);
        return 0;
}

int rights_of_socket(int fd, struct peer *ret_peer) {
        _cleanup_free_ gid_t *groups = NULL;
        struct ucred credentials;
        socklen_t bytes = sizeof(credentials);
        enum right right;
        size_t count = 0;
        int r = 0;

        assert(fd >= 0 && ret_peer);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) < 0)
                return -errno;
        right = right_of(credentials.uid, &credentials.gid, 1);
        if (right < RIGHT_MOVE)
                r = peer_groups(fd, &groups, &count);
        if (r < 0)
                return r;
        if (groups)
                right = MAX_OF(right, right_of(credentials.uid, groups, count));
        *ret_peer = (struct peer){ .pid = credentials.pid, .uid = credentials.uid, .right = right };
        return 0;
}

/* ---- of a bus ------------------------------------------------------------------------------------------- */
/* One entry of the dictionary; what is not asked for is stepped over. */
static int read_credential(sd_bus_message *message, struct peer *peer, bool *has_user, const gid_t **groups,
                           size_t *bytes) {
        uint32_t number = 0;
        const char *name;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;
        if (strcmp(name, "UnixUserID") == 0) {
                r = sd_bus_message_read(message, "v", "u", &number);
                peer->uid = number;
                *has_user = true;
        } else if (strcmp(name, "ProcessID") == 0) {
                r = sd_bus_message_read(message, "v", "u", &number);
                peer->pid = (pid_t) number;
        } else if (strcmp(name, "UnixGroupIDs") == 0) {
                r = sd_bus_message_enter_container(message, 'v', "au");
                if (r >= 0)
                        r = sd_bus_message_read_array(message, 'u', (const void **) groups, bytes);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        } else
                r = sd_bus_message_skip(message, "v");
        return r;
}

int rights_of_bus(sd_bus_message *credentials, struct peer *ret_peer) {
        const gid_t *groups = NULL;
        struct peer peer = {};
        bool has_user = false;
        size_t bytes = 0;
        int r;

        static_assert(sizeof(gid_t) == sizeof(uint32_t), "an array of the message is one of groups");
        assert(credentials && ret_peer);

        r = sd_bus_message_enter_container(credentials, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(credentials, 'e', "sv")) > 0) {
                r = read_credential(credentials, &peer, &has_user, &groups, &bytes);
                if (r >= 0)
                        r = sd_bus_message_exit_container(credentials);
        }
        if (r < 0)
                return r;
        if (!has_user)
                return -ENODATA;
        peer.right = right_of(peer.uid, groups, bytes / sizeof(gid_t));
        if (peer.right == RIGHT_NONE && !groups)
                return -ENODATA;
        *ret_peer = peer;
        return 0;
}

/* ---- what is missing ------------------------------------------------------------------------------------ */
/* As this host's own file has it, else the number: anybody may cause this, and the C library's look-up may ask a
 * server, which may not answer (V12). */
static const char *user_name(uid_t uid, char *buffer, size_t bytes) {
        FILE *file = fopen("/etc/passwd", "re");
        const struct passwd *user;

        (void) snprintf(buffer, bytes, "user %u", uid);
        while (file && (user = fgetpwent(file)))
                if (user->pw_uid == uid) {
                        (void) snprintf(buffer, bytes, "%s", user->pw_name);
                        break;
                }
        if (file)
                (void) fclose(file);
        return buffer;
}

int rights_check(const struct peer *peer, enum right wanted, const char *what, struct failure *ret_failure) {
        char name[64];

        assert(peer && what);
        assert(wanted > RIGHT_NONE);

        if (peer->right >= wanted)
                return 0;
        (void) user_name(peer->uid, name, sizeof name);
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
