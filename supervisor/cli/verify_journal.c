/* SPDX-License-Identifier: Apache-2.0 */
/* What Baton's journals say of a session, as verify reads them. Of a file destination they are the
 * authority (M3). Of a database they only remember, and are never ahead (M1): where one saw more durable
 * than the database holds, the database is an older copy of itself, however well it agrees with the source.
 * Must not touch: a byte of a journal; a torn tail stays (J5). */
#include <errno.h>
#include <string.h>

#include "supervisor/cli/format.h"
#include "supervisor/cli/instance.h"
#include "supervisor/cli/verify.h"

int verify_journal(const char *state_directory, const char *destination, const char *session,
                   struct journal_entry *ret_entry, struct failure *ret_failure) {
        struct journal_table *table;
        uint8_t instance[INSTANCE_BYTES];
        int r;

        assert(state_directory && destination && session && ret_entry);

        r = instance_read(state_directory, instance, ret_failure);
        if (r < 0)
                return r;
        table = must_have(journal_table_new(true));
        r = journal_table_load(state_directory, destination, instance, false, &table, ret_failure);
        if (r >= 0) {
                r = journal_table_find(table, session, ret_entry, ret_failure);
                r = r == -ENOENT ? 0 : r < 0 ? r : 1;
        }
        journal_table_free(table);
        /* A damaged journal does not say that source and destination differ. */
        return r == -EBADMSG ? -EUCLEAN : r;
}

void verify_memory_read(const char *state_directory, const char *destination, const char *session,
                        struct verify_memory *ret_memory) {
        struct verify_memory memory = {};
        struct journal_entry entry;
        int r;

        r = verify_journal(state_directory, destination, session, &entry, &memory.failure);
        memory.is_read = r >= 0;
        if (r > 0) {
                memory.position = entry.checkpoint.position;
                (void) text_copy(memory.file_name, sizeof(memory.file_name), entry.file_name);
        }
        *ret_memory = memory;
}

void verify_memory_compare(const struct verify_memory *memory, struct verify_result *result) {
        result->memory = *memory;
        result->is_behind = memory->is_read && memory->position > result->checkpoint.position;
}
