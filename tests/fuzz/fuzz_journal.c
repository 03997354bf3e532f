/* SPDX-License-Identifier: Apache-2.0 */
/* The journals of one destination as a disk may leave them: reading, recovery, `journal check|show`, collection,
 * and a writer that goes on behind it.
 *
 * An input is four bytes (bit 0: load with sync, bit 1: a writer goes on; whose writers live; …) and then the files, one behind the other: each begins
 * with the magic of a journal; what stands before the first is a file too. Held against an oracle that reads
 * records by their offsets in the format (include/baton/journal.h) and shares no code with recovery:
 *   - the same bytes always decide the same;
 *   - what is given out stands so in a whole record of a whole file, and no whole record says more;
 *   - cutting tails, collecting (J8) and writing change no session's best record but to a better one. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "include/baton/journal.h"
#include "tests/fuzz/lib/fuzz.h"
#include "tests/fuzz/lib/journal_bytes.h"
#include "tests/fuzz/lib/journal_mutate.h"

#define FILES_MAX 6
#define SESSIONS_MAX 12
#define DIRECTORY "state/journal/dest"

struct part { /* one file */
        const uint8_t *data;
        size_t bytes;
        char name[64];
        bool is_alive;
        int lock_fd;
};

struct answer { /* what a find says */
        int r;
        struct journal_entry entry;
};

struct scene {
        bool sync, writes;
        struct part parts[FILES_MAX];
        size_t part_count;
        char sessions[SESSIONS_MAX][NAME_BYTES];
        size_t session_count;
};

static const uint8_t instance[INSTANCE_BYTES] = JOURNAL_BYTES_INSTANCE;

/* ---- the scene ---------------------------------------------------------------------------------------- */
static void session_note(struct scene *scene, const char *name) {
        for (size_t i = 0; i < scene->session_count; i++)
                if (strcmp(scene->sessions[i], name) == 0)
                        return;
        if (scene->session_count < SESSIONS_MAX && text_is_name(name))
                (void) text_copy(scene->sessions[scene->session_count++], NAME_BYTES, name);
}

static void sessions_collect(struct scene *scene) {
        char name[NAME_BYTES + 1] = "";

        session_note(scene, "orders");
        session_note(scene, "nobody");
        for (size_t i = 0; i < scene->part_count; i++)
                for (size_t k = 0; journal_bytes_place(k) + JOURNAL_RECORD_BYTES <= scene->parts[i].bytes;
                     k++) {
                        memcpy(name, scene->parts[i].data + journal_bytes_place(k) + JOURNAL_AT_SESSION,
                               NAME_BYTES);
                        session_note(scene, name);
                }
}

static void scene_read(struct scene *scene, struct input *input) {
        uint8_t flags = input_u8(input), alive = input_u8(input);
        const uint8_t *next;

        (void) input_u16(input); /* for the mutator: where it may grow flags */
        *scene = (struct scene){ .sync = flags & 1, .writes = flags & 2 };
        while (!input_is_empty(input) && scene->part_count < FILES_MAX) {
                struct part *part = &scene->parts[scene->part_count];
                size_t left = (size_t) (input->end - input->at);

                next = left > 8 ? memmem(input->at + 1, left - 1, JOURNAL_BYTES_MAGIC, 8) : NULL;
                part->bytes = input_bytes(input, next ? (size_t) (next - input->at) : left, &part->data);
                part->is_alive = alive >> scene->part_count & 1;
                part->lock_fd = -1;
                (void) snprintf(part->name, sizeof(part->name), "%04zu-%zu.journal", scene->part_count,
                                scene->part_count + 1);
                scene->part_count++;
        }
        sessions_collect(scene);
}

static void scene_place(struct scene *scene) {
        char name[128];

        (void) mkdir(place_file("state"), 0750);
        (void) mkdir(place_file("state/journal"), 0750);
        (void) mkdir(place_file(DIRECTORY), 0750);
        for (size_t i = 0; i < scene->part_count; i++) {
                struct part *part = &scene->parts[i];

                (void) snprintf(name, sizeof(name), DIRECTORY "/%s", part->name);
                place_write(name, part->data, part->bytes);
                if (!part->is_alive)
                        continue;
                part->lock_fd = open(place_file(name), O_RDONLY | O_CLOEXEC);
                fuzz_must(part->lock_fd >= 0 && flock(part->lock_fd, LOCK_EX) == 0, "%s: %m", name);
        }
}

static void scene_done(struct scene *scene) {
        for (size_t i = 0; i < scene->part_count; i++)
                fd_close(&scene->parts[i].lock_fd);
        place_empty(NULL);
}

/* ---- the oracle --------------------------------------------------------------------------------------- */
/* The best whole record of the session in the file, added to *best. False where the file is none of ours. */
static bool part_best(const struct part *part, const char *session, const uint8_t **best) {
        if (!journal_bytes_header_is_ours(part->data, part->bytes))
                return false;
        for (size_t k = 0; journal_bytes_place(k) + JOURNAL_RECORD_BYTES <= part->bytes; k++) {
                const uint8_t *record = part->data + journal_bytes_place(k);

                if (!journal_bytes_record_is_whole(record, k) ||
                    strcmp((const char *) record + JOURNAL_AT_SESSION, session) != 0)
                        continue;
                if (!*best || journal_bytes_compare(record, *best) > 0)
                        *best = record;
        }
        return true;
}

/* Some whole record of the same rank says exactly this. */
static bool is_said(const struct scene *scene, const struct checkpoint *checkpoint) {
        for (size_t i = 0; i < scene->part_count; i++) {
                const struct part *part = &scene->parts[i];

                if (!journal_bytes_header_is_ours(part->data, part->bytes))
                        continue;
                for (size_t k = 0; journal_bytes_place(k) + JOURNAL_RECORD_BYTES <= part->bytes; k++)
                        if (journal_bytes_record_is_whole(part->data + journal_bytes_place(k), k) &&
                            journal_bytes_is_checkpoint(part->data + journal_bytes_place(k), checkpoint))
                                return true;
        }
        return false;
}

static void expect_best(const struct scene *scene, const char *session, const struct answer *answer) {
        const uint8_t *best = NULL;

        for (size_t i = 0; i < scene->part_count; i++)
                (void) part_best(&scene->parts[i], session, &best);
        if (answer->r == -ENOENT)
                fuzz_must(!best, "%s: a whole record of it is not seen", session);
        if (answer->r < 0)
                return;
        fuzz_must(is_said(scene, &answer->entry.checkpoint), "%s: nobody wrote epoch %llu, position %llu",
                  session, (unsigned long long) answer->entry.checkpoint.epoch,
                  (unsigned long long) answer->entry.checkpoint.position);
        fuzz_must(best && journal_bytes_get(best + JOURNAL_AT_EPOCH) == answer->entry.checkpoint.epoch &&
                          journal_bytes_get(best + JOURNAL_AT_POSITION) == answer->entry.checkpoint.position,
                  "%s: a better record is there", session);
}

/* ---- reading ------------------------------------------------------------------------------------------- */
static struct journal_table *load(struct journal_table *table, bool leave_tails, bool sync) {
        struct failure failure = { 0 };
        int r;

        if (!table)
                table = journal_table_new(leave_tails);
        r = journal_table_load(place_file("state"), "dest", instance, sync, &table, &failure);
        fuzz_must(r == 0, "what a file says is no failure of the load: %s", failure.text);
        for (uint32_t i = 0; i < journal_table_finding_count(table); i++) {
                const char *finding = journal_table_finding(table, i);

                fuzz_must(*finding && text_is_harmless(finding, strlen(finding), ""), "%s", finding);
        }
        return table;
}

static void find_all(const struct scene *scene, const struct journal_table *table,
                     struct answer *ret_answers) {
        for (size_t i = 0; i < scene->session_count; i++) {
                struct failure failure = { 0 };
                struct answer *answer = &ret_answers[i];

                *answer = (struct answer){ .r = 0 };
                answer->r = journal_table_find(table, scene->sessions[i], &answer->entry, &failure);
                fuzz_must(answer->r == 0 || answer->r == -ENOENT || answer->r == -EBADMSG ||
                                  answer->r == -EPROTONOSUPPORT,
                          "%d", answer->r);
                if (answer->r < 0 && answer->r != -ENOENT)
                        fuzz_must_be_told(answer->r, &failure);
        }
}

static void expect_same(const struct scene *scene, const struct answer *a, const struct answer *b,
                        const char *when) {
        for (size_t i = 0; i < scene->session_count; i++) {
                fuzz_must(a[i].r == b[i].r, "%s, %s: %d and %d", when, scene->sessions[i], a[i].r, b[i].r);
                if (a[i].r == 0)
                        fuzz_must(a[i].entry.checkpoint.epoch == b[i].entry.checkpoint.epoch &&
                                          a[i].entry.checkpoint.position == b[i].entry.checkpoint.position,
                                  "%s, %s: another record", when, scene->sessions[i]);
        }
}

static void reads_as(const struct scene *scene, bool leave_tails, bool sync, const struct answer *expected,
                     const char *when) {
        struct answer answers[SESSIONS_MAX];
        struct journal_table *table = load(NULL, leave_tails, sync);

        find_all(scene, table, answers);
        expect_same(scene, expected, answers, when);
        (void) load(table, leave_tails, sync); /* of what has not changed it reads nothing */
        find_all(scene, table, answers);
        expect_same(scene, expected, answers, when);
        journal_table_free(table);
}

/* ---- what a person asks --------------------------------------------------------------------------------- */
static void inspect(int (*run)(const char *path, FILE *out, struct failure *failure), bool is_json) {
        char *text = NULL;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        struct failure failure = { 0 };
        json_t *json;
        int r;

        fuzz_must(out, "no memory");
        r = run(place_file(DIRECTORY), out, &failure);
        (void) fclose(out);
        fuzz_must(r == 0 || r == 1 || r == -EBADMSG || r == -EPROTONOSUPPORT, "%d: %s", r, failure.text);
        if (r != 0)
                fuzz_must_be_told(-1, &failure);
        fuzz_must(text_is_harmless(text, bytes, "\n"), "a terminal may obey: %s", text);
        if (is_json) {
                json = json_loadb(text, bytes, 0, NULL);
                fuzz_must(json, "no JSON: %s", text);
                json_decref(json);
        }
        free(text);
}

static int show_text(const char *path, FILE *out, struct failure *failure) {
        return journal_show(path, false, out, failure);
}

static int show_json(const char *path, FILE *out, struct failure *failure) {
        return journal_show(path, true, out, failure);
}

/* ---- a writer that goes on ------------------------------------------------------------------------------- */
/* Whoever owns a session now claims it above what is known. Answers are what they must be after it. */
static void claim_all(const struct scene *scene, struct journal *journal, struct answer *answers) {
        for (size_t i = 0; i < scene->session_count; i++) {
                struct checkpoint *checkpoint = &answers[i].entry.checkpoint;
                struct failure failure = { 0 };
                int r;

                if ((answers[i].r < 0 && answers[i].r != -ENOENT) || checkpoint->epoch == UINT64_MAX)
                        continue;
                if (answers[i].r == -ENOENT)
                        (void) text_copy(checkpoint->session, NAME_BYTES, scene->sessions[i]);
                checkpoint->epoch++;
                r = journal_append(journal, JOURNAL_CLAIM, checkpoint, &failure);
                fuzz_must(r == 0, "%s", failure.text);
                if (answers[i].r == -ENOENT)
                        answers[i].r = 0;
        }
}

static void write_on(const struct scene *scene, struct answer *answers) {
        const struct journal_config config = { .state_directory = place_file("state"),
                                               .destination = "dest",
                                               .instance = instance,
                                               .worker_index = 1,
                                               .worker_generation = 2,
                                               .synced = scene->sync,
                                               .rotate_bytes = 1024 };
        struct journal *journal = NULL;
        struct failure failure = { 0 };
        int r;

        r = journal_open(&config, &journal, &failure);
        fuzz_must(r == 0, "%s", failure.text);
        claim_all(scene, journal, answers);
        reads_as(scene, true, scene->sync, answers, "beside a writer");
        journal_forget(journal, "orders");
        claim_all(scene, journal, answers);
        fuzz_must(journal_renew(journal, &failure) == 0, "%s", failure.text);
        claim_all(scene, journal, answers);
        journal_close(journal);
        fuzz_must(journal_collect(place_file("state"), "dest", instance) == 0, "collection failed");
        reads_as(scene, true, scene->sync, answers, "after the writer");
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed) {
        return journal_mutate(data, bytes, bytes_max, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
        struct input input = input_of(data, bytes);
        struct answer answers[SESSIONS_MAX];
        struct journal_table *table;
        struct scene scene;

        scene_read(&scene, &input);
        scene_place(&scene);
        inspect(journal_check, false);
        inspect(show_text, false);
        inspect(show_json, true);

        table = load(NULL, true, scene.sync);
        find_all(&scene, table, answers);
        journal_table_free(table);
        for (size_t i = 0; i < scene.session_count; i++)
                expect_best(&scene, scene.sessions[i], &answers[i]);
        reads_as(&scene, true, scene.sync, answers, "once more");
        reads_as(&scene, false, scene.sync, answers, "with tails cut");
        reads_as(&scene, false, true, answers, "after the cut");
        inspect(journal_check, false);
        fuzz_must(journal_collect(place_file("state"), "dest", instance) == 0, "collection failed");
        reads_as(&scene, true, scene.sync, answers, "after a collection");
        if (scene.writes)
                write_on(&scene, answers);
        scene_done(&scene);
        return 0;
}
