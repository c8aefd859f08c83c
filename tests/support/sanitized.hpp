// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// 1 in a program with a sanitizer, which replaces the functions that allocate memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOCKSTEP_TEST_SANITIZED() 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define LOCKSTEP_TEST_SANITIZED() 1
#endif
#endif
#if !defined(LOCKSTEP_TEST_SANITIZED)
#define LOCKSTEP_TEST_SANITIZED() 0
#endif
