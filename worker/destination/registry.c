/* SPDX-License-Identifier: Apache-2.0 */
/* The destinations that this build has. Their option tables stand in base/option.c, which the supervisor
 * reads without linking a database library. */
#include <string.h>

#include "base/macro.h"
#include "include/baton/destination.h"

extern const struct destination_ops destination_sqlite_ops;
extern const struct destination_ops destination_file_ops;

const struct destination_ops *const destination_ops_list[] = { &destination_sqlite_ops, &destination_file_ops,
                                                               NULL };

const struct destination_ops *destination_ops_find(const char *scheme) {
        assert(scheme);

        for (const struct destination_ops *const *ops = destination_ops_list; *ops; ops++)
                if (strcmp((*ops)->scheme, scheme) == 0)
                        return *ops;
        return NULL;
}
