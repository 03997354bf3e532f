/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing, linear probing, at most half full; nothing is removed one by one (the writer makes
 * a new map at rotation). Must not touch: files. */
#include "worker/journal/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/macro.h"

#define MAP_ENTRIES_FIRST 16u

/* The place where the name is, or the empty one where it would be. */
static uint32_t place_of(const struct journal_map *map, const char *session) {
        uint32_t mask = map->place_count - 1;
        uint32_t place = (uint32_t) XXH3_64bits(session, strlen(session)) & mask;

        assert(map->place_count > map->entry_count);
        while (map->places[place] != 0) {
                const struct journal_known *known = &map->entries[map->places[place] - 1];

                if (strcmp(known->record.checkpoint.session, session) == 0)
                        break;
                place = (place + 1) & mask;
        }
        return place;
}

static int map_grow(struct journal_map *map) {
        uint32_t capacity = map->entry_capacity ? map->entry_capacity * 2 : MAP_ENTRIES_FIRST;
        struct journal_known *entries;
        uint32_t *places;

        places = calloc((size_t) capacity * 2, sizeof *places);
        if (!places)
                return -ENOMEM;
        entries = reallocarray(map->entries, capacity, sizeof *entries);
        if (!entries) {
                free(places);
                return -ENOMEM;
        }
        free(map->places);
        map->entries = entries;
        map->entry_capacity = capacity;
        map->places = places;
        map->place_count = capacity * 2;
        for (uint32_t i = 0; i < map->entry_count; i++)
                map->places[place_of(map, entries[i].record.checkpoint.session)] = i + 1;
        return 0;
}

struct journal_known *journal_map_find(const struct journal_map *map, const char *session) {
        uint32_t index;

        if (map->entry_count == 0)
                return NULL;
        index = map->places[place_of(map, session)];
        return index == 0 ? NULL : &map->entries[index - 1];
}

int journal_map_add(struct journal_map *map, const char *session, struct journal_known **ret_known) {
        struct journal_known *known;
        int r;

        assert(text_is_name(session));

        known = journal_map_find(map, session);
        if (!known) {
                if (map->entry_count == map->entry_capacity) {
                        r = map_grow(map);
                        if (r < 0)
                                return r;
                }
                assert(map->entries);
                known = &map->entries[map->entry_count];
                *known = (struct journal_known){ 0 };
                r = text_copy(known->record.checkpoint.session, NAME_BYTES, session);
                assert(r == 0);
                map->places[place_of(map, session)] = ++map->entry_count;
        }
        *ret_known = known;
        return 0;
}

void journal_map_done(struct journal_map *map) {
        free(map->entries);
        free(map->places);
        *map = (struct journal_map){ 0 };
}
