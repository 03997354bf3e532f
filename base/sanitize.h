/* SPDX-License-Identifier: Apache-2.0 */
/* What this build is instrumented with, and the few things that must be told to ThreadSanitizer, because they
 * happen in libraries that it does not see. Nothing in a package build.
 * Must not be used to silence a report: what is told here has to be true. */
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZE_THREAD 1
#endif
#if __has_feature(address_sanitizer)
#define SANITIZE_ADDRESS 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(SANITIZE_THREAD)
#define SANITIZE_THREAD 1
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(SANITIZE_ADDRESS)
#define SANITIZE_ADDRESS 1
#endif
#ifndef SANITIZE_UNDEFINED /* the Makefile says it: no compiler does */
#define SANITIZE_UNDEFINED 0
#endif
#ifndef SANITIZE_THREAD
#define SANITIZE_THREAD 0
#endif
#ifndef SANITIZE_ADDRESS
#define SANITIZE_ADDRESS 0
#endif

#if SANITIZE_THREAD
#include <sanitizer/tsan_interface.h>
/* This thread took a mutex by a call that the runtime does not know. */
#define SANITIZE_LOCKED(mutex)                                  \
        (__tsan_mutex_pre_lock((mutex), __tsan_mutex_try_lock), \
         __tsan_mutex_post_lock((mutex), __tsan_mutex_try_lock, 0))
/* What a thread did before RELEASE happened before what another does after ACQUIRE of the same address. */
#define SANITIZE_RELEASE(address) __tsan_release(address)
#define SANITIZE_ACQUIRE(address) __tsan_acquire(address)
#else
#define SANITIZE_LOCKED(mutex) ((void) (mutex))
#define SANITIZE_RELEASE(address) ((void) (address))
#define SANITIZE_ACQUIRE(address) ((void) (address))
#endif
