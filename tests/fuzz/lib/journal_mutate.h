/* SPDX-License-Identifier: Apache-2.0 */
/* The mutator of the journal target. */
#pragma once

#include <stddef.h>
#include <stdint.h>

size_t journal_mutate(uint8_t *data, size_t bytes, size_t bytes_max, unsigned seed);
