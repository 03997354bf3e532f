/* SPDX-License-Identifier: Apache-2.0 */
/* Changes a set of journals as disks, power cuts and other versions do, and puts checksums right behind what
 * libFuzzer changed, so that more than the checksum is tested. */
#include <string.h>

#include "base/macro.h"
#include "tests/fuzz/lib/fuzz.h"
#include "tests/fuzz/lib/journal_bytes.h"
#include "tests/fuzz/lib/journal_mutate.h"

#define CONTROL_BYTES 4 /* before the first file */

struct dice {
        uint64_t state;
};

static uint32_t roll(struct dice *dice, uint32_t below) {
        dice->state = dice->state * 6364136223846793005ULL + 1442695040888963407ULL;
        return below == 0 ? 0 : (uint32_t) (dice->state >> 33) % below;
}

struct body {
        uint8_t *data; /* behind the control bytes */
        size_t bytes, room;
};

/* The file that byte `at` lies in: from *ret_begin, to the next magic. */
static size_t file_around(const struct body *body, size_t at, size_t *ret_begin) {
        const uint8_t *next;
        size_t begin = 0, from = 1;

        while (from < body->bytes &&
               (next = memmem(body->data + from, body->bytes - from, JOURNAL_BYTES_MAGIC, 8))) {
                if ((size_t) (next - body->data) > at) {
                        *ret_begin = begin;
                        return (size_t) (next - body->data) - begin;
                }
                begin = (size_t) (next - body->data);
                from = begin + 1;
        }
        *ret_begin = begin;
        return body->bytes - begin;
}

/* A whole place of some file, or NULL; *ret_k is its number there. */
static uint8_t *record_pick(const struct body *body, struct dice *dice, size_t *ret_k) {
        size_t begin, bytes = file_around(body, roll(dice, (uint32_t) body->bytes), &begin), count;

        if (bytes < journal_bytes_place(1))
                return NULL;
        count = (bytes - JOURNAL_HEADER_BYTES) / JOURNAL_RECORD_BYTES;
        *ret_k = roll(dice, 3) == 0 ? count - 1 : roll(dice, (uint32_t) count);
        return body->data + begin + journal_bytes_place(*ret_k);
}

static void seal_all(struct body *body) {
        size_t begin = 0, bytes;

        for (size_t at = 0; at < body->bytes; at = begin + MAX_OF(bytes, (size_t) 1)) {
                bytes = file_around(body, at, &begin);
                if (bytes >= JOURNAL_HEADER_BYTES)
                        journal_bytes_seal_header(body->data + begin);
                for (size_t k = 0; journal_bytes_place(k + 1) <= bytes; k++)
                        if (body->data[begin + journal_bytes_place(k)] != 0)
                                journal_bytes_seal_record(body->data + begin + journal_bytes_place(k));
        }
}

static bool insert(struct body *body, size_t at, size_t bytes) {
        if (bytes > body->room - body->bytes)
                return false;
        memmove(body->data + at + bytes, body->data + at, body->bytes - at);
        memset(body->data + at, 0, bytes);
        body->bytes += bytes;
        return true;
}

/* Another epoch, position, kind or session, all else in order. */
static void record_change(struct body *body, struct dice *dice) {
        static const char *const names[] = { "orders", "payments", "bills", "a" };
        size_t k = 0;
        uint8_t *record = record_pick(body, dice, &k);

        if (!record)
                return;
        switch (roll(dice, 6)) {
        case 0:
                journal_bytes_put(record + JOURNAL_AT_EPOCH, 8,
                                  roll(dice, 5) ? roll(dice, 6) : UINT64_MAX - roll(dice, 3));
                break;
        case 1:
                journal_bytes_put(record + JOURNAL_AT_POSITION, 8,
                                  roll(dice, 5) ? roll(dice, 9) : UINT64_MAX - roll(dice, 3));
                break;
        case 2:
                journal_bytes_put(record + JOURNAL_AT_TYPE, 2, roll(dice, 7));
                break;
        case 3:
                memset(record + JOURNAL_AT_SESSION, 0, NAME_BYTES);
                (void) strcpy((char *) record + JOURNAL_AT_SESSION, names[roll(dice, ELEMENTSOF(names))]);
                break;
        case 4:
                journal_bytes_put(record + JOURNAL_AT_VERSION, 2, roll(dice, 3));
                break;
        default:
                break;
        }
        journal_bytes_put(record + JOURNAL_AT_SEQUENCE, 8, roll(dice, 8) ? k + 1 : roll(dice, 9));
        journal_bytes_seal_record(record);
}

/* One more record behind one that is there. */
static void record_repeat(struct body *body, struct dice *dice) {
        size_t k = 0, at;
        uint8_t *record = record_pick(body, dice, &k);

        if (!record)
                return;
        at = (size_t) (record - body->data);
        if (!insert(body, at + JOURNAL_RECORD_BYTES, JOURNAL_RECORD_BYTES))
                return;
        record = body->data + at + JOURNAL_RECORD_BYTES;
        memcpy(record, body->data + at, JOURNAL_RECORD_BYTES);
        journal_bytes_put(record + JOURNAL_AT_SEQUENCE, 8, k + 2);
        journal_bytes_put(record + JOURNAL_AT_POSITION, 8,
                          journal_bytes_get(record + JOURNAL_AT_POSITION) + roll(dice, 3));
        journal_bytes_seal_record(record);
}

/* What a power cut takes: sectors, or the end. */
static void tear(struct body *body, struct dice *dice) {
        size_t begin, bytes = file_around(body, roll(dice, (uint32_t) body->bytes), &begin), from;

        from = roll(dice, (uint32_t) bytes);
        if (roll(dice, 2) == 0) {
                from = from / 512 * 512;
                memset(body->data + begin + from, 0, MIN_OF((size_t) 512, bytes - from));
        } else
                memset(body->data + begin + from, 0, bytes - from);
}

/* A second writer's file: a copy of one that is there. */
static void file_repeat(struct body *body, struct dice *dice) {
        size_t begin, bytes = file_around(body, roll(dice, (uint32_t) body->bytes), &begin), at = body->bytes;

        if (!insert(body, at, bytes))
                return;
        memcpy(body->data + at, body->data + begin, bytes);
        if (bytes >= JOURNAL_HEADER_BYTES)
                journal_bytes_seal_header(body->data + at);
}

size_t journal_mutate(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed) {
        struct dice dice = { .state = seed };
        struct body body;

        if (bytes <= CONTROL_BYTES || roll(&dice, 16) == 0)
                return LLVMFuzzerMutate(data, bytes, bytes_max);
        body = (struct body){ .data = data + CONTROL_BYTES,
                              .bytes = bytes - CONTROL_BYTES,
                              .room = bytes_max - CONTROL_BYTES };
        switch (roll(&dice, 8)) {
        case 0:
                record_repeat(&body, &dice);
                break;
        case 1:
                tear(&body, &dice);
                break;
        case 2:
                file_repeat(&body, &dice);
                break;
        case 3:
        case 4:
                record_change(&body, &dice);
                break;
        default:
                body.bytes = LLVMFuzzerMutate(body.data, body.bytes, body.room);
                if (roll(&dice, 2) == 0)
                        seal_all(&body);
                break;
        }
        return CONTROL_BYTES + body.bytes;
}
