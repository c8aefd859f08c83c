// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// The only header that defines macros. Every other header uses these names and no other macro of ours. Each header
/// that a program may include first includes this one first, so that a compiler that is too old says so before anything
/// else.

#if __cplusplus < 202002L || (defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12) || \
    (defined(__clang__) && !defined(__apple_build_version__) && __clang_major__ < 16)
#error "lockstep: compile with -std=c++20, and with g++ 12 or later or clang 16 or later"
// A compiler continues after #error and would print hundreds more errors. A header that it cannot find stops it.
#include <lockstep: see the error above>
#endif

#define LOCKSTEP_VERSION_MAJOR 0
#define LOCKSTEP_VERSION_MINOR 1
#define LOCKSTEP_VERSION_PATCH 0

// A compiler that may assume that NaN and infinity never occur drops every check for them: a diverged training would go
// on unseen. A compiler that may reorder sums breaks the promise of equal bits.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__ASSOCIATIVE_MATH__)
#error \
    "lockstep: NaN, infinity and the order of sums count here: compile without -ffast-math, -Ofast, \
-ffinite-math-only and -fassociative-math what includes lockstep"
#endif

/// 1 while a CUDA compiler reads the file. Function-like, so that a misspelt switch is an error.
#if defined(__CUDACC__)
#define LOCKSTEP_CUDA_COMPILATION() 1
#define LOCKSTEP_HOST_DEVICE __host__ __device__
#else
#define LOCKSTEP_CUDA_COMPILATION() 0
#define LOCKSTEP_HOST_DEVICE
#endif

/// 0 when the build says that there is no oneDNN, else 1. Without oneDNN there is no CPU backend, and programs must
/// name another.
#if defined(LOCKSTEP_WITHOUT_ONEDNN)
#define LOCKSTEP_HAS_ONEDNN() 0
#else
#define LOCKSTEP_HAS_ONEDNN() 1
#endif

/// 0 when the build says that there is no cuDNN, else 1. Without cuDNN a model with convolutions does not compile for
/// the CUDA backend.
#if defined(LOCKSTEP_WITHOUT_CUDNN)
#define LOCKSTEP_HAS_CUDNN() 0
#else
#define LOCKSTEP_HAS_CUDNN() 1
#endif

/// 0 when the build says that there is no NCCL, else 1. Without NCCL the replicas of a trainer share one GPU.
#if defined(LOCKSTEP_WITHOUT_NCCL)
#define LOCKSTEP_HAS_NCCL() 0
#else
#define LOCKSTEP_HAS_NCCL() 1
#endif

/// 1 on x86-64, where kernels exist for the baseline, for AVX2 with FMA, and for AVX-512. The program chooses among
/// them at run time.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define LOCKSTEP_X86_64() 1
#define LOCKSTEP_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define LOCKSTEP_TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx2,fma")))
#else
#define LOCKSTEP_X86_64() 0
#define LOCKSTEP_TARGET_AVX2
#define LOCKSTEP_TARGET_AVX512
#endif

/// 0 when the program says that its kernels are to do without AVX-512, as on a processor that lacks it; else 1.
#if defined(LOCKSTEP_WITHOUT_AVX512)
#define LOCKSTEP_MAY_USE_AVX512() 0
#else
#define LOCKSTEP_MAY_USE_AVX512() 1
#endif

/// 1 when g++ compiles for x86-64.
#if defined(__clang__)
#define LOCKSTEP_GCC_ON_X86_64() 0
#else
#define LOCKSTEP_GCC_ON_X86_64() LOCKSTEP_X86_64()
#endif

/// Keeps the vector `v` in a register: g++ would otherwise repeat its load or broadcast at each use.
#if LOCKSTEP_GCC_ON_X86_64()
#define LOCKSTEP_IN_REGISTER(v) asm("" : "+v"(v))
#else
#define LOCKSTEP_IN_REGISTER(v) static_cast<void>(v)
#endif

/// Pointers marked with this never overlap.
#define LOCKSTEP_RESTRICT __restrict__

#define LOCKSTEP_ALWAYS_INLINE inline __attribute__((always_inline))

/// Marks a function into which the compiler inlines every call, so that a loop over a caller's lambda can be
/// vectorised.
#define LOCKSTEP_FLATTEN __attribute__((flatten))

/// Stands first in a block. The compiler then rounds each product and each sum in the block separately, so that the
/// results do not depend on whether it inlines the block into a function for processors with fused operations. g++
/// inlines the block wherever LOCKSTEP_FLATTEN says so, and has no such switch for a block.
#if defined(__clang__)
#define LOCKSTEP_UNCONTRACTED _Pragma("clang fp contract(off)")
#else
#define LOCKSTEP_UNCONTRACTED
#endif

/// Stands before a loop whose iterations do not depend on each other: the loop may be vectorised without checks.
#if defined(__clang__)  // clang adds checks itself, and warns when it cannot vectorise on demand
#define LOCKSTEP_INDEPENDENT_ITERATIONS
#elif defined(__GNUC__)
#define LOCKSTEP_INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#else
#define LOCKSTEP_INDEPENDENT_ITERATIONS
#endif
