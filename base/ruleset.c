/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock's three system calls, which the C library has no functions for. Must not touch: what the rules mean. */
#include "base/ruleset.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"

/* By the version of the interface, whatever header this was built with: Debian 12's knows the second. */
static const uint64_t files_of_abi[] = {
        [1] = (UINT64_C(1) << 13) - 1,
        [2] = (UINT64_C(1) << 14) - 1, /* REFER: rename into another directory */
        [3] = (UINT64_C(1) << 15) - 1, /* TRUNCATE */
        [4] = (UINT64_C(1) << 15) - 1,
        [5] = (UINT64_C(1) << 16) - 1, /* IOCTL_DEV */
};
#define TCP_ABI 4
#define TCP_BITS UINT64_C(3) /* BIND, CONNECT */
#define SCOPE_ABI 6
#define SCOPE_BITS UINT64_C(3) /* abstract sockets, signals: within the ruleset's own processes alone */
/* What a rule on a file may give: these, and to execute it and to talk to its device. */
#define FILE_BITS (RULESET_WRITE | RULESET_READ | RULESET_TRUNCATE | RULESET_BIT(0) | RULESET_BIT(15))

/* An older kernel takes the larger struct where what it does not know is zero. */
struct attributes {
        uint64_t files, tcp, scopes;
};

static_assert((RULESET_USE & ~RULESET_TRUNCATE) ==
                      (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
                       LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                       LANDLOCK_ACCESS_FS_MAKE_REG),
              "the kernel's numbers");
static_assert(RULESET_READ == LANDLOCK_ACCESS_FS_READ_FILE && RULESET_LIST == LANDLOCK_ACCESS_FS_READ_DIR &&
                      RULESET_MAKE_FOLDER == LANDLOCK_ACCESS_FS_MAKE_DIR,
              "the kernel's numbers");

int ruleset_new(struct ruleset *ret_ruleset) {
        const long abi_most = ELEMENTSOF(files_of_abi) - 1;
        struct attributes attributes;
        long abi, fd;

        assert(ret_ruleset);

        abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        if (abi < 0)
                return -errno;
        if (abi < 1)
                return -EOPNOTSUPP;
        attributes = (struct attributes){
                .files = files_of_abi[abi < abi_most ? abi : abi_most],
                .tcp = abi >= TCP_ABI ? TCP_BITS : 0,
                .scopes = abi >= SCOPE_ABI ? SCOPE_BITS : 0,
        };
        fd = syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes,
                     0); /* close-on-exec by itself */
        if (fd < 0)
                return -errno;
        *ret_ruleset = (struct ruleset){ .fd = (int) fd, .handled = attributes.files };
        return 0;
}

void ruleset_done(struct ruleset *ruleset) {
        fd_close(&ruleset->fd);
}

int ruleset_allow(const struct ruleset *ruleset, const char *path, uint64_t bits, struct stat *ret_status) {
        _cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule;
        struct stat status;

        assert(ruleset->fd >= 0);

        if (fd < 0 || fstat(fd, &status) < 0)
                return -errno;
        rule = (struct landlock_path_beneath_attr){
                .allowed_access = bits & ruleset->handled &
                                  (S_ISDIR(status.st_mode) ? UINT64_MAX : FILE_BITS),
                .parent_fd = fd,
        };
        if (syscall(SYS_landlock_add_rule, ruleset->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
                return -errno;
        if (ret_status)
                *ret_status = status;
        return 0;
}

int ruleset_enforce(const struct ruleset *ruleset) {
        assert(ruleset->fd >= 0);

        if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0 ||
            syscall(SYS_landlock_restrict_self, ruleset->fd, 0) < 0)
                return -errno;
        return 0;
}
