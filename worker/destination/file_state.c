/* SPDX-License-Identifier: Apache-2.0 */
/* The 64 bytes that the journal keeps for the file destination: which file, how long, and the CRC of
 * its end (M3). Little-endian:
 *
 *   0 1 version (1)     1 3 zero           4 4 file_number      8 8 position
 *  16 8 data_bytes     24 8 parked_bytes  32 4 data_crc        36 4 parked_crc
 *  40 8 created_realtime_usec             48 16 zero
 *
 * Must not touch: files. What comes in was read from a disk: validated, never asserted. */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "worker/destination/file.h"

#define FILE_STATE_VERSION 1

static void put_u32(uint8_t *at, uint32_t value) {
        value = htole32(value);
        memcpy(at, &value, sizeof(value));
}

static void put_u64(uint8_t *at, uint64_t value) {
        value = htole64(value);
        memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at) {
        uint32_t value;

        memcpy(&value, at, sizeof(value));
        return le32toh(value);
}

static uint64_t get_u64(const uint8_t *at) {
        uint64_t value;

        memcpy(&value, at, sizeof(value));
        return le64toh(value);
}

static bool is_zero(const uint8_t *bytes, size_t count) {
        for (size_t i = 0; i < count; i++)
                if (bytes[i] != 0)
                        return false;
        return true;
}

void file_state_encode(const struct file_state *state, uint8_t ret_bytes[DESTINATION_STATE_BYTES]) {
        assert(state && ret_bytes);
        assert(state->file_number > 0);

        memset(ret_bytes, 0, DESTINATION_STATE_BYTES);
        ret_bytes[0] = FILE_STATE_VERSION;
        put_u32(ret_bytes + 4, state->file_number);
        put_u64(ret_bytes + 8, state->position);
        put_u64(ret_bytes + 16, state->data_bytes);
        put_u64(ret_bytes + 24, state->parked_bytes);
        put_u32(ret_bytes + 32, state->data_crc);
        put_u32(ret_bytes + 36, state->parked_crc);
        put_u64(ret_bytes + 40, state->created_realtime_usec);
}

int file_state_decode(const uint8_t bytes[DESTINATION_STATE_BYTES], struct file_state *ret_state) {
        struct file_state state;

        assert(bytes && ret_state);

        if (is_zero(bytes, DESTINATION_STATE_BYTES)) {
                *ret_state = (struct file_state){ .file_number = 0 };
                return 0;
        }
        if (bytes[0] != FILE_STATE_VERSION)
                return -EPROTONOSUPPORT;
        state = (struct file_state){
                .file_number = get_u32(bytes + 4),
                .position = get_u64(bytes + 8),
                .data_bytes = get_u64(bytes + 16),
                .parked_bytes = get_u64(bytes + 24),
                .data_crc = get_u32(bytes + 32),
                .parked_crc = get_u32(bytes + 36),
                .created_realtime_usec = get_u64(bytes + 40),
        };
        if (state.file_number == 0 || state.data_bytes > INT64_MAX || state.parked_bytes > INT64_MAX ||
            !is_zero(bytes + 1, 3) || !is_zero(bytes + 48, 16))
                return -EBADMSG;
        *ret_state = state;
        return 0;
}
