/* SPDX-License-Identifier: Apache-2.0 */
/* Which pool serves which destination and which slot holds which session, before anything is written.
 *
 * Pure: reads segment and configuration, writes neither, so that a reload that does not fit changes
 * nothing. A session is known again by its source's name and its destination, which outlast a change of
 * the name it is shown by. What stands in the segment is validated input (P1).
 * Must not touch: any word of the segment. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "supervisor/manager.h"

/* ---- pools ------------------------------------------------------------------------------------------ */
static uint32_t pool_find(const struct segment *segment, const char *name, const bool *taken) {
        for (uint32_t i = 0; i < segment->pool_count && i < LAYOUT_POOL_COUNT_MAX; i++) {
                const struct layout_pool *pool = segment_pool(segment, i);

                if (taken[i] || atomic_load_explicit(&pool->state, memory_order_relaxed) == POOL_FREE)
                        continue;
                /* The name never changes while the pool is in use, so it is good even where a supervisor
                 * died while it wrote the record and left the sequence odd. */
                if (text_is_terminated(pool->name, sizeof pool->name) && strcmp(pool->name, name) == 0)
                        return i;
        }
        return LAYOUT_NONE;
}

static uint32_t pool_find_free(const struct segment *segment, const bool *taken) {
        for (uint32_t i = 0; i < segment->pool_count && i < LAYOUT_POOL_COUNT_MAX; i++)
                if (!taken[i] &&
                    atomic_load_explicit(&segment_pool(segment, i)->state, memory_order_relaxed) == POOL_FREE)
                        return i;
        return LAYOUT_NONE;
}

static int plan_pools(const struct segment *segment, struct plan *plan, struct failure *ret_failure) {
        bool taken[LAYOUT_POOL_COUNT_MAX] = {};
        const struct config *config = plan->config;
        uint32_t pool;

        for (uint32_t i = 0; i < config->destination_count; i++) {
                pool = pool_find(segment, config->destinations[i].name, taken);
                plan->pool_of_destination[i] = pool;
                if (pool != LAYOUT_NONE)
                        taken[pool] = true;
        }
        for (uint32_t i = 0; i < config->destination_count; i++) {
                if (plan->pool_of_destination[i] != LAYOUT_NONE)
                        continue;
                pool = pool_find_free(segment, taken);
                if (pool == LAYOUT_NONE)
                        return failure_set(
                                ret_failure, -ENOSPC, FAILURE_STOP,
                                "there is no room for destination %s: %u are in use, some of them still "
                                "leaving; try again when they have left",
                                config->destinations[i].name, LAYOUT_POOL_COUNT_MAX);
                plan->pool_of_destination[i] = pool;
                taken[pool] = true;
        }
        return 0;
}

/* ---- slots that hold a session already ---------------------------------------------------------------- */
enum { RANK_GOOD, RANK_QUARANTINED, RANK_UNWANTED };

struct known_slot {
        char source[LAYOUT_NAME_BYTES];
        uint32_t pool, slot, rank;
};

static int known_compare(const void *a, const void *b) {
        const struct known_slot *x = a, *y = b;
        int order = strcmp(x->source, y->source);

        if (order == 0)
                order = (x->pool > y->pool) - (x->pool < y->pool);
        if (order == 0)
                order = (x->rank > y->rank) - (x->rank < y->rank);
        return order != 0 ? order : (x->slot > y->slot) - (x->slot < y->slot);
}

/* With an owner it is none, whatever its state says (H1): it was overwritten, and sessions.c puts it back. */
static bool says_free(const struct layout_slot *slot) {
        return atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_FREE &&
               atomic_load_explicit(&slot->owner_ref, memory_order_acquire) == 0;
}

static bool known_read(const struct segment *segment, uint32_t index, struct known_slot *ret_known) {
        const struct layout_slot *slot = segment_slot(segment, index);
        const struct layout_config *config = segment_config(segment, index);
        uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
        bool wanted = atomic_load_explicit(&slot->wanted, memory_order_relaxed) != 0;
        bool quarantined = atomic_load_explicit(&slot->quarantined, memory_order_relaxed) != 0;

        if (says_free(slot) || state >= SLOT_STATE_COUNT || (quarantined && !wanted))
                return false;
        /* Like a pool's name, a slot's source never changes while it is in use. */
        memcpy(ret_known->source, config->source, sizeof ret_known->source);
        if (!text_is_terminated(ret_known->source, sizeof ret_known->source))
                return false;
        ret_known->pool = atomic_load_explicit(&slot->pool_index, memory_order_relaxed);
        ret_known->slot = index;
        ret_known->rank = !wanted ? RANK_UNWANTED : quarantined ? RANK_QUARANTINED : RANK_GOOD;
        return ret_known->pool < segment->pool_count;
}

static bool slot_is_free(const struct segment *segment, uint32_t index) {
        const struct layout_slot *slot = segment_slot(segment, index);

        return says_free(slot) && atomic_load_explicit(&slot->quarantined, memory_order_relaxed) == 0;
}

/* The best slot for (source, pool): the first of its group in the order of known_compare(). */
static const struct known_slot *known_find(const struct known_slot *known, uint32_t count, const char *source,
                                           uint32_t pool) {
        uint32_t low = 0, high = count, middle;
        int order;

        while (low < high) {
                middle = low + (high - low) / 2;
                order = strcmp(known[middle].source, source);
                if (order < 0 || (order == 0 && known[middle].pool < pool))
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == count || known[low].pool != pool || strcmp(known[low].source, source) != 0)
                return NULL;
        return &known[low];
}

static void match_sessions(const struct known_slot *known, uint32_t count, struct plan *plan) {
        const struct config *config = plan->config;
        const struct known_slot *found;

        for (uint32_t i = 0; i < config->session_count; i++) {
                const struct config_session *session = &config->sessions[i];

                found = known_find(known, count, config->sources[session->source].name,
                                   plan->pool_of_destination[session->destination]);
                plan->slot_of_session[i] = found ? found->slot : LAYOUT_NONE;
                if (found)
                        plan->session_of_slot[found->slot] = i;
        }
}

static int place_new_sessions(const struct segment *segment, struct plan *plan, struct failure *ret_failure) {
        uint32_t next = 0, missing = 0;

        for (uint32_t i = 0; i < plan->config->session_count; i++) {
                if (plan->slot_of_session[i] != LAYOUT_NONE)
                        continue;
                while (next < segment->slot_count && !slot_is_free(segment, next))
                        next++;
                if (next == segment->slot_count) {
                        missing++;
                        continue;
                }
                plan->slot_of_session[i] = next;
                plan->session_of_slot[next++] = i;
        }
        if (missing > 0)
                return failure_set(
                        ret_failure, -ENOSPC, FAILURE_STOP,
                        "there is no room for %u of %u sessions: the running segment holds %u, those that "
                        "are still leaving and quarantined ones among them; raise sessions in [baton] and "
                        "start Baton anew, or try again when the others have left",
                        missing, plan->config->session_count, segment->slot_count);
        return 0;
}

static int plan_slots(const struct segment *segment, struct plan *plan, struct failure *ret_failure) {
        uint32_t used = atomic_load_explicit(&segment->header->slot_used, memory_order_acquire), count = 0;
        _cleanup_free_ struct known_slot *known = NULL;

        used = MIN_OF(used, segment->slot_count);
        known = calloc(used + 1, sizeof *known);
        plan->slot_of_session = calloc(plan->config->session_count + 1, sizeof *plan->slot_of_session);
        plan->session_of_slot = calloc(segment->slot_count, sizeof *plan->session_of_slot);
        if (!known || !plan->slot_of_session || !plan->session_of_slot)
                return failure_set(ret_failure, -ENOMEM, FAILURE_STOP, "out of memory for %u sessions",
                                   plan->config->session_count);
        for (uint32_t i = 0; i < used; i++)
                count += known_read(segment, i, &known[count]);
        qsort(known, count, sizeof *known, known_compare);
        for (uint32_t i = 0; i < segment->slot_count; i++)
                plan->session_of_slot[i] = LAYOUT_NONE;
        match_sessions(known, count, plan);
        return place_new_sessions(segment, plan, ret_failure);
}

int plan_make(const struct segment *segment, const struct config *config, struct plan *ret_plan,
              struct failure *ret_failure) {
        _cleanup_(plan_done) struct plan plan = { .config = config };
        int r;

        assert(segment);
        assert(config);
        assert(ret_plan);

        r = plan_pools(segment, &plan, ret_failure);
        if (r < 0)
                return r;
        r = plan_slots(segment, &plan, ret_failure);
        if (r < 0)
                return r;
        *ret_plan = plan;
        plan = (struct plan){};
        return 0;
}

void plan_done(struct plan *plan) {
        free(TAKE(plan->slot_of_session));
        free(TAKE(plan->session_of_slot));
}
