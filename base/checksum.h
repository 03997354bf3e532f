/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli) for journal records and file tails: SSE4.2 where the processor has it, a
 * table elsewhere, the same result. And the seed-free 64-bit XXH3 (libxxhash) for events. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* CRC-32C of `bytes` at `data`, continuing from `crc` (start with 0). crc32c(0,"123456789",9) is
 * 0xE3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);
