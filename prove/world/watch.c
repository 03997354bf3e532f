/* SPDX-License-Identifier: Apache-2.0 */
/* What the segment says, read as `status` reads it: no lock, every index bounded.
 * Must not touch: the segment (mapped read-only), anything on disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "prove/world/world.h"
#include "shm/slot.h"

/* Mapped again when the file is another one. NULL: there is none. */
struct segment *world_segment(struct world *world) {
        char path[WORLD_PATH_BYTES * 2];
        struct stat status;

        (void) snprintf(path, sizeof(path), "%s/%s", world->runtime, SEGMENT_FILE_NAME);
        if (stat(path, &status) < 0)
                return NULL;
        if (world->segment && status.st_ino == world->segment_inode)
                return world->segment;
        segment_closep(&world->segment);
        world->segment = NULL;
        world->segment_inode = status.st_ino;
        if (segment_open(world->runtime, false, &world->segment, NULL) < 0)
                return NULL;
        return world->segment;
}

uint32_t session_slot(struct world *world, const char *session) {
        struct segment *segment = world_segment(world);
        struct session_config config;
        struct slot_view view;

        if (!segment)
                return LAYOUT_NONE;
        for (uint32_t i = 0; i < segment->slot_count && i < segment->header->slot_used; i++)
                if (slot_read(segment, i, &view) == 0 && view.state != SLOT_FREE && !view.quarantined &&
                    view.wanted && session_config_read(segment, i, &config) == 0 &&
                    strcmp(config.session, session) == 0)
                        return i;
        return LAYOUT_NONE;
}

bool session_status(struct world *world, const char *session, struct session_status *ret_status) {
        uint32_t slot = session_slot(world, session);

        return slot != LAYOUT_NONE && session_status_read(world->segment, slot, ret_status) == 0;
}

/* Never believed before this owner has spoken: a status of an older epoch may be behind. */
uint64_t session_position(struct world *world, const char *session) {
        struct session_status status;

        return session_status(world, session, &status) && status.position != UINT64_MAX ? status.position : 0;
}

uint64_t session_epoch(struct world *world, const char *session) {
        uint32_t slot = session_slot(world, session);
        struct slot_view view;

        return slot != LAYOUT_NONE && slot_read(world->segment, slot, &view) == 0 ? view.epoch : 0;
}

bool session_is(struct world *world, const char *session, enum session_phase phase) {
        struct session_status status;

        return session_status(world, session, &status) && status.phase == phase;
}

const char *session_reason(struct world *world, const char *session) {
        static struct session_status status;

        return session_status(world, session, &status) ? status.reason : "";
}

bool session_says(struct world *world, const char *session, const char *words) {
        return strstr(session_reason(world, session), words) != NULL;
}

static bool is_live(const struct layout_worker *worker, uint64_t generation) {
        uint64_t life = worker->life;

        return (life & 0xff) == LIFE_LIVE && life >> 8 == generation && process_is_alive((pid_t) worker->pid);
}

pid_t session_owner(struct world *world, const char *session) {
        uint32_t slot = session_slot(world, session), index;
        struct slot_view view;

        if (slot == LAYOUT_NONE || slot_read(world->segment, slot, &view) < 0 || view.state != SLOT_OWNED)
                return 0;
        index = worker_ref_index(view.owner_ref);
        if (index >= world->segment->worker_count ||
            !is_live(segment_worker(world->segment, index), worker_ref_generation(view.owner_ref)))
                return 0;
        return (pid_t) segment_worker(world->segment, index)->pid;
}

static uint32_t pool_of(struct world *world, const char *destination) {
        struct segment *segment = world_segment(world);
        struct pool_settings settings;

        for (uint32_t i = 0; segment && i < segment->pool_count; i++)
                if (pool_settings_read(segment, i, &settings) == 0 && settings.state != POOL_FREE &&
                    strcmp(settings.name, destination) == 0)
                        return i;
        return LAYOUT_NONE;
}

uint32_t live_workers(struct world *world, const char *destination, pid_t *ret_pids, uint32_t count) {
        uint32_t pool = pool_of(world, destination), found = 0;

        if (pool == LAYOUT_NONE)
                return 0;
        for (uint32_t i = 0; i < world->segment->worker_count; i++) {
                const struct layout_worker *worker = segment_worker(world->segment, i);

                if (worker->pool_index != pool || !is_live(worker, worker->life >> 8))
                        continue;
                if (found < count)
                        ret_pids[found] = (pid_t) worker->pid;
                found++;
        }
        return found;
}

pid_t worker_of(struct world *world, const char *destination, uint32_t number) {
        pid_t pids[WORLD_WORKER_MAX];
        uint32_t count = live_workers(world, destination, pids, ELEMENTSOF(pids));

        return number < count ? pids[number] : 0;
}

static const struct layout_worker *worker_of_pid(struct world *world, pid_t pid) {
        struct segment *segment = world_segment(world);

        for (uint32_t i = 0; segment && i < segment->worker_count; i++)
                if ((pid_t) segment_worker(segment, i)->pid == pid &&
                    is_live(segment_worker(segment, i), segment_worker(segment, i)->life >> 8))
                        return segment_worker(segment, i);
        return NULL;
}

bool worker_in_transaction(struct world *world, pid_t pid) {
        const struct layout_worker *worker = worker_of_pid(world, pid);

        return worker && worker->transaction_since_usec != 0;
}

const struct layout_worker *entry_in_transaction(struct world *world) {
        struct segment *segment = world_segment(world);

        for (uint32_t i = 0; segment && i < segment->worker_count; i++)
                if (segment_worker(segment, i)->transaction_since_usec != 0 &&
                    is_live(segment_worker(segment, i), segment_worker(segment, i)->life >> 8))
                        return segment_worker(segment, i);
        return NULL;
}

pid_t any_in_transaction(struct world *world) {
        const struct layout_worker *entry = entry_in_transaction(world);

        return entry ? (pid_t) entry->pid : 0;
}

pid_t worker_at_event(struct world *world, uint64_t position) {
        struct segment *segment = world_segment(world);

        for (uint32_t i = 0; segment && i < segment->worker_count; i++) {
                const struct layout_worker *worker = segment_worker(segment, i);

                if (is_live(worker, worker->life >> 8) && worker->note_slot != LAYOUT_NONE &&
                    worker->note_is_exact == 1 && worker->note_position == position)
                        return (pid_t) worker->pid;
        }
        return 0;
}

bool all_owned_by_live(struct world *world) {
        for (size_t i = 0; i < world->outbox_count; i++)
                if (session_owner(world, world->outboxes[i].name) == 0)
                        return false;
        return true;
}

uint64_t takeover_count(struct world *world, const char *destination) {
        uint32_t pool = pool_of(world, destination);

        return pool == LAYOUT_NONE ? 0 : segment_pool(world->segment, pool)->takeover_count;
}

/* The process that a reference names; 0: it does not live. */
static pid_t process_of(struct world *world, uint64_t ref) {
        uint32_t index = worker_ref_index(ref);

        if (ref == 0 || index >= world->segment->worker_count ||
            !is_live(segment_worker(world->segment, index), worker_ref_generation(ref)))
                return 0;
        return (pid_t) segment_worker(world->segment, index)->pid;
}

unsigned session_deaths(struct world *world, const char *session) {
        uint32_t slot = session_slot(world, session);
        const struct layout_status *status;
        struct slot_view view;
        unsigned deaths;

        if (slot == LAYOUT_NONE || slot_read(world->segment, slot, &view) < 0)
                return UINT_MAX; /* for the moment nobody knows */
        status = segment_status(world->segment, slot);
        deaths = view.owner_ref != 0 && process_of(world, view.owner_ref) == 0; /* nobody looked yet */
        deaths += segment_slot(world->segment, slot)->death_note != DEATH_NONE; /* not read yet */
        if (session_position(world, session) < status->fault_position)
                deaths += MAX_OF(status->fault_deaths, status->unknown_deaths);
        return deaths;
}

bool nobody_is_accused(struct world *world) {
        for (size_t i = 0; i < world->outbox_count; i++)
                if (session_deaths(world, world->outboxes[i].name) > 0)
                        return false;
        return true;
}

/* False where a session is not with the one that it is assigned to. */
static bool take_look(struct world *world, const char *destination, struct pool_look *ret_look) {
        *ret_look = (struct pool_look){ 0 };
        ret_look->worker_count = live_workers(world, destination, ret_look->workers, WORLD_WORKER_MAX);
        for (size_t i = 0; i < world->outbox_count; i++) {
                uint32_t slot = session_slot(world, world->outboxes[i].name);
                struct slot_view view;

                if (slot == LAYOUT_NONE || slot_read(world->segment, slot, &view) < 0 ||
                    view.owner_ref != view.assigned_ref)
                        return false;
                ret_look->owners[i] = process_of(world, view.owner_ref);
                ret_look->heirs[i] = process_of(world, view.heir_ref);
                ret_look->epochs[i] = view.epoch;
                if (ret_look->owners[i] == 0)
                        return false;
        }
        return true;
}

static bool is_even(const struct world *world, const struct pool_look *look) {
        size_t most = 0, fewest = world->outbox_count;

        for (uint32_t w = 0; w < look->worker_count; w++) {
                size_t count = 0;

                for (size_t i = 0; i < world->outbox_count; i++)
                        count += look->owners[i] == look->workers[w];
                most = MAX_OF(most, count);
                fewest = MIN_OF(fewest, count);
        }
        return most <= fewest + 1;
}

bool pool_is_settled(struct world *world, const char *destination, uint32_t workers,
                     struct pool_look *ret_look) {
        struct pool_look first, second;

        if (!take_look(world, destination, &first) || !take_look(world, destination, &second) ||
            memcmp(&first, &second, sizeof(first)) != 0 || !is_even(world, &first) ||
            (workers > 0 && first.worker_count != workers))
                return false;
        if (ret_look)
                *ret_look = first;
        return true;
}

void wait_settled(struct world *world, const char *destination, uint32_t workers,
                  struct pool_look *ret_look) {
        WAIT_UNTIL(world, pool_is_settled(world, destination, workers, ret_look));
}

uint64_t wait_begin(void) {
        return clock_usec();
}

void wait_step(struct world *world, uint64_t since, const char *what, const char *file, int line) {
        if (clock_usec() - since > WAIT_SECONDS * USEC_PER_SEC)
                world_fail(world, "%s:%d: after %d s still not: %s", file, line, WAIT_SECONDS, what);
        (void) usleep(clock_usec() - since < 20000 ? 100 : 1000);
}

static void dump_tail(const char *directory, const char *name) {
        char path[WORLD_PATH_BYTES * 2], text[6000];
        _cleanup_fd_ int fd = -1;
        off_t end;
        ssize_t bytes;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
        bytes = fd >= 0 ? pread(fd, text, sizeof(text) - 1,
                                end > (off_t) sizeof(text) ? end - (off_t) sizeof(text) + 1 : 0)
                        : -1;
        if (bytes > 0)
                fprintf(stderr, "---- %s (tail)\n%.*s\n", name, (int) bytes, text);
}

void world_dump(struct world *world) {
        static bool dumping;
        DIR *directory;

        if (dumping)
                return;
        dumping = true;
        (void) baton(world, "status");
        fprintf(stderr, "---- baton status\n%s\n", world->output);
        directory = opendir(world->directory);
        for (struct dirent *entry; directory && (entry = readdir(directory));)
                if (strstr(entry->d_name, ".log") || strstr(entry->d_name, ".conf"))
                        dump_tail(world->directory, entry->d_name);
        if (directory)
                (void) closedir(directory);
        dumping = false;
}
