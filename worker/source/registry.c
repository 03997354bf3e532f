/* SPDX-License-Identifier: Apache-2.0 */
/* The sources that this build has. Their option tables stand in base/option.c, which the supervisor
 * reads without linking a database library. */
#include <string.h>

#include "base/macro.h"
#include "include/baton/source.h"

extern const struct source_ops source_sqlite_ops;

const struct source_ops *const source_ops_list[] = { &source_sqlite_ops, NULL };

const struct source_ops *source_ops_find(const char *scheme) {
        assert(scheme);

        for (const struct source_ops *const *ops = source_ops_list; *ops; ops++)
                if (strcmp((*ops)->scheme, scheme) == 0)
                        return *ops;
        return NULL;
}
