/* SPDX-License-Identifier: Apache-2.0 */
/* Single-writer records behind a sequence word: pool settings, configs, statuses (S5, S10, M14).
 * Every value read is another process's bytes: bounded and terminated, or -EBADMSG (P1).
 * Must not touch: ownership words, locks. */
#include "shm/words.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/macro.h"
#include "base/text.h"
#include "shm/sequence.h"

/* A writer needs about a microsecond; one that was suspended in between, or died, is not waited for. */
#define SEQUENCE_TRIES 2000

typedef uint32_t __attribute__((may_alias)) shared_word;

static inline void processor_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
}

void sequence_write(_Atomic uint32_t *sequence, void *shared, const void *local, size_t bytes) {
        const shared_word *from = local;
        shared_word *to = shared;
        uint32_t odd;

        assert(sequence && shared && local);
        assert(bytes % sizeof(shared_word) == 0 && (uintptr_t) shared % sizeof(shared_word) == 0);

        odd = atomic_load_explicit(sequence, memory_order_relaxed) | 1;
        atomic_store_explicit(sequence, odd, memory_order_relaxed);
        /* Pairs with the acquire fence in sequence_read(): who sees one new word sees it odd. */
        atomic_thread_fence(memory_order_release);
        for (size_t i = 0; i < bytes / sizeof(shared_word); i++)
                __atomic_store_n(to + i, from[i], __ATOMIC_RELAXED);
        /* Pairs with the acquire load in sequence_read(): who sees it even sees all of the words. */
        atomic_store_explicit(sequence, odd + 1, memory_order_release);
}

int sequence_read(const _Atomic uint32_t *sequence, const void *shared, void *ret_local, size_t bytes,
                  uint32_t *ret_sequence) {
        const shared_word *from = shared;
        shared_word *to = ret_local;

        assert(sequence && shared && ret_local);
        assert(bytes % sizeof(shared_word) == 0 && (uintptr_t) shared % sizeof(shared_word) == 0);

        for (unsigned try = 0; try < SEQUENCE_TRIES; try++) {
                uint32_t before = atomic_load_explicit(sequence, memory_order_acquire);

                if ((before & 1) != 0) {
                        processor_relax();
                        continue;
                }
                for (size_t i = 0; i < bytes / sizeof(shared_word); i++)
                        to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
                atomic_thread_fence(memory_order_acquire);
                if (atomic_load_explicit(sequence, memory_order_relaxed) == before) {
                        *ret_sequence = before;
                        return 0;
                }
        }
        return -EAGAIN;
}

/* ---- pool settings --------------------------------------------------------------------------- */

/* The part of the record that its sequence covers: from behind the word itself to the end of the texts. */
#define POOL_BEGIN offsetof(struct layout_pool, state)
#define POOL_END (offsetof(struct layout_pool, url) + LAYOUT_URL_BYTES)

void pool_settings_write(struct segment *segment, uint32_t pool_index, const struct pool_settings *settings) {
        struct layout_pool image = {};
        struct layout_pool *pool;

        assert(segment && segment->writable && settings);
        assert(pool_index < segment->pool_count && settings->state <= POOL_LEAVING);
        assert(text_is_terminated(settings->name, LAYOUT_NAME_BYTES));
        assert(text_is_terminated(settings->url, LAYOUT_URL_BYTES));

        pool = segment_pool(segment, pool_index);
        image.state = settings->state;
        image.workers_wanted = settings->workers_wanted;
        image.batch_rows = settings->batch_rows;
        image.batch_bytes = settings->batch_bytes;
        image.batch_usec = settings->batch_usec;
        image.parked_limit = settings->parked_limit;
        image.cores = settings->cores;
        image.fused = settings->fused;
        memcpy(image.name, settings->name, LAYOUT_NAME_BYTES);
        memcpy(image.url, settings->url, LAYOUT_URL_BYTES);
        sequence_write(&pool->sequence, (char *) pool + POOL_BEGIN, (char *) &image + POOL_BEGIN,
                       POOL_END - POOL_BEGIN);
        LAYOUT_NEXT_TOUCH(segment->pools, pool);
}

int pool_settings_read(const struct segment *segment, uint32_t pool_index, struct pool_settings *ret) {
        const struct layout_pool *pool;
        struct layout_pool image;
        uint32_t sequence;
        int r;

        assert(segment && ret);

        if (pool_index >= segment->pool_count)
                return -ERANGE;
        pool = segment_pool(segment, pool_index);
        r = sequence_read(&pool->sequence, (const char *) pool + POOL_BEGIN, (char *) &image + POOL_BEGIN,
                          POOL_END - POOL_BEGIN, &sequence);
        if (r < 0)
                return r;
        assert((sequence & 1) == 0);
        if (image.state > POOL_LEAVING || !text_is_terminated(image.name, LAYOUT_NAME_BYTES) ||
            !text_is_terminated(image.url, LAYOUT_URL_BYTES))
                return -EBADMSG;

        *ret = (struct pool_settings){
                .state = image.state,
                .workers_wanted = image.workers_wanted,
                .batch_rows = image.batch_rows,
                .batch_bytes = image.batch_bytes,
                .batch_usec = image.batch_usec,
                .parked_limit = image.parked_limit,
                .cores = image.cores != 0,
                .fused = image.fused != 0,
                .sequence = sequence,
        };
        memcpy(ret->name, image.name, LAYOUT_NAME_BYTES);
        memcpy(ret->url, image.url, LAYOUT_URL_BYTES);
        return 0;
}

/* ---- the refused configuration ------------------------------------------------------------------- */

void header_refused_write(struct segment *segment, const char *reason) {
        char text[LAYOUT_REASON_BYTES] = "";

        assert(segment && segment->writable && reason);

        memcpy(text, reason, MIN_OF(strlen(reason), sizeof text - 1));
        sequence_write(&segment->header->refused_sequence, segment->header->refused, text, sizeof text);
}

int header_refused_read(const struct segment *segment, char ret_reason[LAYOUT_REASON_BYTES]) {
        char text[LAYOUT_REASON_BYTES];
        uint32_t sequence;
        int r;

        assert(segment && ret_reason);

        r = sequence_read(&segment->header->refused_sequence, segment->header->refused, text, sizeof text,
                          &sequence);
        if (r < 0)
                return r;
        if (!text_is_terminated(text, sizeof text))
                return -EBADMSG;
        memcpy(ret_reason, text, sizeof text);
        return 0;
}

/* ---- session configs (written by slot_configure(), slot_reconfigure()) ----------------------- */

int session_config_read(const struct segment *segment, uint32_t slot_index, struct session_config *ret) {
        const size_t begin = offsetof(struct layout_config, sibling_slot);
        const size_t end = offsetof(struct layout_config, url) + LAYOUT_URL_BYTES;
        const struct layout_config *config;
        struct layout_config image;
        uint32_t sequence, pool_index;
        int r;

        assert(segment && ret);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        config = segment_config(segment, slot_index);
        r = sequence_read(&config->sequence, (const char *) config + begin, (char *) &image + begin,
                          end - begin, &sequence);
        if (r < 0)
                return r;
        assert((sequence & 1) == 0);
        pool_index = atomic_load_explicit(&segment_slot(segment, slot_index)->pool_index,
                                          memory_order_acquire);
        if (pool_index >= segment->pool_count || image.sibling_slot >= segment->slot_count ||
            !text_is_terminated(image.session, sizeof image.session) ||
            !text_is_terminated(image.source, sizeof image.source) ||
            !text_is_terminated(image.url, sizeof image.url))
                return -EBADMSG;

        *ret = (struct session_config){
                .slot_index = slot_index,
                .pool_index = pool_index,
                .sibling_slot = image.sibling_slot,
                .sequence = sequence,
        };
        memcpy(ret->session, image.session, sizeof image.session);
        memcpy(ret->source, image.source, sizeof image.source);
        memcpy(ret->url, image.url, sizeof image.url);
        return 0;
}

/* ---- session statuses ------------------------------------------------------------------------ */

#define STATUS_BEGIN offsetof(struct layout_status, phase)
#define STATUS_END (offsetof(struct layout_status, reason) + LAYOUT_REASON_BYTES)

void session_status_write(struct segment *segment, uint32_t slot_index, const struct session_status *status) {
        struct layout_status image = {};
        struct layout_status *shared;

        assert(segment && segment->writable && status);
        assert(slot_index < segment->slot_count && status->phase < SESSION_PHASE_COUNT);
        assert(text_is_terminated(status->reason, LAYOUT_REASON_BYTES));

        shared = segment_status(segment, slot_index);
        image.phase = status->phase;
        image.failure_kind = status->failure_kind;
        image.path = status->path;
        image.epoch = status->epoch;
        image.position = status->position;
        image.event_count = status->event_count;
        image.digest_sum = status->digest_sum;
        image.parked_count = status->parked_count;
        image.lag_events = status->lag_events;
        image.lag_bytes = status->lag_bytes;
        image.oldest_realtime_usec = status->oldest_realtime_usec;
        image.waiting_since_usec = status->waiting_since_usec;
        image.commit_last_usec = status->commit_last_usec;
        image.retry_at_usec = status->retry_at_usec;
        image.adopt_done = status->adopt_done;
        memcpy(image.reason, status->reason, LAYOUT_REASON_BYTES);
        sequence_write(&shared->sequence, (char *) shared + STATUS_BEGIN, (char *) &image + STATUS_BEGIN,
                       STATUS_END - STATUS_BEGIN);
        LAYOUT_NEXT_TOUCH(segment->statuses, shared);
}

int session_status_read(const struct segment *segment, uint32_t slot_index, struct session_status *ret) {
        const struct layout_status *shared;
        struct layout_status image;
        uint32_t sequence;
        int r;

        assert(segment && ret);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        shared = segment_status(segment, slot_index);
        r = sequence_read(&shared->sequence, (const char *) shared + STATUS_BEGIN,
                          (char *) &image + STATUS_BEGIN, STATUS_END - STATUS_BEGIN, &sequence);
        if (r < 0)
                return r;
        if (image.phase >= SESSION_PHASE_COUNT || image.path > 2 ||
            !text_is_terminated(image.reason, LAYOUT_REASON_BYTES))
                return -EBADMSG;

        *ret = (struct session_status){
                .phase = image.phase,
                .failure_kind = image.failure_kind,
                .path = image.path,
                .epoch = image.epoch,
                .position = image.position,
                .event_count = image.event_count,
                .digest_sum = image.digest_sum,
                .parked_count = image.parked_count,
                .lag_events = image.lag_events,
                .lag_bytes = image.lag_bytes,
                .oldest_realtime_usec = image.oldest_realtime_usec,
                .waiting_since_usec = image.waiting_since_usec,
                .commit_last_usec = image.commit_last_usec,
                .retry_at_usec = image.retry_at_usec,
                .adopt_done = image.adopt_done,
        };
        memcpy(ret->reason, image.reason, LAYOUT_REASON_BYTES);
        return 0;
}

/* ---- M14: up to where a source may be cleaned on this session's account ---------------------- */

void session_durable_set(struct segment *segment, uint32_t slot_index, uint64_t position) {
        struct layout_status *status;

        assert(segment && segment->writable);
        assert(slot_index < segment->slot_count);

        /* We die here, or are read here, between the two stores: they do not match, so the clean-up is
         * held until the next set. Release; pairs with the acquire loads in session_durable_get(). */
        status = segment_status(segment, slot_index);
        atomic_store_explicit(&status->durable_position, position, memory_order_release);
        atomic_store_explicit(&status->durable_check, ~position, memory_order_release);
}

int session_durable_get(const struct segment *segment, uint32_t slot_index, uint64_t *ret_position) {
        const struct layout_status *status;
        uint64_t position, check;

        assert(segment && ret_position);

        if (slot_index >= segment->slot_count)
                return -ERANGE;
        status = segment_status(segment, slot_index);
        check = atomic_load_explicit(&status->durable_check, memory_order_acquire);
        position = atomic_load_explicit(&status->durable_position, memory_order_acquire);
        if (check != ~position)
                return -EAGAIN;
        *ret_position = position;
        return 0;
}
