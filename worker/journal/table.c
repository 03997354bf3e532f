/* SPDX-License-Identifier: Apache-2.0 */
/* The best record of a session over all journals of a destination (J2, J4).
 *
 * Each file keeps a hash of its own; a find asks each, so it costs the number of files (one a worker,
 * and a few dead ones) and not of sessions, and a file that changes or goes costs nobody else.
 * Must not touch: what file.c does not. */
#include "worker/journal/table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macro.h"
#include "worker/journal/disk.h"

#define LOAD_ATTEMPTS_MAX 16u

static void directory_close(DIR **directory) {
        if (*directory)
                (void) closedir(*directory);
}

/* ---- files ----------------------------------------------------------------------------------- */

static struct journal_file *table_file(struct journal_table *table, const char *name) {
        for (size_t i = 0; i < table->file_count; i++)
                if (strcmp(table->files[i].name, name) == 0)
                        return &table->files[i];
        return NULL;
}

static int table_add_file(struct journal_table *table, const char *name, struct journal_file **ret_file) {
        struct journal_file *file, *files;
        size_t capacity;
        int r;

        file = table_file(table, name);
        if (!file) {
                if (table->file_count == table->file_capacity) {
                        capacity = table->file_capacity ? table->file_capacity * 2 : 8;
                        files = reallocarray(table->files, capacity, sizeof *files);
                        if (!files)
                                return -ENOMEM;
                        table->files = files;
                        table->file_capacity = capacity;
                }
                file = &table->files[table->file_count];
                *file = (struct journal_file){ .last_index = UINT32_MAX };
                r = text_copy(file->name, sizeof file->name, name);
                if (r < 0)
                        return r;
                table->file_count++;
        }
        *ret_file = file;
        return 0;
}

static void table_drop_absent(struct journal_table *table) {
        size_t kept = 0;

        for (size_t i = 0; i < table->file_count; i++) {
                if (!table->files[i].is_present) {
                        journal_file_done(&table->files[i]);
                        continue;
                }
                if (kept != i)
                        table->files[kept] = table->files[i];
                kept++;
        }
        table->file_count = kept;
}

/* ---- load ------------------------------------------------------------------------------------ */

/* Looks at every file that the directory names. *ret_again: one of them was gone when its turn came;
 * what superseded it may have been looked at too early, so everything is looked at once more. */
static int look_at_all(struct journal_table *table, const struct journal_look *look, bool *ret_again,
                       struct failure *ret_failure) {
        _cleanup_(directory_close) DIR *directory = NULL;
        struct journal_file *file;
        struct dirent *entry;
        int fd, r;

        r = journal_disk_open(look->dir_fd, ".", O_RDONLY | O_DIRECTORY, &fd);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "journal directory %s: %s",
                                   look->directory, strerror(-r));
        directory = fdopendir(fd);
        if (!directory) {
                fd_close(&fd);
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "journal: out of memory");
        }

        for (size_t i = 0; i < table->file_count; i++)
                table->files[i].is_present = false;
        *ret_again = false;
        while (errno = 0, (entry = readdir(directory))) {
                if (!journal_name_is_journal(entry->d_name))
                        continue;
                r = table_add_file(table, entry->d_name, &file);
                if (r < 0)
                        return failure_set(ret_failure, r, FAILURE_UNAVAILABLE, "journal: out of memory");
                r = journal_file_look(file, look, ret_failure);
                if (r < 0 && r != -ENOENT)
                        return r;
                file->is_present = r >= 0;
                *ret_again |= r == -ENOENT;
        }
        if (errno != 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "journal directory %s: %s",
                                   look->directory, strerror(-r));
        }
        return 0;
}

static int table_load(struct journal_table *table, struct journal_look *look, struct failure *ret_failure) {
        _cleanup_fd_ int dir_fd = -1;
        bool again = true;
        int r;

        table->findings.count = 0;
        r = journal_disk_open(AT_FDCWD, table->directory, O_RDONLY | O_DIRECTORY, &dir_fd);
        if (r == -ENOENT) {
                for (size_t i = 0; i < table->file_count; i++)
                        table->files[i].is_present = false;
                table_drop_absent(table);
                return 0;
        }
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "journal directory %s cannot be "
                                   "opened: %s",
                                   table->directory, strerror(-r));
        look->dir_fd = dir_fd;
        for (unsigned attempts = 0; again; attempts++) {
                if (attempts == LOAD_ATTEMPTS_MAX)
                        return failure_set(ret_failure, -EAGAIN, FAILURE_UNAVAILABLE,
                                           "journal directory %s "
                                           "changes faster than it can be read",
                                           table->directory);
                r = look_at_all(table, look, &again, ret_failure);
                if (r < 0)
                        return r;
        }
        table_drop_absent(table);
        return 0;
}

struct journal_table *journal_table_new(bool leave_tails) {
        struct journal_table *table;

        table = calloc(1, sizeof *table);
        if (table)
                table->leave_tails = leave_tails;
        return table;
}

int journal_table_load(const char *state_directory, const char *destination, const uint8_t *instance,
                       bool sync, struct journal_table **table, struct failure *ret_failure) {
        _cleanup_free_ char *path = NULL;
        struct journal_look look;
        int r;

        assert(instance);
        assert(table);

        r = journal_place_path(state_directory, destination, &path, ret_failure);
        if (r < 0)
                return r;
        if (!*table)
                *table = journal_table_new(false);
        if (!*table)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "journal: out of memory");
        if (!(*table)->directory)
                (*table)->directory = TAKE(path);
        else
                assert(strcmp((*table)->directory, path) == 0);

        look = (struct journal_look){
                .dir_fd = -1,
                .directory = (*table)->directory,
                .instance = instance,
                .destination = destination,
                .sync = sync,
                .leave_tails = (*table)->leave_tails,
                .scan = &(*table)->scan,
                .findings = &(*table)->findings,
        };
        return table_load(*table, &look, ret_failure);
}

void journal_table_free(struct journal_table *table) {
        if (!table)
                return;
        for (size_t i = 0; i < table->file_count; i++)
                journal_file_done(&table->files[i]);
        free(table->files);
        free(table->directory);
        free(table);
}

uint32_t journal_table_finding_count(const struct journal_table *table) {
        return table->findings.count;
}

const char *journal_table_finding(const struct journal_table *table, uint32_t index) {
        assert(index < table->findings.count);

        if (index >= JOURNAL_FINDING_COUNT_MAX)
                return "and more; see `baton journal check`";
        return table->findings.texts[index];
}

/* ---- find ------------------------------------------------------------------------------------ */

static int fail_damaged(const struct journal_table *table, const struct journal_file *file,
                        const char *session, const char *reason, uint64_t offset,
                        struct failure *ret_failure) {
        return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                           "journal %s/%s, byte %" PRIu64
                           ": %s; the checkpoint of session %s is therefore not "
                           "certain: see `baton journal check %s/%s`, and move that file away only to go on "
                           "without what it says",
                           table->directory, file->name, offset, reason, session, table->directory,
                           file->name);
}

/* 0 if what this file says, or could have said, of the session is certain. */
static int check_certain(const struct journal_table *table, const struct journal_file *file,
                         const char *session, const struct journal_known *known,
                         struct failure *ret_failure) {
        uint64_t damage_offset = journal_file_damage_of(file, known);
        char reason[JOURNAL_REASON_BYTES];

        if (file->verdict == JOURNAL_OTHER_VERSION)
                return failure_set(ret_failure, -EPROTONOSUPPORT, FAILURE_STOP,
                                   "journal %s/%s, byte %" PRIu64
                                   ": %s; session %s needs the Baton that wrote it",
                                   table->directory, file->name, file->reason_offset,
                                   journal_refusal(file->header.version, file->reason, reason), session);
        if (file->verdict == JOURNAL_DAMAGED || (file->verdict == JOURNAL_FOREIGN && known))
                return fail_damaged(table, file, session, file->reason, file->reason_offset, ret_failure);
        if (damage_offset != 0)
                return fail_damaged(table, file, session, file->damage_reason, damage_offset, ret_failure);
        return 0;
}

int journal_table_find(const struct journal_table *table, const char *session,
                       struct journal_entry *ret_entry, struct failure *ret_failure) {
        const struct journal_file *best_file = NULL;
        const struct journal_known *best = NULL;
        int r, order;

        assert(table);
        assert(session);

        for (size_t i = 0; i < table->file_count; i++) {
                const struct journal_file *file = &table->files[i];
                const struct journal_known *known = journal_map_find(&file->sessions, session);

                r = check_certain(table, file, session, known, ret_failure);
                if (r < 0)
                        return r;
                if (!known)
                        continue;
                order = best ? journal_checkpoint_compare(&known->record.checkpoint, &best->record.checkpoint)
                             : 1;
                /* The same record twice says the same twice; the name makes the choice the same each time. */
                if (order < 0 || (order == 0 && strcmp(file->name, best_file->name) < 0))
                        continue;
                best = known;
                best_file = file;
        }
        if (!best)
                return -ENOENT; /* an answer, not a failure */

        *ret_entry = (struct journal_entry){
                .checkpoint = best->record.checkpoint,
                .type = best->record.type,
        };
        memcpy(ret_entry->file_name, best_file->name, sizeof ret_entry->file_name);
        return 0;
}

bool journal_table_supersedes(const struct journal_table *table, const char *except_name,
                              const struct checkpoint *checkpoint) {
        for (size_t i = 0; i < table->file_count; i++) {
                const struct journal_file *file = &table->files[i];
                const struct journal_known *known;

                if (!journal_file_is_sound(file) || strcmp(file->name, except_name) == 0)
                        continue;
                known = journal_map_find(&file->sessions, checkpoint->session);
                if (!known || !known->has_proven)
                        continue;
                if (known->proven_epoch > checkpoint->epoch ||
                    (known->proven_epoch == checkpoint->epoch &&
                     known->proven_position > checkpoint->position))
                        return true;
        }
        return false;
}
