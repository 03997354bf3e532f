/* SPDX-License-Identifier: Apache-2.0 */
/* What libFuzzer is told at each comparison, in a target that is linked with FUZZ_WRAPS: nothing. A look at the segment
 * compares some ten thousand small numbers, of which it learns nothing, and that was half of the time. */
#include <stdint.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the names are the compiler's */
void __wrap___sanitizer_cov_trace_cmp1(uint8_t a, uint8_t b);
void __wrap___sanitizer_cov_trace_cmp4(uint32_t a, uint32_t b);
void __wrap___sanitizer_cov_trace_cmp8(uint64_t a, uint64_t b);
void __wrap___sanitizer_cov_trace_const_cmp1(uint8_t a, uint8_t b);
void __wrap___sanitizer_cov_trace_const_cmp4(uint32_t a, uint32_t b);
void __wrap___sanitizer_cov_trace_const_cmp8(uint64_t a, uint64_t b);

void __wrap___sanitizer_cov_trace_cmp1(uint8_t a, uint8_t b) {
        (void) a;
        (void) b;
}
void __wrap___sanitizer_cov_trace_cmp4(uint32_t a, uint32_t b) {
        (void) a;
        (void) b;
}
void __wrap___sanitizer_cov_trace_cmp8(uint64_t a, uint64_t b) {
        (void) a;
        (void) b;
}
void __wrap___sanitizer_cov_trace_const_cmp1(uint8_t a, uint8_t b) {
        (void) a;
        (void) b;
}
void __wrap___sanitizer_cov_trace_const_cmp4(uint32_t a, uint32_t b) {
        (void) a;
        (void) b;
}
void __wrap___sanitizer_cov_trace_const_cmp8(uint64_t a, uint64_t b) {
        (void) a;
        (void) b;
}
/* NOLINTEND(bugprone-reserved-identifier) */
