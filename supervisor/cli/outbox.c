/* SPDX-License-Identifier: Apache-2.0 */
/* `baton outbox create`: makes an outbox table for an application to insert into. The one command that
 * writes to an application's database; it changes nothing that is there already. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "include/baton/outbox.h"
#include "supervisor/cli/command.h"

/* What stands in the configuration must not depend on where somebody stood. */
static int absolute_path(const char *path, char *ret_path, size_t path_bytes) {
        _cleanup_free_ char *directory = NULL;

        if (path[0] == '/')
                return text_copy(ret_path, path_bytes, path);
        directory = getcwd(NULL, 0);
        if (!directory)
                return -errno;
        while (strncmp(path, "./", 2) == 0)
                path += 2;
        return (size_t) snprintf(ret_path, path_bytes, "%s/%s", directory, path) < path_bytes ? 0
                                                                                              : -ENAMETOOLONG;
}

static int run(const struct invocation *invocation) {
        const char *table = invocation->values[CLI_TABLE] ? invocation->values[CLI_TABLE] : "outbox";
        struct failure failure = {};
        char path[1024];
        int r;

        if (!text_is_identifier(table))
                return cli_fail(invocation, EXIT_CODE_USAGE,
                                "%s is no table name: letters, digits and _ only, at "
                                "most 63, no digit first",
                                table);
        r = absolute_path(invocation->arguments[0], path, sizeof(path));
        if (r < 0)
                return cli_fail(invocation, EXIT_CODE_FAILED, "cannot use the path %s: %s",
                                invocation->arguments[0], strerror(-r));
        r = outbox_create(path, table, &failure);
        if (r < 0)
                return cli_fail_with(invocation, EXIT_CODE_FAILED, r, &failure);
        printf("%s has the outbox %s. In the application's own transaction:\n"
               "  INSERT INTO %s (key, type, at, payload) VALUES (…);\n"
               "and in Baton's configuration:\n"
               "  [source NAME]\n"
               "  url = sqlite:%s?table=%s\n"
               "  to  = DESTINATION\n",
               path, table, table, path, table);
        return EXIT_CODE_OK;
}

extern const struct command command_outbox_create;
const struct command command_outbox_create = {
        .name = "outbox create",
        .arguments = "FILE",
        .summary = "Makes an outbox table in a SQLite database, new or existing",
        .text = "An outbox is a table that the application inserts its events into, in the same\n"
                "transaction that changes its own tables: either both are there or neither. Baton moves\n"
                "the rows from there, in the order of seq. Columns: seq (INTEGER PRIMARY KEY\n"
                "AUTOINCREMENT, given by SQLite), key, type, at, payload. If the table is there already,\n"
                "it is left as it is.",
        .options = CLI(TABLE),
        .argument_min = 1,
        .argument_max = 1,
        .run = run,
};
