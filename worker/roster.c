/* SPDX-License-Identifier: Apache-2.0 */
/* Builds, publishes and looks up the roster. The segment's words are input (P1): whatever does not
 * parse becomes an entry with its failure, and the session stops with that sentence. */
#include "worker/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-memb.h>

#include "include/baton/option.h"
#include "shm/slot.h"

struct roster {
        uint32_t entry_count;
        struct roster_entry *entries[]; /* by slot; NULL: not of this pool */
};

void roster_unref(struct roster_entry *entry) {
        if (entry && atomic_fetch_sub(&entry->references, 1) == 1)
                free(entry);
}

static void entry_parse(struct roster_entry *entry) {
        const struct source_ops *ops;
        int r;

        r = url_parse(entry->config.url, &entry->url, &entry->failure);
        if (r < 0)
                return;
        r = option_check(source_schemes, &entry->url, &entry->scheme, &entry->failure);
        if (r < 0) {
                entry->scheme = NULL;
                return;
        }
        ops = source_ops_find(entry->scheme->name);
        if (!ops) {
                (void) failure_set(&entry->failure, -EPROTONOSUPPORT, FAILURE_STOP,
                                   "this worker knows no source of scheme \"%s\"; install one that does",
                                   entry->scheme->name);
                entry->scheme = NULL;
                return;
        }
        entry->ops = ops;
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
        atomic_init(&entry->references, 1);
        entry_parse(entry);
        *ret_entry = entry;
        return 0;
}

/* The entry of the old roster where the supervisor has not written since, else a new one. */
static int entry_renew(const struct roster *old, const struct segment *segment, uint32_t slot_index,
                       struct roster_entry **ret_entry) {
        struct roster_entry *entry = NULL;

        if (old && slot_index < old->entry_count)
                entry = old->entries[slot_index];
        if (entry && entry->config.sequence == atomic_load(&segment->configs[slot_index].sequence)) {
                (void) atomic_fetch_add(&entry->references, 1);
                *ret_entry = entry;
                return 0;
        }
        return roster_read(segment, slot_index, ret_entry);
}

static void roster_release(struct roster *roster) {
        if (!roster)
                return;
        for (uint32_t i = 0; i < roster->entry_count; i++)
                roster_unref(roster->entries[i]);
        free(roster);
}

static int roster_build(const struct roster *old, const struct segment *segment, uint32_t pool_index,
                        struct roster **ret_roster) {
        uint32_t used = MIN_OF(atomic_load(&segment->header->slot_used), segment->slot_count);
        struct roster *roster;

        roster = calloc(1, sizeof(*roster) + used * sizeof(roster->entries[0]));
        if (!roster)
                return -ENOMEM;
        roster->entry_count = used;
        for (uint32_t i = 0; i < used; i++) {
                struct slot_view view;
                int r;

                r = slot_read(segment, i, &view);
                if (r < 0 || view.quarantined || !view.wanted || view.pool_index != pool_index)
                        continue;
                r = entry_renew(old, segment, i, &roster->entries[i]);
                if (r == -ENOMEM) {
                        roster_release(roster);
                        return r;
                }
                /* -EAGAIN, -EBADMSG: being written; the supervisor rings when it is whole. */
        }
        *ret_roster = roster;
        return 0;
}

static bool roster_equals(const struct roster *a, const struct roster *b) {
        return a && a->entry_count == b->entry_count &&
               memcmp(a->entries, b->entries, a->entry_count * sizeof(a->entries[0])) == 0;
}

int roster_publish(struct roster **roster, const struct segment *segment, uint32_t pool_index) {
        struct roster *old, *new;
        int r;

        assert(roster);
        old = *roster; /* the control thread is the only writer */
        r = roster_build(old, segment, pool_index, &new);
        if (r < 0)
                return r;
        if (roster_equals(old, new)) {
                roster_release(new);
                return 0;
        }
        rcu_assign_pointer(*roster, new);
        urcu_memb_synchronize_rcu();
        roster_release(old);
        return 0;
}

struct roster_entry *roster_get(struct roster **roster, uint32_t slot_index) {
        struct roster_entry *entry = NULL;
        const struct roster *now;

        urcu_memb_read_lock();
        now = rcu_dereference(*roster);
        if (now && slot_index < now->entry_count)
                entry = now->entries[slot_index];
        if (entry)
                (void) atomic_fetch_add(&entry->references, 1);
        urcu_memb_read_unlock();
        return entry;
}

void roster_free(struct roster **roster) {
        roster_release(*roster);
        *roster = NULL;
}
