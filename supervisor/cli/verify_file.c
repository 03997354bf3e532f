/* SPDX-License-Identifier: Apache-2.0 */
/* A file destination as verify reads it: the checkpoint from the journal (it is the authority there, M3),
 * then DIRECTORY/SESSION.NNNNNN.jsonl in the order of their numbers, then SESSION.parked.jsonl. Lines
 * behind the checkpoint are in the making and are not looked at.
 * Must not touch: a byte of the files or of the journals. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/cli/format.h"
#include "supervisor/cli/verify.h"

#define SUFFIX ".jsonl"

struct numbers {
        uint64_t *items;
        size_t count, capacity;
};

struct file_reader {
        const char *directory, *session;
        struct verify_compare *compare;
        uint64_t last; /* the checkpoint's position */
};

static int read_checkpoint(const char *state_directory, const char *destination, const char *session,
                           struct verify_checkpoint *ret_checkpoint, struct failure *ret_failure) {
        struct journal_entry entry;
        int r;

        r = verify_journal(state_directory, destination, session, &entry, ret_failure);
        if (r <= 0)
                return r; /* 0: nothing was moved yet */
        *ret_checkpoint = (struct verify_checkpoint){
                .is_there = true,
                .position = entry.checkpoint.position,
                .event_count = entry.checkpoint.event_count,
                .digest_sum = entry.checkpoint.digest_sum,
                .parked_count = entry.checkpoint.parked_count,
        };
        return 0;
}

/* The number in SESSION.NNNNNN.jsonl; false for every other name. */
static bool number_of(const char *name, const char *session, uint64_t *ret_number) {
        size_t prefix = strlen(session), length = strlen(name);
        char digits[24];

        if (length <= prefix + 1 + strlen(SUFFIX) || strncmp(name, session, prefix) != 0 ||
            name[prefix] != '.' || strcmp(name + length - strlen(SUFFIX), SUFFIX) != 0)
                return false;
        length -= prefix + 1 + strlen(SUFFIX);
        if (length < 6 || length >= sizeof(digits))
                return false;
        memcpy(digits, name + prefix + 1, length);
        digits[length] = '\0';
        return text_parse_u64(digits, ret_number) == 0;
}

static int compare_numbers(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

static int list_files(const struct file_reader *reader, struct numbers *numbers,
                      struct failure *ret_failure) {
        struct dirent *entry;
        uint64_t number;
        DIR *directory;

        directory = opendir(reader->directory);
        if (!directory)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "cannot read %s: %s",
                                   reader->directory, strerror(errno));
        while ((entry = readdir(directory))) {
                if (!number_of(entry->d_name, reader->session, &number))
                        continue;
                if (numbers->count == numbers->capacity) {
                        numbers->capacity = MAX_OF(numbers->capacity * 2, (size_t) 16);
                        numbers->items = must_have(
                                reallocarray(numbers->items, numbers->capacity, sizeof(numbers->items[0])));
                }
                numbers->items[numbers->count++] = number;
        }
        (void) closedir(directory);
        if (numbers->count > 1)
                qsort(numbers->items, numbers->count, sizeof(numbers->items[0]), compare_numbers);
        return 0;
}

static bool line_is_same(const struct verify_arrival *arrival, const struct event *event) {
        return verify_line_is_event(arrival->line, event);
}

/* A parked line keeps every storage class, so the digest is exact. */
static bool parked_is_same(const struct verify_arrival *arrival, const struct event *event) {
        return arrival->digest == verify_digest(event);
}

/* One line; what is behind the checkpoint is left out. -EBADMSG without a sentence: it is no event. */
static int take_line(const struct file_reader *reader, const char *text, size_t bytes, bool is_parked,
                     struct failure *ret_failure) {
        struct verify_arrival arrival = { .is_parked = is_parked,
                                          .is_same = is_parked ? parked_is_same : line_is_same };
        struct verify_line line;
        int r;

        r = verify_line_parse(text, bytes, &line);
        if (r < 0 || !verify_line_is_session(&line, reader->session))
                return -EBADMSG;
        if (line.position > reader->last)
                return 0;
        arrival.position = line.position;
        arrival.line = &line;
        arrival.digest = verify_line_digest(&line, is_parked);
        return verify_compare_arrive(reader->compare, &arrival, ret_failure);
}

/* The last line of the last file may be torn: what is behind the checkpoint is not durable yet. */
static int read_file(const struct file_reader *reader, const char *path, bool is_last, bool is_parked,
                     struct failure *ret_failure) {
        _cleanup_free_ char *text = NULL;
        size_t capacity = 0, number = 0;
        struct failure failure = {};
        ssize_t bytes;
        int r = 0;
        FILE *file;

        file = fopen(path, "re");
        if (!file && errno == ENOENT && is_parked)
                return 0;
        if (!file)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE, "cannot read %s: %s", path,
                                   strerror(errno));
        while (r == 0 && (bytes = getline(&text, &capacity, file)) > 0) {
                number++;
                r = take_line(reader, text, (size_t) bytes, is_parked, &failure);
                if (r == -EBADMSG && failure.text[0] == '\0' && is_last && text[bytes - 1] != '\n')
                        r = 0;
                else if (r == -EBADMSG && failure.text[0] == '\0')
                        failure_set(
                                &failure, r, FAILURE_STOP,
                                "%s, line %zu is no event of session %s: it is damaged, or was changed by hand",
                                path, number, reader->session);
        }
        if (r == 0 && ferror(file))
                r = failure_set(&failure, -EIO, FAILURE_UNAVAILABLE, "cannot read %s: %s", path,
                                strerror(errno));
        (void) fclose(file);
        if (r < 0 && ret_failure)
                *ret_failure = failure;
        return r;
}

static int read_all(const struct file_reader *reader, struct failure *ret_failure) {
        struct numbers numbers = {};
        char path[URL_BYTES + 256];
        int r;

        r = list_files(reader, &numbers, ret_failure);
        for (size_t i = 0; r >= 0 && i < numbers.count; i++) {
                (void) snprintf(path, sizeof(path), "%s/%s.%06" PRIu64 SUFFIX, reader->directory,
                                reader->session, numbers.items[i]);
                r = read_file(reader, path, i + 1 == numbers.count, false, ret_failure);
        }
        free(numbers.items);
        if (r < 0)
                return r;
        (void) snprintf(path, sizeof(path), "%s/%s.parked" SUFFIX, reader->directory, reader->session);
        return read_file(reader, path, true, true, ret_failure);
}

int verify_file(const struct url *url, const char *destination, const char *state_directory,
                const char *session, struct verify_source *source, struct verify_result *ret_result,
                struct failure *ret_failure) {
        struct file_reader reader = { .directory = url->path, .session = session };
        struct verify_checkpoint checkpoint = {};
        int r;

        r = read_checkpoint(state_directory, destination, session, &checkpoint, ret_failure);
        if (r < 0)
                return r;
        reader.last = checkpoint.position;
        reader.compare = verify_compare_new(source, &checkpoint, false);
        r = read_all(&reader, ret_failure);
        if (r >= 0)
                r = verify_compare_end(reader.compare, ret_result, ret_failure);
        verify_compare_free(reader.compare);
        return r;
}
