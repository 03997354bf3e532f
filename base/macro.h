/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup by attribute, ownership by TAKE(), and assertions that stay on in release builds.
 * Must not touch: anything with a side effect of its own. No function bodies but inline helpers. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* NDEBUG is refused: an assertion guards our own state in packages too (conventions, "Errors"). */
#ifdef NDEBUG
#error "Baton's assertions stay on: build without NDEBUG"
#endif
#include <assert.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _noreturn_ __attribute__((noreturn))
#define _cacheline_ __attribute__((aligned(64)))

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))

/* Hands a pointer over: evaluates to its value and leaves NULL behind, so the cleanup does nothing. */
#define TAKE(pointer)                                   \
        ({                                              \
                __typeof__(pointer) _taken = (pointer); \
                (pointer) = NULL;                       \
                _taken;                                 \
        })

/* The same for a file descriptor: leaves -1 behind. */
#define TAKE_FD(fd)                   \
        ({                            \
                int _taken_fd = (fd); \
                (fd) = -1;            \
                _taken_fd;            \
        })

#define MIN_OF(a, b)                    \
        ({                              \
                __typeof__(a) _a = (a); \
                __typeof__(b) _b = (b); \
                _a < _b ? _a : _b;      \
        })
#define MAX_OF(a, b)                    \
        ({                              \
                __typeof__(a) _a = (a); \
                __typeof__(b) _b = (b); \
                _a > _b ? _a : _b;      \
        })

#define USEC_PER_MSEC 1000ULL
#define USEC_PER_SEC 1000000ULL
#define NSEC_PER_USEC 1000ULL

static inline void free_pointer(void *pointer) {
        free(*(void **) pointer);
}
#define _cleanup_free_ _cleanup_(free_pointer)
