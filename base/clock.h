/* SPDX-License-Identifier: Apache-2.0 */
/* Time. Everything is uint64_t microseconds. Must not touch: wall time in any decision (a clock
 * that jumps must move nothing); wall time is for records that a person reads. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define USEC_INFINITY UINT64_MAX

uint64_t clock_usec(void);          /* CLOCK_MONOTONIC: comparable between processes of one boot */
uint64_t clock_realtime_usec(void); /* CLOCK_REALTIME: for records only */

/* Writes e.g. "2026-11-23T18:02:11.123456Z" (UTC). text_bytes >= 32. */
#define CLOCK_TEXT_BYTES 32
void clock_format(uint64_t realtime_usec, char *ret_text, size_t text_bytes);

/* Writes "1.2 ms", "340 us", "3.0 s", "2 min 5 s": what a person reads. text_bytes >= 32. */
void clock_format_span(uint64_t span_usec, char *ret_text, size_t text_bytes);

/* Parses "10s", "50ms", "2min", "1h", "250us" or a bare number of seconds (systemd's manner).
 * 0 and *ret_usec, or -EINVAL, or -ERANGE. */
int clock_parse_span(const char *text, uint64_t *ret_usec);
