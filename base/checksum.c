/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C: the processor's instruction where it exists, sixteen table entries elsewhere.
 * Both give the same bits; tests/unit/test_base_checksum.c holds one against the other.
 * Must not touch: anything; pure functions, safe in threads and after fork. */

#include "base/checksum.h"

#include <string.h>

#include "base/macro.h"

#ifdef __x86_64__
#include <nmmintrin.h>
#endif

/* Half a byte at a time: slow, but it needs no set-up that a thread could find half done, and only
 * processors older than 2008 ever run it. Reflected polynomial 0x82f63b78. */
static uint32_t crc32c_portable(uint32_t crc, const uint8_t *data, size_t bytes) {
        static const uint32_t table[16] = {
                0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
        };

        for (size_t i = 0; i < bytes; i++) {
                crc ^= data[i];
                crc = crc >> 4 ^ table[crc & 15];
                crc = crc >> 4 ^ table[crc & 15];
        }
        return crc;
}

#ifdef __x86_64__
/* Called only where the processor has the instruction. */
#define _sse42_ __attribute__((target("sse4.2")))

static _sse42_ uint32_t crc32c_sse42(uint32_t crc, const uint8_t *data, size_t bytes) {
        uint64_t wide = crc;

        for (; bytes >= sizeof(uint64_t); data += sizeof(uint64_t), bytes -= sizeof(uint64_t)) {
                uint64_t word;

                memcpy(&word, data, sizeof word); /* may be unaligned */
                wide = _mm_crc32_u64(wide, word);
        }
        crc = (uint32_t) wide;
        for (; bytes > 0; data++, bytes--)
                crc = _mm_crc32_u8(crc, *data);
        return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
        assert(data || bytes == 0);

#ifdef __x86_64__
        if (__builtin_cpu_supports("sse4.2"))
                return ~crc32c_sse42(~crc, data, bytes);
#endif
        return ~crc32c_portable(~crc, data, bytes);
}
