/* SPDX-License-Identifier: Apache-2.0 */
/* Unlinks journals that nobody needs any more (J8).
 *
 * A dead writer's file goes when each of its sessions has a better record in a sound file of another,
 * one that its writer has surely synced: a record that another follows in a synced file, or one that
 * was in the file at its birth. The last record of a file may be one whose sync failed, which a fresh
 * descriptor is not told (M7), so it does not count. The best such record of a session is superseded
 * by nobody, so its file stays, in whatever order files go and whoever is killed in between.
 *   K11  die before an unlink   nothing has changed.
 *   K12  die after an unlink    one file less; the next collection goes on.
 * Must not touch: a file whose lock is held, a damaged, foreign or unknown one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/io.h"
#include "worker/journal/disk.h"
#include "worker/journal/table.h"

#define COLLECT_LOCK_NAME "collect.lock"

static void table_freep(struct journal_table **table) {
        journal_table_free(*table);
}

static void directory_close(DIR **directory) {
        if (*directory)
                (void) closedir(*directory);
}

/* Unlinks the file if nobody holds its lock and it is the one that was judged (NULL: any). */
static int unlink_dead(int dir_fd, const char *name, const struct stat *judged) {
        _cleanup_fd_ int fd = -1;
        struct stat opened, named;
        int r;

        r = journal_disk_open(dir_fd, name, O_RDONLY, &fd);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        if (journal_disk_lock(fd, true) < 0)
                return 0;
        if (fstat(fd, &opened) < 0 || fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (opened.st_ino != named.st_ino || opened.st_dev != named.st_dev)
                return 0;
        if (judged && (opened.st_ino != judged->st_ino || opened.st_dev != judged->st_dev ||
                       opened.st_size != judged->st_size))
                return 0;
        CRASH_POINT("journal.K11");
        r = journal_disk_unlink(dir_fd, name);
        if (r < 0)
                return r;
        CRASH_POINT("journal.K12");
        return 0;
}

static bool is_superseded(const struct journal_table *table, const struct journal_file *file) {
        if (!file->is_dead)
                return false;
        if (file->verdict == JOURNAL_UNBORN)
                return true;
        if (file->verdict != JOURNAL_GO_ON || file->damage_offset != 0)
                return false;
        for (uint32_t i = 0; i < file->sessions.entry_count; i++)
                if (!journal_table_supersedes(table, file->name,
                                              &file->sessions.entries[i].record.checkpoint))
                        return false;
        return true;
}

static int collect_superseded(const struct journal_table *table, int dir_fd) {
        int r;

        for (size_t i = 0; i < table->file_count; i++) {
                if (!is_superseded(table, &table->files[i]))
                        continue;
                r = unlink_dead(dir_fd, table->files[i].name, &table->files[i].stat);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Files that died before they had a name. One that is being born is locked, or is missed by its maker
 * at the rename, which then makes another (birth.c). */
static int collect_unborn(int dir_fd) {
        _cleanup_(directory_close) DIR *directory = NULL;
        struct dirent *entry;
        int fd, r;

        r = journal_disk_open(dir_fd, ".", O_RDONLY | O_DIRECTORY, &fd);
        if (r < 0)
                return r;
        directory = fdopendir(fd);
        if (!directory) {
                fd_close(&fd);
                return -ENOMEM;
        }
        while (errno = 0, (entry = readdir(directory))) {
                if (!journal_name_is_new(entry->d_name))
                        continue;
                r = unlink_dead(dir_fd, entry->d_name, NULL);
                if (r < 0)
                        return r;
        }
        return -errno;
}

int journal_collect(const char *state_directory, const char *destination, const uint8_t *instance) {
        _cleanup_(table_freep) struct journal_table *table = NULL;
        _cleanup_fd_ int dir_fd = -1, lock_fd = -1;
        _cleanup_free_ char *path = NULL;
        struct failure failure = { 0 };
        int r;

        r = journal_place_path(state_directory, destination, &path, NULL);
        if (r < 0)
                return r;
        r = journal_disk_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, &dir_fd);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = journal_disk_open(dir_fd, COLLECT_LOCK_NAME, O_RDWR | O_CREAT, &lock_fd);
        if (r < 0)
                return r;
        r = journal_disk_lock(lock_fd, true);
        if (r < 0)
                return r == -EWOULDBLOCK ? 0 : r; /* another is at it: nothing left to do */

        table = journal_table_new(true);
        if (!table)
                return -ENOMEM;
        r = journal_table_load(state_directory, destination, instance, true, &table, &failure);
        if (r < 0)
                return failure.kind == FAILURE_SYNC ? -EUCLEAN : r;
        /* The names of those that supersede must be as durable as what they hold. */
        r = journal_disk_dirsync(dir_fd);
        if (r < 0)
                return r;
        r = collect_superseded(table, dir_fd);
        if (r < 0)
                return r;
        return collect_unborn(dir_fd);
}
