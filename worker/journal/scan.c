/* SPDX-License-Identifier: Apache-2.0 */
/* Gathers the conditions of recovery.h at each place of a file. In this version all records have one
 * length, so their places are a grid: what stands behind a damaged one can be found, and the number
 * that belongs at each place is known (J3).
 * Must not touch: the file (it only reads), locks. */
#include "worker/journal/scan.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/macro.h"
#include "worker/journal/disk.h"

#define SECTOR_BYTES 512u

static_assert(JOURNAL_WINDOW_BYTES >= 2 * JOURNAL_BYTES_MAX, "a record of any version fits the window");

static uint64_t sequence_at(uint64_t offset) {
        assert((offset - JOURNAL_HEADER_BYTES) % JOURNAL_RECORD_BYTES == 0);
        return (offset - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES + 1;
}

static size_t zeros_at(const uint8_t *bytes, size_t count) {
        size_t i = 0;

        while (i < count && bytes[i] == 0)
                i++;
        return i;
}

static void forget_window(struct journal_scan *scan) {
        scan->window_offset = scan->window_bytes = 0;
        scan->nonzero_from = scan->valid_from = JOURNAL_NOWHERE;
        scan->nonzero_at = scan->valid_at = 0;
}

static int measure(struct journal_scan *scan) {
        struct stat st;

        if (fstat(scan->fd, &st) < 0)
                return -errno;
        scan->file_bytes = (uint64_t) st.st_size;
        forget_window(scan);
        return 0;
}

int journal_scan_begin(struct journal_scan *scan, int fd, bool alive) {
        assert(scan);
        assert(fd >= 0);

        scan->fd = fd;
        scan->alive = alive;
        scan->synced = true;
        scan->offset = 0;
        return measure(scan);
}

/* Up to `want` bytes at the offset; fewer only at the end of the file. The pointer holds until the
 * next fetch. */
static int fetch(struct journal_scan *scan, uint64_t offset, size_t want, const uint8_t **ret_bytes,
                 size_t *ret_count) {
        size_t count;
        int r;

        assert(want <= JOURNAL_WINDOW_BYTES);

        want = offset >= scan->file_bytes ? 0 : (size_t) MIN_OF((uint64_t) want, scan->file_bytes - offset);
        if (offset < scan->window_offset || offset + want > scan->window_offset + scan->window_bytes) {
                r = journal_disk_read(scan->fd, scan->window, JOURNAL_WINDOW_BYTES, offset, &count);
                if (r < 0)
                        return r;
                scan->window_offset = offset;
                scan->window_bytes = count;
                want = MIN_OF(want, count);
        }
        *ret_bytes = scan->window + (offset - scan->window_offset);
        *ret_count = want;
        return 0;
}

/* The first byte at or behind `from` that is not zero, or JOURNAL_NOWHERE. */
static int find_nonzero(struct journal_scan *scan, uint64_t from, uint64_t *ret_at) {
        const uint8_t *bytes;
        size_t count, zeros;
        uint64_t at;
        int r;

        if (from >= scan->nonzero_from && from <= scan->nonzero_at) {
                *ret_at = scan->nonzero_at;
                return 0;
        }
        for (at = from;; at += zeros) {
                r = fetch(scan, at, JOURNAL_BYTES_MAX, &bytes, &count);
                if (r < 0)
                        return r;
                zeros = zeros_at(bytes, count);
                if (count == 0)
                        at = JOURNAL_NOWHERE;
                if (zeros < count)
                        at += zeros;
                if (count == 0 || zeros < count)
                        break;
        }
        scan->nonzero_from = from;
        *ret_at = scan->nonzero_at = at;
        return 0;
}

static bool is_valid_record(const uint8_t *bytes, size_t count, uint64_t offset) {
        return count >= JOURNAL_RECORD_BYTES && journal_record_length(bytes) == JOURNAL_RECORD_BYTES &&
               journal_record_crc_ok(bytes, JOURNAL_RECORD_BYTES) &&
               journal_record_is_known(bytes, JOURNAL_RECORD_BYTES) &&
               journal_record_sequence(bytes) == sequence_at(offset);
}

/* The first place at or behind `from` (itself a place) with a valid record, or JOURNAL_NOWHERE. */
static int find_valid(struct journal_scan *scan, uint64_t from, uint64_t *ret_at) {
        const uint8_t *bytes;
        size_t count;
        uint64_t at;
        int r;

        if (from >= scan->valid_from && from <= scan->valid_at) {
                *ret_at = scan->valid_at;
                return 0;
        }
        for (at = from;; at += JOURNAL_RECORD_BYTES) {
                r = fetch(scan, at, JOURNAL_RECORD_BYTES, &bytes, &count);
                if (r < 0)
                        return r;
                if (count < JOURNAL_RECORD_BYTES) {
                        at = JOURNAL_NOWHERE;
                        break;
                }
                if (is_valid_record(bytes, count, at))
                        break;
        }
        scan->valid_from = from;
        *ret_at = scan->valid_at = at;
        return 0;
}

/* ---- header ---------------------------------------------------------------------------------- */

int journal_scan_header(struct journal_scan *scan, const uint8_t *instance, const char *destination,
                        struct journal_header *ret_header, const struct journal_row **ret_row) {
        struct journal_header header = { 0 };
        const uint8_t *bytes;
        uint32_t conditions = 0;
        uint64_t nonzero_at;
        size_t count;
        int r;

        r = find_nonzero(scan, 0, &nonzero_at);
        if (r < 0)
                return r;
        r = fetch(scan, 0, JOURNAL_BYTES_MAX, &bytes, &count);
        if (r < 0)
                return r;

        conditions |= nonzero_at != JOURNAL_NOWHERE ? HEADER_PRESENT : 0;
        conditions |= journal_header_magic_ok(bytes, count) ? HEADER_MAGIC_OK : 0;
        conditions |= journal_header_crc_ok(bytes, count) ? HEADER_CRC_OK : 0;
        conditions |= journal_header_is_known(bytes, count) ? HEADER_KNOWN : 0;
        if (conditions & HEADER_KNOWN) {
                journal_header_decode(bytes, &header);
                if ((!instance || memcmp(instance, header.instance, INSTANCE_BYTES) == 0) &&
                    (!destination || strcmp(destination, header.destination) == 0))
                        conditions |= HEADER_OURS;
        }
        *ret_row = journal_header_decide(conditions);
        if ((*ret_row)->decision == JOURNAL_OTHER_VERSION)
                header.version = journal_header_version(bytes);
        *ret_header = header;
        if ((*ret_row)->decision == JOURNAL_GO_ON || (*ret_row)->decision == JOURNAL_FOREIGN) {
                journal_scan_resume(scan, &header, JOURNAL_HEADER_BYTES);
        }
        return 0;
}

void journal_scan_resume(struct journal_scan *scan, const struct journal_header *header, uint64_t offset) {
        assert(offset >= JOURNAL_HEADER_BYTES);

        scan->synced = header->flags & JOURNAL_FLAG_SYNCED;
        scan->offset = offset;
}

/* ---- records --------------------------------------------------------------------------------- */

/* True if a sector that the place lies in holds nothing but zeros of it: as it reads when that sector
 * did not reach the disk. */
static bool has_zero_sector(const uint8_t *bytes, uint64_t offset) {
        size_t first = (size_t) (SECTOR_BYTES - offset % SECTOR_BYTES);

        if (first >= JOURNAL_RECORD_BYTES)
                return zeros_at(bytes, JOURNAL_RECORD_BYTES) == JOURNAL_RECORD_BYTES;
        return zeros_at(bytes, first) == first ||
               zeros_at(bytes + first, JOURNAL_RECORD_BYTES - first) == JOURNAL_RECORD_BYTES - first;
}

/* The conditions of the record itself. *record: the place's bytes, zero-filled behind the file's end. */
static int look_at(struct journal_scan *scan, uint8_t *record, uint32_t *ret_conditions) {
        uint32_t conditions = 0, length_bytes;
        const uint8_t *bytes;
        size_t count;
        int r;

        r = fetch(scan, scan->offset, JOURNAL_BYTES_MAX, &bytes, &count);
        if (r < 0)
                return r;
        memset(record, 0, JOURNAL_RECORD_BYTES);
        if (count > 0)
                memcpy(record, bytes, MIN_OF(count, (size_t) JOURNAL_RECORD_BYTES));

        conditions |= scan->alive ? RECORD_WRITER_ALIVE : 0;
        conditions |= scan->synced ? RECORD_FILE_SYNCED : 0;
        conditions |= has_zero_sector(record, scan->offset) ? RECORD_SECTOR_ZERO : 0;
        conditions |= zeros_at(record, JOURNAL_RECORD_BYTES) == JOURNAL_RECORD_BYTES ? RECORD_BLANK : 0;
        length_bytes = journal_record_length(record);
        if (journal_record_length_is_sane(length_bytes) && length_bytes <= count) {
                conditions |= RECORD_LENGTH_SANE;
                conditions |= journal_record_crc_ok(bytes, length_bytes) ? RECORD_CRC_OK : 0;
                conditions |= journal_record_is_known(record, length_bytes) ? RECORD_KNOWN : 0;
                if (journal_record_sequence(record) == sequence_at(scan->offset))
                        conditions |= RECORD_IN_SEQUENCE;
        }
        *ret_conditions = conditions;
        return 0;
}

/* Adds what stands behind the place; only asked where the record itself is not whole. */
static int look_behind(struct journal_scan *scan, uint32_t *conditions) {
        uint64_t behind = scan->offset + JOURNAL_RECORD_BYTES, nonzero_at, valid_at = JOURNAL_NOWHERE;
        int r;

        r = find_nonzero(scan, behind, &nonzero_at);
        if (r < 0)
                return r;
        if (nonzero_at != JOURNAL_NOWHERE) {
                r = find_valid(scan, behind, &valid_at);
                if (r < 0)
                        return r;
        }
        *conditions |= nonzero_at == JOURNAL_NOWHERE ? RECORD_ZERO_BEHIND : 0;
        *conditions |= valid_at != JOURNAL_NOWHERE ? RECORD_VALID_BEHIND : 0;
        return 0;
}

static int judge(struct journal_scan *scan, uint8_t *record, const struct journal_row **ret_row) {
        uint32_t conditions;
        int r;

        r = look_at(scan, record, &conditions);
        if (r < 0)
                return r;
        if (!(conditions & RECORD_CRC_OK)) {
                r = look_behind(scan, &conditions);
                if (r < 0)
                        return r;
        }
        *ret_row = journal_record_decide(conditions);
        return 0;
}

bool journal_decision_is_end(enum journal_decision decision) {
        return decision != JOURNAL_GO_ON && decision != JOURNAL_LOST && decision != JOURNAL_DAMAGED;
}

/* A live writer may have been writing this record while the window was read, and the next one before
 * the window's end was: then the record looks damaged and the next is whole. But a writer begins a
 * record only after the one before it is in the file, so a second look, begun now, sees it whole. */
static int judge_again(struct journal_scan *scan, uint8_t *record, const struct journal_row **ret_row) {
        int r;

        r = measure(scan);
        if (r < 0)
                return r;
        return judge(scan, record, ret_row);
}

int journal_scan_next(struct journal_scan *scan, struct journal_step *ret_step) {
        uint8_t record[JOURNAL_RECORD_BYTES];
        const struct journal_row *row;
        const char *session;
        int r;

        assert(scan->offset >= JOURNAL_HEADER_BYTES);

        r = judge(scan, record, &row);
        if (r >= 0 && scan->alive && (row->decision == JOURNAL_DAMAGED || row->decision == JOURNAL_LOST))
                r = judge_again(scan, record, &row);
        if (r < 0)
                return r;

        *ret_step = (struct journal_step){
                .decision = row->decision,
                .reason = row->reason,
                .offset = scan->offset,
        };
        if (row->decision == JOURNAL_GO_ON)
                journal_record_decode(record, &ret_step->record);
        if (row->decision == JOURNAL_DAMAGED) {
                session = journal_record_damaged_session(record);
                if (session)
                        memcpy(ret_step->damaged_session, session, NAME_BYTES);
        }
        if (!journal_decision_is_end(row->decision))
                scan->offset += JOURNAL_RECORD_BYTES;
        return 0;
}
