/* SPDX-License-Identifier: Apache-2.0 */
/* Which sources are warm, and handing them over. Must not touch: the events in them. */
#include "worker/warm.h"

#include "base/clock.h"
#include "shm/slot.h"
#include "worker/worker.h"

/* A look is one pass over the slots; rings come with changes of owner only. */
#define WARM_PERIOD_USEC (20 * USEC_PER_MSEC)

struct candidate {
        uint32_t slot_index;
        uint64_t active_usec;
};

struct candidates {
        struct candidate list[WARM_COUNT];
        uint32_t count;
};

/* Keeps the WARM_COUNT most recently active. */
static void candidates_add(struct candidates *candidates, uint32_t slot_index, uint64_t active_usec) {
        uint32_t least = 0;

        if (candidates->count < WARM_COUNT) {
                candidates->list[candidates->count++] = (struct candidate){ slot_index, active_usec };
                return;
        }
        for (uint32_t i = 1; i < WARM_COUNT; i++)
                if (candidates->list[i].active_usec < candidates->list[least].active_usec)
                        least = i;
        if (active_usec > candidates->list[least].active_usec)
                candidates->list[least] = (struct candidate){ slot_index, active_usec };
}

static bool candidates_have(const struct candidates *candidates, uint32_t slot_index) {
        for (uint32_t i = 0; i < candidates->count; i++)
                if (candidates->list[i].slot_index == slot_index)
                        return true;
        return false;
}

static void candidates_collect(const struct worker *worker, struct candidates *ret_candidates) {
        const struct segment *segment = worker->segment;
        uint32_t used = MIN_OF(atomic_load(&segment->header->slot_used), segment->slot_count);

        ret_candidates->count = 0;
        for (uint32_t i = 0; i < used; i++) {
                struct session_status status;
                struct slot_view view;

                if (slot_read(segment, i, &view) < 0 || view.quarantined || view.heir_ref != worker->ref ||
                    view.owner_ref == worker->ref || view.pool_index != worker->pool_index)
                        continue;
                if (session_status_read(segment, i, &status) == 0)
                        candidates_add(ret_candidates, i, status.commit_last_usec);
        }
}

static void warm_drop(struct warm_source *warm) {
        if (!warm->entry)
                return;
        if (warm->source)
                warm->entry->ops->close(TAKE(warm->source));
        roster_entry_free(TAKE(warm->entry));
}

/* An entry that does not parse, or a source that is not there now, is simply not warm. */
static void warm_open(struct worker *worker, struct warm_source *warm, uint32_t slot_index) {
        struct roster_entry *entry = roster_get(&worker->roster, slot_index);
        struct source_config config;
        bool more;

        if (!entry)
                return;
        config = (struct source_config){ .name = entry->config.source,
                                         .url = &entry->url,
                                         .scheme = entry->scheme };
        if (!entry->scheme || entry->ops->open(&config, &warm->source, NULL) < 0) {
                roster_entry_free(entry);
                return;
        }
        /* Read once and sync once now (M11), so that the first batch syncs only what is newer. */
        if (entry->ops->has_more(warm->source, 0, &more, NULL) >= 0)
                (void) entry->ops->sync(warm->source, NULL);
        warm->slot_index = slot_index;
        warm->entry = entry;
}

static struct warm_source *warm_find(struct worker *worker, uint32_t slot_index) {
        for (uint32_t i = 0; i < WARM_COUNT; i++)
                if (worker->warm.sources[i].entry && worker->warm.sources[i].slot_index == slot_index)
                        return &worker->warm.sources[i];
        return NULL;
}

static struct warm_source *warm_unused(struct worker *worker) {
        for (uint32_t i = 0; i < WARM_COUNT; i++)
                if (!worker->warm.sources[i].entry)
                        return &worker->warm.sources[i];
        return NULL;
}

void warm_renew(struct worker *worker, uint64_t now_usec) {
        struct candidates candidates;

        if (!worker->warm.is_due || now_usec < worker->warm.renew_at_usec)
                return;
        worker->warm.is_due = false;
        worker->warm.renew_at_usec = now_usec + WARM_PERIOD_USEC;
        candidates_collect(worker, &candidates);
        for (uint32_t i = 0; i < WARM_COUNT; i++) {
                struct warm_source *warm = &worker->warm.sources[i];

                if (warm->entry && (!candidates_have(&candidates, warm->slot_index) ||
                                    segment_config(worker->segment, warm->slot_index)->sequence !=
                                            warm->entry->config.sequence ||
                                    warm->entry->ops->is_stale(warm->source)))
                        warm_drop(warm);
        }
        for (uint32_t i = 0; i < candidates.count; i++) {
                struct warm_source *warm;

                if (warm_find(worker, candidates.list[i].slot_index))
                        continue;
                warm = warm_unused(worker);
                if (warm)
                        warm_open(worker, warm, candidates.list[i].slot_index);
        }
}

struct source *warm_take(struct worker *worker, uint32_t slot_index, const struct roster_entry *entry) {
        struct warm_source *warm = warm_find(worker, slot_index);
        struct source *source = NULL;

        if (!warm)
                return NULL;
        if (warm->entry->config.sequence == entry->config.sequence &&
            !warm->entry->ops->is_stale(warm->source))
                source = TAKE(warm->source);
        warm_drop(warm);
        return source;
}

void warm_done(struct worker *worker) {
        for (uint32_t i = 0; i < WARM_COUNT; i++)
                warm_drop(&worker->warm.sources[i]);
}
