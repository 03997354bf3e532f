/* SPDX-License-Identifier: Apache-2.0 */
/* `baton journal check` and `baton journal show`: read-only, on a file or on a directory of them.
 *
 * Whether a writer lives is asked with a shared lock that is given back at once; whoever wants a
 * journal's lock tries and never waits, so this stops nobody.
 * Must not touch: a byte of any file. Bytes shown are input: printed only where they are harmless. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "worker/journal/disk.h"
#include "worker/journal/map.h"
#include "worker/journal/place.h"
#include "worker/journal/scan.h"

struct inspection {
        const char *path;
        FILE *out;
        bool show, json;
        uint64_t record_count, torn_count, lost_count, damage_count;
        enum journal_decision verdict; /* of the file: what ended it, or DAMAGED */
        uint64_t verdict_offset;
        const char *reason;
        uint32_t version; /* the header's; 0: not known */
        struct journal_map sessions;
        bool has_begun;   /* JSON: the file's object is open */
        bool has_printed; /* JSON: a comma is due */
};

/* ---- printing -------------------------------------------------------------------------------- */

static void hex(const uint8_t *bytes, size_t count, char *ret_text) {
        for (size_t i = 0; i < count; i++)
                (void) snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
}

/* A text from the disk, harmless for a terminal and for JSON. */
static void harmless(const char *field, size_t field_bytes, char *ret_text) {
        size_t n = strnlen(field, field_bytes - 1);

        for (size_t i = 0; i < n; i++)
                ret_text[i] = field[i] >= 0x20 && field[i] < 0x7f ? field[i] : '?';
        ret_text[n] = '\0';
}

static void print_json(struct inspection *inspection, json_t *object) {
        if (!object)
                return;
        (void) fprintf(inspection->out, "%s\n    ", inspection->has_printed ? "," : "");
        (void) json_dumpf(object, inspection->out, JSON_COMPACT | JSON_PRESERVE_ORDER);
        json_decref(object);
        inspection->has_printed = true;
}

static json_t *json_u64(uint64_t value) {
        return value <= INT64_MAX ? json_integer((json_int_t) value) : json_sprintf("%" PRIu64, value);
}

static void show_record_json(struct inspection *inspection, const struct journal_step *step) {
        const struct checkpoint *checkpoint = &step->record.checkpoint;
        char time[CLOCK_TEXT_BYTES], identity[IDENTITY_BYTES], state[2 * DESTINATION_STATE_BYTES + 1];

        clock_format(step->record.realtime_usec, time, sizeof time);
        harmless(checkpoint->source_identity, IDENTITY_BYTES, identity);
        hex(checkpoint->destination_state, DESTINATION_STATE_BYTES, state);
        print_json(inspection,
                   json_pack("{s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "offset",
                             json_u64(step->offset), "sequence", json_u64(step->record.sequence), "time",
                             time, "type", journal_type_name(step->record.type), "session",
                             checkpoint->session, "epoch", json_u64(checkpoint->epoch), "position",
                             json_u64(checkpoint->position), "events", json_u64(checkpoint->event_count),
                             "parked", json_u64(checkpoint->parked_count), "anchor",
                             json_sprintf("%016" PRIx64, checkpoint->anchor), "digest_sum",
                             json_sprintf("%016" PRIx64, checkpoint->digest_sum), "source_identity", identity,
                             "destination_state", state));
}

static void show_record(struct inspection *inspection, const struct journal_step *step) {
        const struct checkpoint *checkpoint = &step->record.checkpoint;
        char time[CLOCK_TEXT_BYTES], identity[IDENTITY_BYTES];

        if (inspection->json) {
                show_record_json(inspection, step);
                return;
        }
        clock_format(step->record.realtime_usec, time, sizeof time);
        harmless(checkpoint->source_identity, IDENTITY_BYTES, identity);
        (void) fprintf(inspection->out,
                       "%8" PRIu64 "  %s  %-8s  %s  epoch %" PRIu64 ".%" PRIu64 "  position %" PRIu64
                       "  events %" PRIu64 "  parked %" PRIu64 "  anchor %016" PRIx64 "  source %s\n",
                       step->offset, time, journal_type_name(step->record.type), checkpoint->session,
                       checkpoint->epoch >> 32, checkpoint->epoch & UINT32_MAX, checkpoint->position,
                       checkpoint->event_count, checkpoint->parked_count, checkpoint->anchor,
                       identity[0] ? identity : "-");
}

/* Something that is not a whole record. */
static void print_finding(struct inspection *inspection, const struct journal_step *step) {
        const char *session = step->damaged_session;

        if (inspection->json)
                print_json(inspection,
                           json_pack("{s:o, s:s, s:s*}", "offset", json_u64(step->offset), "finding",
                                     step->reason, "session", session[0] ? session : NULL));
        else
                (void) fprintf(inspection->out, "%s: byte %" PRIu64 ": %s%s%s\n", inspection->path,
                               step->offset, step->reason, session[0] ? "; it was about session " : "",
                               session);
}

static void show_header(const struct inspection *inspection, const struct journal_header *header) {
        char time[CLOCK_TEXT_BYTES], instance[2 * INSTANCE_BYTES + 1], destination[NAME_BYTES];

        clock_format(header->created_realtime_usec, time, sizeof time);
        hex(header->instance, INSTANCE_BYTES, instance);
        harmless(header->destination, NAME_BYTES, destination);
        (void) fprintf(inspection->out,
                       "%s: format %" PRIu32 ", destination %s, worker %" PRIu32 " generation %" PRIu64
                       ", instance %s, %s, made %s\n",
                       inspection->path, header->version, destination, header->worker_index,
                       header->worker_generation, instance,
                       header->flags & JOURNAL_FLAG_SYNCED ? "each record synced" : "records not synced",
                       time);
}

static void show_header_json(const struct inspection *inspection, const struct journal_header *header) {
        char time[CLOCK_TEXT_BYTES], instance[2 * INSTANCE_BYTES + 1], destination[NAME_BYTES];
        json_t *object;

        clock_format(header->created_realtime_usec, time, sizeof time);
        hex(header->instance, INSTANCE_BYTES, instance);
        harmless(header->destination, NAME_BYTES, destination);
        object = json_pack("{s:i, s:s, s:o, s:o, s:s, s:b, s:s}", "version", (int) header->version,
                           "destination", destination, "worker_index", json_u64(header->worker_index),
                           "worker_generation", json_u64(header->worker_generation), "instance", instance,
                           "synced", (int) (header->flags & JOURNAL_FLAG_SYNCED), "created", time);
        if (!object)
                return;
        (void) fputs(", \"header\": ", inspection->out);
        (void) json_dumpf(object, inspection->out, JSON_COMPACT | JSON_PRESERVE_ORDER);
        json_decref(object);
}

/* The header may be NULL. Once for each file. */
static void json_begin(struct inspection *inspection, const struct journal_header *header) {
        json_t *path;

        if (inspection->has_begun)
                return;
        inspection->has_begun = true;
        path = json_string(inspection->path);
        (void) fputs("{\"file\": ", inspection->out);
        if (!path || json_dumpf(path, inspection->out, JSON_ENCODE_ANY) < 0)
                (void) fputs("null", inspection->out);
        json_decref(path);
        if (header)
                show_header_json(inspection, header);
        (void) fputs(", \"records\": [", inspection->out);
}

/* ---- walking --------------------------------------------------------------------------------- */

static const char *const verdict_words[JOURNAL_DECISION_COUNT] = {
        [JOURNAL_GO_ON] = "clean",
        [JOURNAL_CLEAN_END] = "clean",
        [JOURNAL_LIVE_TAIL] = "clean (its writer is writing)",
        [JOURNAL_TORN_TAIL] = "torn tail",
        [JOURNAL_LOST] = "records lost in a power cut, harmless",
        [JOURNAL_DAMAGED] = "DAMAGED",
        [JOURNAL_OTHER_VERSION] = "of another version",
        [JOURNAL_FOREIGN] = "foreign",
        [JOURNAL_UNBORN] = "empty",
};

/* Keeps the first damage, or else the first thing that is not clean. */
static void note_verdict(struct inspection *inspection, enum journal_decision verdict, const char *reason,
                         uint64_t offset) {
        bool is_fine = inspection->verdict == JOURNAL_GO_ON || inspection->verdict == JOURNAL_LOST;

        if (inspection->verdict == JOURNAL_DAMAGED ||
            (inspection->verdict == JOURNAL_LOST && verdict == JOURNAL_CLEAN_END))
                return;
        if (!is_fine && verdict != JOURNAL_DAMAGED)
                return;
        inspection->verdict = verdict;
        inspection->reason = reason;
        inspection->verdict_offset = offset;
}

static int note_step(struct inspection *inspection, const struct journal_step *step) {
        struct journal_known *known;

        if (step->decision == JOURNAL_GO_ON) {
                inspection->record_count++;
                if (inspection->show)
                        show_record(inspection, step);
                return journal_map_add(&inspection->sessions, step->record.checkpoint.session, &known);
        }
        inspection->damage_count += step->decision == JOURNAL_DAMAGED;
        inspection->lost_count += step->decision == JOURNAL_LOST;
        inspection->torn_count += step->decision == JOURNAL_TORN_TAIL;
        if (step->decision != JOURNAL_CLEAN_END && step->decision != JOURNAL_LIVE_TAIL)
                print_finding(inspection, step);
        note_verdict(inspection, step->decision, step->reason, step->offset);
        return 0;
}

static int walk(struct inspection *inspection, struct journal_scan *scan) {
        struct journal_header header;
        const struct journal_row *row;
        struct journal_step step;
        int r;

        r = journal_scan_header(scan, NULL, NULL, &header, &row);
        if (r < 0)
                return r;
        inspection->version = header.version;
        if (inspection->json)
                json_begin(inspection, row->decision == JOURNAL_GO_ON ? &header : NULL);
        if (row->decision != JOURNAL_GO_ON) {
                step = (struct journal_step){ .decision = row->decision, .reason = row->reason };
                return note_step(inspection, &step);
        }
        if (inspection->show && !inspection->json)
                show_header(inspection, &header);
        do {
                r = journal_scan_next(scan, &step);
                if (r < 0)
                        return r;
                r = note_step(inspection, &step);
                if (r < 0)
                        return r;
        } while (!journal_decision_is_end(step.decision));
        return 0;
}

static void print_end(const struct inspection *inspection, const char *verdict) {
        if (inspection->json)
                (void) fprintf(inspection->out,
                               "\n  ], \"verdict\": \"%s\", \"record_count\": %" PRIu64
                               ", \"session_count\": %" PRIu32 ", \"damaged_count\": %" PRIu64 "}\n",
                               verdict, inspection->record_count, inspection->sessions.entry_count,
                               inspection->damage_count);
        else
                (void) fprintf(inspection->out, "%s: %s: %" PRIu64 " record%s of %" PRIu32 " session%s\n",
                               inspection->path, verdict, inspection->record_count,
                               inspection->record_count == 1 ? "" : "s", inspection->sessions.entry_count,
                               inspection->sessions.entry_count == 1 ? "" : "s");
}

/* Exit codes of the contract, and the sentence for what is not clean. */
static int conclude(const struct inspection *inspection, struct failure *ret_failure) {
        char reason[JOURNAL_REASON_BYTES];

        switch (inspection->verdict) {
        case JOURNAL_GO_ON:
        case JOURNAL_CLEAN_END:
        case JOURNAL_LIVE_TAIL:
                return 0;
        case JOURNAL_TORN_TAIL:
        case JOURNAL_LOST:
        case JOURNAL_UNBORN:
                (void) failure_set(ret_failure, -ENODATA, FAILURE_STOP,
                                   "journal %s, byte %" PRIu64 ": %s; the next "
                                   "worker that reads it deals with it",
                                   inspection->path, inspection->verdict_offset, inspection->reason);
                return 1;
        case JOURNAL_OTHER_VERSION:
                return failure_set(ret_failure, -EPROTONOSUPPORT, FAILURE_STOP,
                                   "journal %s, byte %" PRIu64 ": %s; "
                                   "use the Baton that wrote it",
                                   inspection->path, inspection->verdict_offset,
                                   journal_refusal(inspection->version, inspection->reason, reason));
        default:
                return failure_set(ret_failure, -EBADMSG, FAILURE_STOP,
                                   "journal %s, byte %" PRIu64 ": %s; restore "
                                   "the file from a copy, or move it away to go on without what it says",
                                   inspection->path, inspection->verdict_offset, inspection->reason);
        }
}

static int inspect_open(int dir_fd, const char *name, const char *path, struct journal_scan *scan,
                        int *ret_fd, struct failure *ret_failure) {
        _cleanup_fd_ int fd = -1;
        bool alive;
        int r;

        r = journal_disk_open(dir_fd, name, O_RDONLY, &fd);
        if (r >= 0) {
                alive = journal_disk_lock(fd, false) < 0;
                (void) flock(fd, LOCK_UN);
                r = journal_scan_begin(scan, fd, alive);
        }
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r),
                                   "journal %s cannot be opened: %s", path, strerror(-r));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Reads one file to its end, and prints what it finds. */
static int read_file(struct inspection *inspection, int dir_fd, const char *name,
                     struct failure *ret_failure) {
        _cleanup_free_ struct journal_scan *scan = NULL;
        _cleanup_fd_ int fd = -1;
        int r;

        scan = malloc(sizeof *scan);
        if (!scan)
                return failure_set(ret_failure, -ENOMEM, FAILURE_UNAVAILABLE, "journal %s: out of memory",
                                   inspection->path);
        r = inspect_open(dir_fd, name, inspection->path, scan, &fd, ret_failure);
        if (r < 0)
                return r;
        r = walk(inspection, scan);
        if (r < 0)
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "journal %s cannot be read: %s",
                                   inspection->path, strerror(-r));
        return 0;
}

static int inspect_file(int dir_fd, const char *name, struct inspection inspection,
                        struct failure *ret_failure) {
        int r;

        r = read_file(&inspection, dir_fd, name, ret_failure);
        if (r >= 0) {
                print_end(&inspection, verdict_words[inspection.verdict]);
                r = conclude(&inspection, ret_failure);
        } else if (inspection.json) { /* who reads it gets a whole document all the same */
                json_begin(&inspection, NULL);
                print_end(&inspection, "unreadable");
        }
        journal_map_done(&inspection.sessions);
        return r;
}

/* ---- directories ----------------------------------------------------------------------------- */

static int is_journal_entry(const struct dirent *entry) {
        return journal_name_is_journal(entry->d_name);
}

/* The worse of two results: an error before "1", "1" before 0; of two errors the first. */
static bool is_worse(int r, int than) {
        return than >= 0 && (r < 0 || r > than);
}

static int inspect_directory(const struct inspection *inspection, struct failure *ret_failure) {
        struct dirent **entries;
        int count, worst = 0;

        count = scandir(inspection->path, &entries, is_journal_entry, alphasort);
        if (count < 0)
                return failure_set(ret_failure, -errno, FAILURE_UNAVAILABLE,
                                   "journal directory %s cannot be read: %s", inspection->path,
                                   strerror(errno));
        if (inspection->json)
                (void) fputs("[\n", inspection->out);
        for (int i = 0; i < count; i++) {
                _cleanup_free_ struct dirent *entry = entries[i];
                _cleanup_free_ char *path = NULL;
                struct inspection one = *inspection;
                struct failure failure = { 0 };
                int r;

                if (inspection->json && i > 0)
                        (void) fputs(",\n", inspection->out);
                if (asprintf(&path, "%s/%s", inspection->path, entry->d_name) >= 0) {
                        one.path = path;
                        r = inspect_file(AT_FDCWD, path, one, &failure);
                } else {
                        path = NULL;
                        r = failure_set(&failure, -ENOMEM, FAILURE_UNAVAILABLE,
                                        "journal %s/%s: out of memory", inspection->path, entry->d_name);
                        if (inspection->json)
                                (void) fputs("null", inspection->out);
                }
                if (!is_worse(r, worst))
                        continue;
                worst = r;
                if (ret_failure)
                        *ret_failure = failure;
        }
        free(entries);
        if (inspection->json)
                (void) fputs("]\n", inspection->out);
        return worst;
}

static int inspect(const struct inspection *inspection, struct failure *ret_failure) {
        struct stat st;
        int r;

        assert(inspection->path);
        assert(inspection->out);

        if (stat(inspection->path, &st) < 0) {
                r = -errno;
                return failure_set(ret_failure, r, failure_kind_of_errno(r), "journal %s: %s",
                                   inspection->path, strerror(-r));
        }
        if (S_ISDIR(st.st_mode))
                return inspect_directory(inspection, ret_failure);
        return inspect_file(AT_FDCWD, inspection->path, *inspection, ret_failure);
}

int journal_check(const char *path, FILE *out, struct failure *ret_failure) {
        struct inspection inspection = { .path = path, .out = out };

        return inspect(&inspection, ret_failure);
}

int journal_show(const char *path, bool json, FILE *out, struct failure *ret_failure) {
        struct inspection inspection = { .path = path, .out = out, .show = true, .json = json };

        return inspect(&inspection, ret_failure);
}
