/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up tape of operations on files, and the states of it, in few words. */
#pragma once

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "prove/power/cut.h"

static struct tape sample;

static inline size_t enter(struct tape_op op) {
        return tape_enter(&sample, &op);
}

static inline size_t done(size_t index) {
        tape_return(&sample, index);
        return index;
}

static inline uint32_t base_file(const char *name, const char *content) {
        uint32_t file = tape_new_file(&sample);

        tape_base(&sample,
                  &(struct tape_op){ .kind = TAPE_CREATE, .file = file, .name = name, .mode = 0644 });
        if (content)
                tape_base(&sample, &(struct tape_op){ .kind = TAPE_WRITE,
                                                      .file = file,
                                                      .bytes = strlen(content),
                                                      .data = (const uint8_t *) content });
        return file;
}

static inline uint32_t create(uint32_t parent, const char *name) {
        uint32_t file = tape_new_file(&sample);

        done(enter((struct tape_op){ .kind = TAPE_CREATE, .file = file, .parent = parent, .name = name }));
        return file;
}

static inline uint32_t make_directory(const char *name) {
        uint32_t file = tape_new_file(&sample);

        done(enter((struct tape_op){ .kind = TAPE_MAKE_DIRECTORY, .file = file, .name = name }));
        return file;
}

static inline void rename_to(uint32_t file, const char *name, const char *to_name) {
        done(enter((struct tape_op){ .kind = TAPE_RENAME, .file = file, .name = name, .to_name = to_name }));
}

static inline void unlink_name(uint32_t file, const char *name) {
        done(enter((struct tape_op){ .kind = TAPE_UNLINK, .file = file, .name = name }));
}

static inline size_t enter_write(uint32_t file, uint64_t offset, const void *data, size_t bytes) {
        return enter((struct tape_op){
                .kind = TAPE_WRITE, .file = file, .offset = offset, .bytes = bytes, .data = data });
}

static inline void write_text(uint32_t file, uint64_t offset, const char *text) {
        done(enter_write(file, offset, text, strlen(text)));
}

/* `count` sectors full of one letter. */
static inline void write_sectors(uint32_t file, uint64_t sector, size_t count, char letter) {
        char *data = malloc(count * SECTOR_BYTES);

        memset(data, letter, count * SECTOR_BYTES);
        done(enter_write(file, sector * SECTOR_BYTES, data, count * SECTOR_BYTES));
        free(data);
}

static inline void set_size(uint32_t file, uint64_t size) {
        done(enter((struct tape_op){ .kind = TAPE_SIZE, .file = file, .offset = size }));
}

static inline size_t enter_sync(uint32_t file) {
        return enter((struct tape_op){ .kind = TAPE_SYNC, .file = file });
}

static inline void sync_file(uint32_t file) {
        done(enter_sync(file));
}

static inline void datasync_file(uint32_t file) {
        done(enter((struct tape_op){ .kind = TAPE_DATASYNC, .file = file }));
}

/* ---- states ------------------------------------------------------------------------------------ */
struct state {
        struct disk disk;
        struct cut cut;
        struct cut_image image;
};

/* At the end of the tape. */
static inline void state_at(struct state *state, uint64_t moment, uint64_t number,
                            enum disk_blindness blindness) {
        disk_begin(&state->disk, &sample, blindness);
        disk_advance(&state->disk, moment);
        cut_choose(&state->disk, number, 1, &state->cut);
        cut_build(&state->disk, &state->cut, &state->image);
}

static inline void state_begin(struct state *state, uint64_t number) {
        state_at(state, sample.moment, number, BLIND_NOT);
}

static inline void state_done(struct state *state) {
        cut_image_done(&state->image);
        cut_done(&state->cut);
        disk_done(&state->disk);
}

/* Its content as a text of at most 4096 bytes; NULL: it is not there. */
static inline const char *state_text(const struct state *state, const char *path) {
        static char text[4097];
        const struct cut_entry *entry = cut_image_find(&state->image, path);
        size_t bytes;

        if (!entry)
                return NULL;
        bytes = entry->size < sizeof(text) - 1 ? entry->size : sizeof(text) - 1;
        memcpy(text, entry->content, bytes);
        text[bytes] = '\0';
        return text;
}

/* What the file holds in the state of that number. */
static inline void expect_text(uint64_t number, const char *path, const char *text) {
        struct state state;
        const char *found;

        state_begin(&state, number);
        found = state_text(&state, path);
        if (text)
                cr_expect(found && strcmp(found, text) == 0, "state %d: %s holds '%s', not '%s'",
                          (int) number, path, found ? found : "(absent)", text);
        else
                cr_expect(!found, "state %d: %s is there", (int) number, path);
        state_done(&state);
}

static inline void sample_begin(void) {
        tape_begin(&sample);
}

static inline void sample_end(void) {
        tape_done(&sample);
}
