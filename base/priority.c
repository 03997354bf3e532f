/* SPDX-License-Identifier: Apache-2.0 */
/* Nice value and slice in one call, which the C library lacks. */
#include "base/priority.h"

#include <errno.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macro.h"

#define POLICY_NORMAL 0 /* SCHED_OTHER; <sched.h> and the kernel's header cannot be included together */

static int attributes_set(struct sched_attr *attributes) {
        return syscall(SYS_sched_setattr, 0, attributes, 0) < 0 ? -errno : 0;
}

int priority_set(int nice, uint64_t slice_usec) {
        struct sched_attr attributes = { .size = sizeof(attributes), .sched_policy = POLICY_NORMAL };
        int r;

        assert(nice >= -20 && nice <= 19);
        attributes.sched_nice = nice;
        attributes.sched_runtime = slice_usec * NSEC_PER_USEC;
        r = attributes_set(&attributes);
        if (r != -EPERM && r != -EACCES)
                return r;
        attributes.sched_nice = getpriority(PRIO_PROCESS, 0); /* what it has: no favour to ask for */
        (void) attributes_set(&attributes);
        return -EPERM;
}
