/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: what of the file system, of TCP and of other processes this process, and whatever it starts from then
 * on, may still reach. Everything that this kernel can refuse is refused but what was allowed by a rule. One way: no
 * rule can be added to a ruleset that is in force.
 *
 * A rule sticks to what stands at the path now (the inode), and holds for all that is beneath it, wherever it is moved;
 * what is made at the same path later is another one. Of paths, opening, making, removing, renaming and truncating are
 * judged; stat(), access(), readlink(), inotify and connecting to a socket that has a path are not.
 * No thread but the caller's may run: older kernels restrict the calling thread alone, and those it starts. */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "base/macro.h"

struct ruleset {
        int fd;
        uint64_t handled; /* of the file system; what older kernels do not know is not among it */
};

/* What a rule gives, beneath a directory, or on a file: the kernel's LANDLOCK_ACCESS_FS_… by number. */
#define RULESET_BIT(number) (UINT64_C(1) << (number))
#define RULESET_WRITE RULESET_BIT(1)
#define RULESET_READ RULESET_BIT(2)
#define RULESET_LIST RULESET_BIT(3) /* read a directory; open it to sync it */
#define RULESET_REMOVE RULESET_BIT(5)
#define RULESET_MAKE_FOLDER RULESET_BIT(7)
#define RULESET_MAKE RULESET_BIT(8)
#define RULESET_TRUNCATE RULESET_BIT(14) /* from the third version on; before it nobody is asked */
#define RULESET_USE \
        (RULESET_WRITE | RULESET_READ | RULESET_LIST | RULESET_REMOVE | RULESET_MAKE | RULESET_TRUNCATE)

/* 0. -ENOSYS, -EOPNOTSUPP: this kernel has no Landlock, or it was not switched on (lsm=); -EPERM: somebody's
 * system-call filter forbids it. */
int ruleset_new(struct ruleset *ret_ruleset);
void ruleset_done(struct ruleset *ruleset);
/* *ret_status is what the rule sticks to; may be NULL. -errno of open(), -ENOENT among them. */
int ruleset_allow(const struct ruleset *ruleset, const char *path, uint64_t bits, struct stat *ret_status);
/* From now on. Sets no_new_privs first, without which the kernel refuses. */
int ruleset_enforce(const struct ruleset *ruleset);
