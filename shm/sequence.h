/* SPDX-License-Identifier: Apache-2.0 */
/* Sequence words (S10): one writer, any readers, no lock. The data between are copied word by word with
 * relaxed atomics, so a torn copy is a value to throw away and never undefined behaviour.
 * For shm/ itself. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Overwrites `bytes` (a multiple of 4, both ends 4-aligned) of the shared record. A sequence left odd by
 * a writer that died is taken over: the record is written anew. Single writer. */
void sequence_write(_Atomic uint32_t *sequence, void *shared, const void *local, size_t bytes);
/* Copies it out. 0 and the even number it was read at; -EAGAIN after a bounded number of tries. */
int sequence_read(const _Atomic uint32_t *sequence, const void *shared, void *ret_local, size_t bytes,
                  uint32_t *ret_sequence);
