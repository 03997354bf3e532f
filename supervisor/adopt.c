/* SPDX-License-Identifier: Apache-2.0 */
/* State directory, instance and segment: take over what is there, or make it new (S11, P1).
 *
 * One supervisor a state directory (flock on supervisor.lock), one segment at a time: a new one is made
 * under workers.lock alone, and its number is durable before its first epoch is used. Where workers still
 * live in one that cannot be used, renew.c waits for them. Must not touch: slots, databases. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "shm/life.h"
#include "shm/workers_lock.h"
#include "supervisor/manager.h"
#include "supervisor/waits.h"

#define INSTANCE_NAME "instance"
#define NUMBER_NAME "segment.number"
#define NUMBER_MOST ((1ULL << 31) - 1) /* epoch base = number << 32 */

static int state_open(const struct manager *manager, int *ret_fd, struct failure *ret_failure) {
        int fd, r;

        fd = open(manager->directories.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot open the state directory %s: %s", manager->directories.state,
                                   strerror(-r));
        }
        *ret_fd = fd;
        return 0;
}

int adopt_lock(struct manager *manager, struct failure *ret_failure) {
        return supervisor_lock_take(manager->directories.state, &manager->lock_fd, ret_failure);
}

/* ---- instance ---------------------------------------------------------------------------------------- */
static bool instance_parse(const char *text, uint8_t instance[LAYOUT_INSTANCE_BYTES]) {
        unsigned value;

        if (strspn(text, "0123456789abcdef") != 2 * LAYOUT_INSTANCE_BYTES ||
            strcmp(text + 2 * LAYOUT_INSTANCE_BYTES, "\n") != 0)
                return false;
        for (size_t i = 0; i < LAYOUT_INSTANCE_BYTES; i++) {
                if (sscanf(text + 2 * i, "%2x", &value) != 1)
                        return false;
                instance[i] = (uint8_t) value;
        }
        return true;
}

static int instance_make(struct manager *manager, int directory_fd, struct failure *ret_failure) {
        char text[2 * LAYOUT_INSTANCE_BYTES + 2];
        int r;

        if (getrandom(manager->instance, sizeof manager->instance, 0) != sizeof manager->instance)
                return failure_set(ret_failure, -EIO, FAILURE_STOP,
                                   "no random bytes for the instance id: %m");
        for (size_t i = 0; i < LAYOUT_INSTANCE_BYTES; i++)
                (void) snprintf(text + 2 * i, 3, "%02x", manager->instance[i]);
        text[2 * LAYOUT_INSTANCE_BYTES] = '\n';
        text[2 * LAYOUT_INSTANCE_BYTES + 1] = '\0';
        r = file_replace_text(directory_fd, INSTANCE_NAME, text, 0640);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot write %s/" INSTANCE_NAME ": %s", manager->directories.state,
                                   strerror(-r));
        return 0;
}

/* Made once: checkpoints carry it (M1), so a lost or changed one would stop every session. */
int adopt_instance(struct manager *manager, struct failure *ret_failure) {
        _cleanup_fd_ int directory_fd = -1;
        _cleanup_free_ char *text = NULL;
        int r;

        r = state_open(manager, &directory_fd, ret_failure);
        if (r < 0)
                return r;
        r = file_read_text(directory_fd, INSTANCE_NAME, 64, &text);
        if (r == -ENOENT)
                return instance_make(manager, directory_fd, ret_failure);
        if (r < 0 && r != -EFBIG)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot read %s/" INSTANCE_NAME ": %s", manager->directories.state,
                                   strerror(-r));
        if (r < 0 || !instance_parse(text, manager->instance))
                return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                   "%s/" INSTANCE_NAME
                                   " does not hold 32 hexadecimal digits; restore it from a backup: "
                                   "checkpoints at the destinations carry it",
                                   manager->directories.state);
        return 0;
}

/* ---- a new segment -------------------------------------------------------------------------------------- */
/* The next number, durable before it is used: epochs of a new segment are above all that were (S11). */
static int number_next(struct manager *manager, uint64_t *ret_number, struct failure *ret_failure) {
        _cleanup_fd_ int directory_fd = -1;
        _cleanup_free_ char *text = NULL;
        uint64_t number = 0;
        char next[32];
        int r;

        r = state_open(manager, &directory_fd, ret_failure);
        if (r < 0)
                return r;
        r = file_read_text(directory_fd, NUMBER_NAME, 32, &text);
        if (r >= 0) {
                text[strcspn(text, "\n")] = '\0';
                r = text_parse_u64(text, &number);
                if (r < 0 || number >= NUMBER_MOST)
                        return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                           "%s/" NUMBER_NAME
                                           " holds no number of a segment; write one into it that is "
                                           "higher than all before (the highest epoch / 2^32, plus 1)",
                                           manager->directories.state);
        } else if (r != -ENOENT) {
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot read %s/" NUMBER_NAME ": %s", manager->directories.state,
                                   strerror(-r));
        }
        number++;
        (void) snprintf(next, sizeof next, "%llu\n", (unsigned long long) number);
        r = file_replace_text(directory_fd, NUMBER_NAME, next, 0640);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "cannot write %s/" NUMBER_NAME ": %s", manager->directories.state,
                                   strerror(-r));
        *ret_number = number;
        return 0;
}

/* -EBUSY and who holds it, while a worker of the segment before lives. */
static int segment_make(struct manager *manager, int *ret_holder_pid, struct failure *ret_failure) {
        struct segment_geometry geometry = { .worker_count = manager->config->workers_max,
                                             .slot_count = manager->config->sessions_max };
        _cleanup_fd_ int lock_fd = -1;
        uint64_t number = 0;
        int r;

        r = workers_lock_exclusive(manager->directories.state, &lock_fd, ret_holder_pid, ret_failure);
        if (r < 0)
                return r;
        r = number_next(manager, &number, ret_failure);
        if (r < 0)
                return r;
        /* K2 We die here: a number is spent and no segment has it. Numbers need only rise. */
        CRASH_POINT("supervisor.K2");
        segment_close(TAKE(manager->segment));
        r = segment_create(manager->directories.runtime, &geometry, manager->instance, number << 32,
                           &manager->segment, ret_failure);
        if (r < 0)
                return r;
        /* K6 We die here: a whole segment without sessions. The next supervisor adopts it. */
        CRASH_POINT("supervisor.K6");
        return 0;
}

/* ---- the one that is there ------------------------------------------------------------------------------- */
bool adopt_process_lives(pid_t pid, uint64_t start_ticks) {
        _cleanup_fd_ int fd = -1;

        return pid > 0 && process_open(pid, start_ticks, &fd) >= 0 && !process_has_ended(fd);
}

/* Another state directory's segment in our runtime directory: never taken from under living processes. `segment` is
 * NULL where only the header of the layout that it has is understood. */
static int check_foreign(const struct manager *manager, const struct layout_header *header,
                         const struct segment *segment, struct failure *ret_failure) {
        pid_t pid = (pid_t) atomic_load_explicit(&header->supervisor_pid, memory_order_relaxed);
        bool lives = adopt_process_lives(pid, atomic_load_explicit(&header->supervisor_start_ticks,
                                                                   memory_order_relaxed));

        for (uint32_t i = 0; segment && i < segment->worker_count && !lives; i++) {
                const struct layout_worker *worker = segment_worker(segment, i);

                if ((atomic_load_explicit(&worker->life, memory_order_acquire) & 0xff) != LIFE_LIVE)
                        continue;
                pid = (pid_t) atomic_load_explicit(&worker->pid, memory_order_relaxed);
                lives = adopt_process_lives(pid,
                                            atomic_load_explicit(&worker->start_ticks, memory_order_relaxed));
        }
        if (!lives)
                return 0;
        return failure_set(
                ret_failure, -EBUSY, FAILURE_STOP,
                "the runtime directory %s is in use by pid %d, which has another state directory; give "
                "this one its own with --runtime",
                manager->directories.runtime, pid);
}

/* Before our sockets take the place of another's. */
int adopt_check_runtime(const struct manager *manager, struct failure *ret_failure) {
        _cleanup_segment_ struct segment *segment = NULL;
        struct layout_header header;

        if (segment_peek(manager->directories.runtime, &header) < 0 ||
            memcmp(header.instance, manager->instance, LAYOUT_INSTANCE_BYTES) == 0)
                return 0;
        (void) segment_open(manager->directories.runtime, false, &segment, NULL);
        return check_foreign(manager, &header, segment, ret_failure);
}

/* Without the advice of segment_open(), since that is what happens now. */
static void reason_take(struct manager *manager, char *text) {
        static const char *const advice[] = { SEGMENT_ADVICE_START, SEGMENT_ADVICE_LAYOUT };

        for (size_t i = 0; i < ELEMENTSOF(advice); i++) {
                char *begin = strstr(text, advice[i]);

                if (begin)
                        *begin = '\0';
        }
        (void) snprintf(manager->wait_reason, sizeof manager->wait_reason, "%s", text);
}

/* No worker of this state directory, now; who starts them asks. */
static bool nobody_lives(const struct manager *manager) {
        _cleanup_fd_ int lock_fd = -1;

        return workers_lock_exclusive(manager->directories.state, &lock_fd, NULL, NULL) >= 0;
}

/* A destination is scaled to 0 and no supervisor was stopped since: a new segment would not know it (V9). */
static bool holds_a_pause(const struct segment *segment) {
        if (atomic_load_explicit(&segment->header->stopping, memory_order_relaxed) != 0)
                return false;
        for (uint32_t i = 0; i < segment->pool_count; i++) {
                const struct layout_pool *pool = segment_pool(segment, i);

                if (atomic_load_explicit(&pool->state, memory_order_acquire) == POOL_ACTIVE &&
                    atomic_load_explicit(&pool->workers_wanted, memory_order_relaxed) == 0)
                        return true;
        }
        return false;
}

/* 1: in manager->segment, to be adopted. 0: there is none, or one that cannot be used (wait_reason).
 * -errno: nothing can be done. */
static int segment_find(struct manager *manager, struct plan *plan, struct failure *ret_failure) {
        _cleanup_segment_ struct segment *segment = NULL;
        struct failure failure = {};
        int r;

        manager->wait_reason[0] = '\0';
        r = segment_open(manager->directories.runtime, true, &segment, &failure);
        if (r == -ENOENT)
                return 0;
        if (r == -EBADMSG || r == -EPROTONOSUPPORT || r == -ESTALE) {
                reason_take(manager, failure.text);
                return 0;
        }
        if (r < 0) {
                if (ret_failure)
                        *ret_failure = failure;
                return r;
        }
        if (memcmp(segment->header->instance, manager->instance, LAYOUT_INSTANCE_BYTES) != 0)
                (void) snprintf(manager->wait_reason, sizeof manager->wait_reason,
                                "it belongs to another state directory");
        else if (atomic_load_explicit(&segment->header->condemned, memory_order_acquire) != 0)
                (void) snprintf(manager->wait_reason, sizeof manager->wait_reason, "it is condemned");
        else if (segment->slot_count < manager->config->sessions_max ||
                 segment->worker_count < manager->config->workers_max)
                (void) snprintf(
                        manager->wait_reason, sizeof manager->wait_reason,
                        "it has room for %u sessions and %u workers, the configuration asks for %u and %u",
                        segment->slot_count, segment->worker_count, manager->config->sessions_max,
                        manager->config->workers_max);
        else if (segment->layout_number != LAYOUT_NUMBER && !holds_a_pause(segment) && nobody_lives(manager))
                (void) snprintf(manager->wait_reason, sizeof manager->wait_reason,
                                "it is of layout %u, new ones are of %u, and nobody lives in it",
                                segment->layout_number, LAYOUT_NUMBER);
        else if (plan_make(segment, manager->config, plan, &failure) < 0)
                (void) snprintf(manager->wait_reason, sizeof manager->wait_reason, "%s", failure.text);
        if (manager->wait_reason[0] == '\0') {
                manager->segment = TAKE(segment);
                return 1;
        }
        if (memcmp(segment->header->instance, manager->instance, LAYOUT_INSTANCE_BYTES) == 0)
                pools_scale_of(manager, segment);
        return 0;
}

/* ---- in use ------------------------------------------------------------------------------------------------ */
static int records_new(struct manager *manager, struct failure *ret_failure) {
        uint32_t count;

        assert(manager->segment);
        count = manager->segment->slot_count;
        free(TAKE(manager->slots));
        free(TAKE(manager->balance_slots));
        free(TAKE(manager->balance_owner));
        free(TAKE(manager->balance_heir));
        manager->slots = calloc(count, sizeof *manager->slots);
        manager->balance_slots = calloc(count, sizeof *manager->balance_slots);
        manager->balance_owner = calloc(count, sizeof *manager->balance_owner);
        manager->balance_heir = calloc(count, sizeof *manager->balance_heir);
        if (!manager->slots || !manager->balance_slots || !manager->balance_owner || !manager->balance_heir)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "out of memory for %u sessions",
                                   count);
        memset(manager->bad_worker_told, 0, sizeof manager->bad_worker_told);
        return 0;
}

void adopt_beat(struct manager *manager) {
        uint64_t now_usec = clock_usec();
        _Atomic uint64_t *beat = &manager->segment->header->supervisor_beat_usec;

        if (now_usec - atomic_load_explicit(beat, memory_order_relaxed) >= USEC_PER_SEC)
                atomic_store_explicit(beat, now_usec, memory_order_relaxed);
}

void adopt_told(struct manager *manager, uint64_t until_usec) {
        atomic_store_explicit(&manager->segment->header->supervisor_beat_usec, until_usec,
                              memory_order_relaxed);
}

/* Before the first worker is started: it watches us through these words. */
static int publish(struct manager *manager, struct failure *ret_failure) {
        struct layout_header *header = manager->segment->header;
        int r;

        r = process_start_ticks(getpid(), &manager->start_ticks);
        if (r < 0)
                return failure_set(ret_failure, r, FAILURE_STOP, "cannot read /proc/self/stat: %s",
                                   strerror(-r));
        atomic_store_explicit(&header->stopping, 0, memory_order_relaxed);
        atomic_store_explicit(&header->supervisor_start_ticks, manager->start_ticks, memory_order_relaxed);
        atomic_store_explicit(&header->supervisor_beat_usec, clock_usec(), memory_order_relaxed);
        /* Release: who sees the pid sees its start. */
        atomic_store_explicit(&header->supervisor_pid, (uint32_t) getpid(), memory_order_release);
        return 0;
}

/* The segment stands: adopt who lives in it, write the plan, serve. */
static int segment_serve(struct manager *manager, const struct plan *plan, bool adopted,
                         struct failure *ret_failure) {
        struct pool before[LAYOUT_POOL_COUNT_MAX];
        uint32_t workers;
        int r;

        r = records_new(manager, ret_failure);
        if (r < 0)
                return r;
        manager->told_until_usec = atomic_load_explicit(&manager->segment->header->supervisor_beat_usec,
                                                        memory_order_relaxed);
        memcpy(before, manager->pools, sizeof before);
        pools_load(manager);
        unseen_tell(manager); /* in a new segment nobody */
        watch_members(manager);
        workers = watch_count(manager, LAYOUT_NONE, true);
        if (adopted)
                manager->config_before = last_good_read_applied(&manager->directories);
        if (!manager->config_refused[0])
                last_good_keep(manager, manager->config);
        pools_apply(manager, plan, manager->config);
        config_free(TAKE(manager->config_before));
        pools_scale_again(manager, before);
        last_good_applied(manager);
        r = publish(manager, ret_failure);
        if (r < 0)
                return r;
        manager->state = MANAGER_SERVING;
        waits_end(manager->directories.runtime);
        log_line(adopted ? MESSAGE_SEGMENT_ADOPTED : MESSAGE_SEGMENT_MADE, LOG_INFO, NULL,
                 "%s: layout %u, sessions %u, destinations %u, workers that live in it %u",
                 adopted ? "adopted the segment that is there" : "made a new segment",
                 manager->segment->layout_number, manager->config->session_count,
                 manager->config->destination_count, workers);
        last_good_tell(manager);
        look(manager);
        return 0;
}

/* 0: serving. -EBUSY: a worker of the segment before lives, perhaps that of *ret_holder_pid. */
int adopt_make(struct manager *manager, int *ret_holder_pid, struct failure *ret_failure) {
        _cleanup_(plan_done) struct plan plan = {};
        int r;

        r = segment_make(manager, ret_holder_pid, ret_failure);
        if (r < 0)
                return r;
        r = plan_make(manager->segment, manager->config, &plan, ret_failure);
        return r < 0 ? r : segment_serve(manager, &plan, false, ret_failure);
}

int adopt_segment(struct manager *manager, struct failure *ret_failure) {
        _cleanup_(plan_done) struct plan plan = {};
        int holder = 0, r;

        r = segment_find(manager, &plan, ret_failure);
        if (r < 0)
                return r;
        if (r > 0)
                return segment_serve(manager, &plan, true, ret_failure);
        if (manager->config_refused[0])
                return last_good_give_up(manager, ret_failure);
        if (manager->wait_reason[0] != '\0')
                log_line(MESSAGE_SEGMENT_REFUSED, LOG_NOTICE,
                         &(struct log_fields){ .reason = manager->wait_reason },
                         "the segment that is there is not adopted: %s", manager->wait_reason);
        r = adopt_make(manager, &holder, ret_failure);
        return r == -EBUSY ? renew_wait(manager, ret_failure) : r;
}
