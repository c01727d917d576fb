/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a sanitizer with a run-time of its own is built in. It takes terabytes of addresses and
 * makes system calls that nobody here knows of.
 */
#ifndef MAYFLY_CORE_SANITIZED_H
#define MAYFLY_CORE_SANITIZED_H

/* GCC has macros for it; clang has features, and a name for them that GCC does not know yet. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                     \
	__has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
