/* SPDX-License-Identifier: Apache-2.0 */
/* Between config.c, which reads files, and config_check.c, which knows what the keys mean: sections and
 * values as text, each with the file and line that it came from. Private to those two. */
#pragma once

#include "supervisor/config.h"

#define CONFIG_KEY_COUNT_MAX 8

struct raw_value {
        const char *text; /* NULL: not given */
        const char *file;
        uint32_t line;
};

struct raw_section {
        enum config_section kind;
        const char *name;             /* "" for [baton] */
        const char *file, *last_file; /* first seen in, last seen in (a drop-in extends it) */
        uint32_t line, last_line;
        uint32_t index;                                /* among those of its kind, in order of appearance */
        struct raw_value values[CONFIG_KEY_COUNT_MAX]; /* in the order of config_keys[kind] */
};

struct config_raw {
        struct raw_section *baton; /* NULL: none */
        struct raw_section **destinations, **sources;
        uint32_t destination_count, source_count, destination_capacity, source_capacity;
        void *tree;                 /* tsearch(): (kind, name) → section */
        struct config_chunk *arena; /* sections and texts; the file names live in the config's */
};

/* Zeroed memory that lives as long as the chunk list. NULL: out of memory. */
void *config_arena_new(struct config_chunk **arena, size_t bytes);
char *config_arena_text(struct config_chunk **arena, const char *text, size_t bytes);
void config_arena_free(struct config_chunk *arena);

/* The section of that kind and name, or NULL. */
struct raw_section *config_raw_find(const struct config_raw *raw, enum config_section kind, const char *name);

/* Gives the raw texts their meaning. *config has an empty arena; filled on success only in full. */
int config_check(const struct config_raw *raw, const char *path, struct config *config,
                 struct failure *ret_failure);
