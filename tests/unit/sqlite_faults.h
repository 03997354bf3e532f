/* SPDX-License-Identifier: Apache-2.0 */
/* A layer under SQLite that counts syncs by file and fails on demand: a disk that cannot sync, and a disk
 * that is full. It also lets somebody in at a moment that only a race would find. It is registered as the
 * default, so the code under test uses it unknowingly. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct faults {
        const char *fail_sync_of; /* end of the file's name ("-wal"), or NULL */
        const char *full_at;      /* the same: writes that make it longer fail */
        int sync_count_wal, sync_count_database, sync_count_other;
        int sync_order_wal, sync_order_database; /* the number of the last sync of each */
        int sync_count;
        void (*after_sync)(void); /* once, while the next sync has not returned yet */
        void (*after_read)(void); /* once, when the next read transaction has just ended */
};
static struct faults faults;

struct faulty_file {
        sqlite3_file base;
        const char *name;
        sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;
static sqlite3_vfs faulty_vfs;

static bool name_ends(const char *name, const char *end) {
        size_t n = name ? strlen(name) : 0, m = end ? strlen(end) : 0;

        return m > 0 && n >= m && memcmp(name + n - m, end, m) == 0;
}

static void let_in(void (**somebody)(void)) {
        void (*fn)(void) = *somebody;

        *somebody = NULL; /* what it does comes by here too */
        if (fn)
                fn();
}

static sqlite3_file *real_of(sqlite3_file *file) {
        return ((struct faulty_file *) file)->real;
}

static int f_close(sqlite3_file *file) {
        struct faulty_file *f = (struct faulty_file *) file;
        int code = f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;

        free(f->real);
        return code;
}

static int f_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset) {
        return real_of(file)->pMethods->xRead(real_of(file), data, bytes, offset);
}

static int f_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset) {
        sqlite3_int64 size = 0;

        (void) real_of(file)->pMethods->xFileSize(real_of(file), &size);
        if (name_ends(((struct faulty_file *) file)->name, faults.full_at) && offset + bytes > size)
                return SQLITE_FULL;
        return real_of(file)->pMethods->xWrite(real_of(file), data, bytes, offset);
}

static int f_truncate(sqlite3_file *file, sqlite3_int64 size) {
        return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int f_sync(sqlite3_file *file, int flags) {
        const char *name = ((struct faulty_file *) file)->name;
        int code;

        faults.sync_count++;
        if (name_ends(name, "-wal")) {
                faults.sync_count_wal++;
                faults.sync_order_wal = faults.sync_count;
        } else if (name_ends(name, ".db")) {
                faults.sync_count_database++;
                faults.sync_order_database = faults.sync_count;
        } else
                faults.sync_count_other++;
        if (name_ends(name, faults.fail_sync_of))
                return SQLITE_IOERR_FSYNC;
        code = real_of(file)->pMethods->xSync(real_of(file), flags);
        let_in(&faults.after_sync);
        return code;
}

static int f_size(sqlite3_file *file, sqlite3_int64 *ret_size) {
        return real_of(file)->pMethods->xFileSize(real_of(file), ret_size);
}

static int f_lock(sqlite3_file *file, int level) {
        return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int f_unlock(sqlite3_file *file, int level) {
        return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int f_check(sqlite3_file *file, int *ret) {
        return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret);
}

static int f_control(sqlite3_file *file, int which, void *argument) {
        return real_of(file)->pMethods->xFileControl(real_of(file), which, argument);
}

static int f_sector(sqlite3_file *file) {
        return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int f_device(sqlite3_file *file) {
        return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int f_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **ret) {
        return real_of(file)->pMethods->xShmMap(real_of(file), page, bytes, extend, ret);
}

static int f_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
        int code = real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);

        if (flags == (SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED))
                let_in(&faults.after_read);
        return code;
}

static void f_shm_barrier(sqlite3_file *file) {
        real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int f_shm_unmap(sqlite3_file *file, int remove) {
        return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static const sqlite3_io_methods faulty_methods = {
        .iVersion = 2,
        .xClose = f_close,
        .xRead = f_read,
        .xWrite = f_write,
        .xTruncate = f_truncate,
        .xSync = f_sync,
        .xFileSize = f_size,
        .xLock = f_lock,
        .xUnlock = f_unlock,
        .xCheckReservedLock = f_check,
        .xFileControl = f_control,
        .xSectorSize = f_sector,
        .xDeviceCharacteristics = f_device,
        .xShmMap = f_shm_map,
        .xShmLock = f_shm_lock,
        .xShmBarrier = f_shm_barrier,
        .xShmUnmap = f_shm_unmap,
};

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags) {
        struct faulty_file *f = (struct faulty_file *) file;
        int code;

        (void) vfs;
        *f = (struct faulty_file){ .name = name, .real = calloc(1, (size_t) real_vfs->szOsFile) };
        if (!f->real)
                return SQLITE_NOMEM;
        code = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
        if (code != SQLITE_OK) {
                free(f->real);
                return code;
        }
        f->base.pMethods = &faulty_methods;
        return SQLITE_OK;
}

__attribute__((unused)) static void faults_install(void) {
        real_vfs = sqlite3_vfs_find(NULL);
        faulty_vfs = *real_vfs;
        faulty_vfs.zName = "faulty";
        faulty_vfs.szOsFile = (int) sizeof(struct faulty_file);
        faulty_vfs.xOpen = f_open;
        (void) sqlite3_vfs_register(&faulty_vfs, 1);
}
