/* SPDX-License-Identifier: Apache-2.0 */
/* Disks: one that is full and has room again, one whose syncs and writes fail for a while, and sources whose
 * directory is moved away and back.
 *
 * The full one is a tmpfs in a mount namespace of our own, so that nobody else sees it and it goes with us. The
 * failing one is prove/preload/faults.c: calls fail, nothing else is touched.
 * Must not touch: a file system that is not the run's own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "prove/torture/torture.h"

#define SMALL_MIB_LEAST 48u
#define BIT(index) (1U << (index))
#define BALLAST "small/ballast"

/* ---- full ------------------------------------------------------------------------------------------ */
/* Before the first child is started: they all must see it. */
bool harm_disk_full_available(struct torture *torture, char *ret_reason, size_t bytes) {
        const char *small = world_path(&torture->world, "small");
        char options[64];

        (void) mkdir(small, 0750);
        if (geteuid() != 0) {
                (void) snprintf(ret_reason, bytes, "only root may mount a small file system");
                return false;
        }
        (void) snprintf(options, sizeof(options), "size=%um,mode=0750",
                        SMALL_MIB_LEAST + torture->seconds / 4);
        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", small, "tmpfs", 0, options) < 0) {
                (void) snprintf(ret_reason, bytes, "no small file system can be mounted: %s",
                                strerror(errno));
                return false;
        }
        return true;
}

/* What others free meanwhile is taken as well. */
void harm_disk_full_turn(struct torture *torture) {
        static const char zeros[65536];
        _cleanup_fd_ int fd = open(world_path(&torture->world, BALLAST),
                                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        for (size_t step = sizeof(zeros); fd >= 0 && step >= 512; step /= 2)
                while (write(fd, zeros, step) > 0)
                        ;
}

enum harm_result harm_disk_full(struct torture *torture, const struct action *action) {
        (void) action;
        harm_disk_full_turn(torture);
        torture->concerned = 0;
        for (size_t i = 0; i < TARGET_COUNT; i++)
                torture->concerned |= targets[i].is_small ? BIT(i) : 0;
        return HARM_DONE;
}

void harm_disk_full_end(struct torture *torture, const struct action *action) {
        (void) action;
        (void) unlink(world_path(&torture->world, BALLAST));
}

/* What stood there would be gone with the namespace. */
void harm_disk_done(struct torture *torture, bool keeps_files) {
        if (torture->harms[HARM_DISK_FULL].is_missing)
                return;
        if (keeps_files)
                world_shell(&torture->world, "rm -f " BALLAST "; cp -a small small-kept");
        (void) umount2(world_path(&torture->world, "small"), MNT_DETACH);
}

/* ---- failing --------------------------------------------------------------------------------------- */
struct fault {
        const char *rule; /* CALL ACTION; what the preload knows */
        const char *place;
        unsigned target_bits; /* what fails there may stop its sessions until adopted (M6) */
        unsigned origin_bits; /* a sync that fails there does (M7) */
};

static const struct fault faults[] = {
        { "sync EIO", "*/fused.db-wal", 0, 0 },
        { "sync EIO", "*/fused.db", 0, 0 },
        { "sync EIO", "*/rows.db*", 0, 0 },
        { "sync EIO", "*/files/*", 0, 0 },
        { "sync EIO", "*/small/lines/*", 0, 0 },
        { "sync EIO", "*/state/journal/*", 0, 0 },
        { "sync EIO", "*/state/*", BIT(TARGET_FILES) | BIT(TARGET_LINES), 0 },
        { "sync EIO", "*/erased.db*", 0, BIT(ORIGIN_ERASED) },
        { "sync EIO", "*/shared.db*", 0, BIT(ORIGIN_SHARED) },
        { "sync EIO", "*/noted.db-wal", 0, BIT(ORIGIN_NOTED) },
        { "write ENOSPC", "*/fused.db-wal", 0, 0 },
        { "write ENOSPC", "*/fused.db", 0, 0 },
        { "write ENOSPC", "*/rows.db*", 0, 0 },
        { "write ENOSPC", "*/files/*", 0, 0 },
        { "write ENOSPC", "*/state/journal/*", 0, 0 },
        { "write EIO", "*/fused.db-wal", 0, 0 },
        { "write EIO", "*/rows.db-wal", 0, 0 },
        { "write EIO", "*/state/journal/*", 0, 0 },
        { "write EIO", "*/files/*.jsonl", BIT(TARGET_FILES), 0 },
        { "write EIO", "*/small/lines/*.jsonl", BIT(TARGET_LINES), 0 },
};

enum harm_result harm_disk_fails(struct torture *torture, const struct action *action) {
        static const unsigned counts[] = { 0, 0, 1, 2, 5 };
        const struct fault *fault = &faults[action->picks[0] % ELEMENTSOF(faults)];
        unsigned count = counts[action->picks[1] % ELEMENTSOF(counts)];
        char rule[128];

        (void) snprintf(rule, sizeof(rule), "%s %u %s\n", fault->rule, count, fault->place);
        for (size_t i = 0; i < TARGET_COUNT; i++)
                torture->targets[i].write_failed |= (fault->target_bits & BIT(i)) != 0;
        for (size_t i = 0; i < ORIGIN_COUNT; i++)
                torture->origins[i].sync_failed |= (fault->origin_bits & BIT(i)) != 0;
        world_faults(&torture->world, rule);
        (void) snprintf(torture->said, sizeof(torture->said), "%s on %s, %u times (0: always)", fault->rule,
                        fault->place, count);
        return HARM_DONE;
}

void harm_disk_fails_end(struct torture *torture, const struct action *action) {
        (void) action;
        torture_log(torture, "%llu calls failed", (unsigned long long) world_fault_count(&torture->world));
        world_faults_end(&torture->world);
}

/* ---- gone -------------------------------------------------------------------------------------------- */
static void move_directory(struct torture *torture, size_t origin, bool away) {
        char name[160];
        const char *home = world_path(&torture->world, origins[origin].name), *elsewhere;

        (void) snprintf(name, sizeof(name), "away-%s", origins[origin].name);
        elsewhere = world_path(&torture->world, name);
        torture->moves++; /* a judge that was just opening its files is not believed */
        if (rename(away ? home : elsewhere, away ? elsewhere : home) < 0)
                torture_fail(torture, "cannot move %s: %s", home, strerror(errno));
        torture->origins[origin].is_away = away;
}

/* Its writer goes on meanwhile: it has its files open. */
enum harm_result harm_vanish(struct torture *torture, const struct action *action) {
        torture->away_origin = action->picks[0] % ORIGIN_COUNT;
        torture->concerned = origins[torture->away_origin].target_bits;
        move_directory(torture, torture->away_origin, true);
        (void) snprintf(torture->said, sizeof(torture->said), "%s", origins[torture->away_origin].name);
        return HARM_DONE;
}

void harm_vanish_end(struct torture *torture, const struct action *action) {
        (void) action;
        move_directory(torture, torture->away_origin, false);
}
