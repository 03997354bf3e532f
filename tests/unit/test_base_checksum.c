/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C against its published check values, and both ways of computing it against each other. */

#include <criterion/criterion.h>
#include <string.h>

/* The source itself, to reach both ways whatever processor this is. */
#include "base/checksum.c"

Test(checksum, check_values) {
        uint8_t zeroes[32] = { 0 }, ones[32], rising[32];

        memset(ones, 0xff, sizeof ones);
        for (uint8_t i = 0; i < 32; i++)
                rising[i] = i;
        cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283U);
        cr_assert_eq(crc32c(0, "", 0), 0);
        cr_assert_eq(crc32c(0, NULL, 0), 0);
        /* RFC 3720, B.4 */
        cr_assert_eq(crc32c(0, zeroes, 32), 0x8a9136aaU);
        cr_assert_eq(crc32c(0, ones, 32), 0x62a8ab43U);
        cr_assert_eq(crc32c(0, rising, 32), 0x46dd794eU);
}

Test(checksum, continues_from_any_place) {
        static const char text[] = "the quick brown fox jumps over the lazy dog, twice and once more";
        uint32_t whole = crc32c(0, text, sizeof text);

        for (size_t i = 0; i <= sizeof text; i++)
                cr_assert_eq(crc32c(crc32c(0, text, i), text + i, sizeof text - i), whole, "cut at %zu", i);
}

Test(checksum, portable_agrees_with_the_processor) {
        uint8_t data[80];

        for (size_t i = 0; i < sizeof data; i++)
                data[i] = (uint8_t) (i * 37 + 11);
        for (size_t start = 0; start < 8; start++)
                for (size_t bytes = 0; bytes + start <= sizeof data; bytes++)
                        cr_assert_eq(~crc32c_portable(~0x12345678U, data + start, bytes),
                                     crc32c(0x12345678U, data + start, bytes), "%zu bytes at %zu", bytes,
                                     start);
}
