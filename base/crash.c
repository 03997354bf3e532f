/* SPDX-License-Identifier: Apache-2.0 */
/* Dies at the crash point that BATON_CRASH names. Empty in a package build.
 * Must not touch: anything before the kill; no buffer is flushed, no handler runs. */

#include "base/crash.h"

#ifdef BATON_CRASH_POINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"

void crash_point(const char *name) {
        static _Atomic unsigned long pass_count;
        const char *wanted = getenv("BATON_CRASH");
        size_t length = strlen(name);
        unsigned long wanted_pass = 1;

        assert(length > 0);

        if (!wanted || strncmp(wanted, name, length) != 0)
                return;
        if (wanted[length] == ':')
                wanted_pass = strtoul(wanted + length + 1, NULL, 10);
        else if (wanted[length] != '\0')
                return; /* "journal.K1" is not "journal.K12" */

        /* Only passes of the one point that is named are counted. */
        if (atomic_fetch_add(&pass_count, 1) + 1 != wanted_pass)
                return;
        (void) kill(getpid(), SIGKILL);
        for (;;)
                (void) pause();
}

#else

/* A translation unit must declare something. */
_Static_assert(sizeof(int) >= 4, "Baton needs 32-bit int");

#endif
