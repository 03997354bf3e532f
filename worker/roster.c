/* SPDX-License-Identifier: Apache-2.0 */
/* Builds, publishes and looks up the roster. The segment's words are input (P1): whatever does not
 * parse becomes an entry with its failure, and the session stops with that sentence.
 * Must not touch: the segment's words but to read them; a session of the mover. */
#include "worker/roster.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-memb.h>

#include "base/sanitize.h"
#include "base/text.h"
#include "include/baton/option.h"
#include "shm/slot.h"

/* A session, as small as its texts. Immutable once published. */
struct roster_item {
        uint32_t slot_index, pool_index, sibling_slot, sequence;
        uint16_t source_at, url_at; /* in text; the session's name is at 0 */
        char text[];                /* three texts, each with its NUL */
};

struct roster {
        uint32_t item_count;
        struct roster_item *items[]; /* by slot; NULL: not of this pool. Shared with the roster before */
};

static_assert(LAYOUT_NAME_BYTES == NAME_BYTES && LAYOUT_URL_BYTES == URL_BYTES,
              "a slot's texts fit everywhere");

/* For ThreadSanitizer, which does not see liburcu: what a reader did before it let go happened before the
 * grace period ended. */
static char grace;

void roster_entry_free(struct roster_entry *entry) {
        free(entry);
}

static void entry_parse(struct roster_entry *entry) {
        int r;

        r = url_parse(entry->config.url, &entry->url, &entry->failure);
        if (r < 0)
                return;
        r = option_check(source_schemes, &entry->url, &entry->scheme, &entry->failure);
        if (r < 0) {
                entry->scheme = NULL;
                return;
        }
        entry->ops = source_ops_find(entry->scheme->name);
        assert(entry->ops); /* every scheme of our table has its operations */
}

int roster_read(const struct segment *segment, uint32_t slot_index, struct roster_entry **ret_entry) {
        struct roster_entry *entry;
        int r;

        assert(segment);
        assert(ret_entry);

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return -ENOMEM;
        r = session_config_read(segment, slot_index, &entry->config);
        if (r < 0) {
                free(entry);
                return r;
        }
        entry_parse(entry);
        *ret_entry = entry;
        return 0;
}

static int item_new(const struct session_config *config, struct roster_item **ret_item) {
        const size_t session_bytes = strlen(config->session) + 1, source_bytes = strlen(config->source) + 1,
                     url_bytes = strlen(config->url) + 1;
        struct roster_item *item;

        item = malloc(sizeof(*item) + session_bytes + source_bytes + url_bytes);
        if (!item)
                return -ENOMEM;
        *item = (struct roster_item){ .slot_index = config->slot_index,
                                      .pool_index = config->pool_index,
                                      .sibling_slot = config->sibling_slot,
                                      .sequence = config->sequence,
                                      .source_at = (uint16_t) session_bytes,
                                      .url_at = (uint16_t) (session_bytes + source_bytes) };
        memcpy(item->text, config->session, session_bytes);
        memcpy(item->text + item->source_at, config->source, source_bytes);
        memcpy(item->text + item->url_at, config->url, url_bytes);
        *ret_item = item;
        return 0;
}

/* The texts fit: they came from a config. */
static void item_read(const struct roster_item *item, struct session_config *ret_config) {
        struct session_config config = { .slot_index = item->slot_index,
                                         .pool_index = item->pool_index,
                                         .sibling_slot = item->sibling_slot,
                                         .sequence = item->sequence };

        (void) text_copy(config.session, sizeof(config.session), item->text);
        (void) text_copy(config.source, sizeof(config.source), item->text + item->source_at);
        (void) text_copy(config.url, sizeof(config.url), item->text + item->url_at);
        *ret_config = config;
}

bool roster_is_latest(const struct segment *segment, uint32_t slot_index, uint32_t sequence) {
        uint32_t now = atomic_load(&segment_config(segment, slot_index)->sequence);

        return now == sequence || now == sequence + 1; /* odd: begun, and not finished */
}

/* The item of the old roster where the supervisor has not written since, or has not finished; else a new
 * one. */
static int item_renew(const struct roster *old, const struct segment *segment, uint32_t slot_index,
                      struct roster_item **ret_item) {
        struct roster_item *item = NULL;
        struct session_config config;
        int r;

        if (old && slot_index < old->item_count)
                item = old->items[slot_index];
        if (item && item->sequence == atomic_load(&segment_config(segment, slot_index)->sequence)) {
                *ret_item = item;
                return 0;
        }
        r = session_config_read(segment, slot_index, &config);
        if (r == -EAGAIN && item && roster_is_latest(segment, slot_index, item->sequence)) {
                *ret_item = item;
                return 0;
        }
        if (r < 0)
                return r;
        return item_new(&config, ret_item);
}

/* Frees a roster and those of its items that `kept` does not share. */
static void roster_release(struct roster *roster, const struct roster *kept) {
        if (!roster)
                return;
        for (uint32_t i = 0; i < roster->item_count; i++)
                if (!kept || i >= kept->item_count || kept->items[i] != roster->items[i])
                        free(roster->items[i]);
        free(roster);
}

static int roster_build(const struct roster *old, const struct segment *segment, uint32_t pool_index,
                        struct roster **ret_roster) {
        uint32_t used = MIN_OF(atomic_load(&segment->header->slot_used), segment->slot_count);
        struct roster *roster;

        roster = calloc(1, sizeof(*roster) + used * sizeof(roster->items[0]));
        if (!roster)
                return -ENOMEM;
        roster->item_count = used;
        for (uint32_t i = 0; i < used; i++) {
                struct slot_view view;
                int r;

                r = slot_read(segment, i, &view);
                if (r < 0 || view.quarantined || !view.wanted || view.pool_index != pool_index)
                        continue;
                r = item_renew(old, segment, i, &roster->items[i]);
                if (r == -ENOMEM) {
                        roster_release(roster, old);
                        return r;
                }
                /* -EAGAIN, -EBADMSG: being written, and nothing known from before; the supervisor rings when
                 * it is whole. */
        }
        *ret_roster = roster;
        return 0;
}

static bool roster_equals(const struct roster *a, const struct roster *b) {
        return a && a->item_count == b->item_count &&
               memcmp(a->items, b->items, a->item_count * sizeof(a->items[0])) == 0;
}

int roster_publish(_Atomic(struct roster *) *roster, const struct segment *segment, uint32_t pool_index) {
        struct roster *old, *new;
        int r;

        assert(roster);
        old = atomic_load_explicit(roster, memory_order_relaxed); /* the control thread is the only writer */
        r = roster_build(old, segment, pool_index, &new);
        if (r < 0)
                return r;
        if (roster_equals(old, new)) {
                roster_release(new, old);
                return 0;
        }
        /* Pairs with the acquire in roster_find(): who sees the pointer sees what it leads to. */
        atomic_store_explicit(roster, new, memory_order_release);
        urcu_memb_synchronize_rcu();
        SANITIZE_ACQUIRE(&grace);
        roster_release(old, new);
        return 0;
}

/* Under the read lock no more than a copy: the writer waits for it. */
static int roster_find(_Atomic(struct roster *) *roster, uint32_t slot_index,
                       struct session_config *ret_config) {
        const struct roster_item *item = NULL;
        const struct roster *now;

        urcu_memb_read_lock();
        now = atomic_load_explicit(roster, memory_order_acquire);
        if (now && slot_index < now->item_count)
                item = now->items[slot_index];
        if (item)
                item_read(item, ret_config);
        SANITIZE_RELEASE(&grace);
        urcu_memb_read_unlock();
        return item ? 0 : -ENOENT;
}

struct roster_entry *roster_get(_Atomic(struct roster *) *roster, uint32_t slot_index) {
        struct session_config config;
        struct roster_entry *entry;

        if (roster_find(roster, slot_index, &config) < 0)
                return NULL;
        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return NULL;
        entry->config = config;
        entry_parse(entry);
        return entry;
}

void roster_free(_Atomic(struct roster *) *roster) {
        roster_release(atomic_exchange(roster, NULL), NULL);
}
