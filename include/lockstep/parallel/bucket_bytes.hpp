// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace lockstep {

/// Sizes of the buckets in which gradients are reduced over a communicator: a bucket is closed once it holds `Bytes`.
/// The first bucket, which holds the last layers, is closed once it holds `First`, so that the link starts early.
///
/// Default: an eighth of all gradients, but not below 64 KiB, where latency counts for more than bytes, nor above 25
/// MiB (DistributedDataParallel's size). Nothing can hide the last bucket, so few large buckets are as bad as many.
template <std::int64_t Bytes = 0, std::int64_t First = Bytes / 4>
struct bucket_bytes {
  static_assert(Bytes >= 0 && First >= 0, "lockstep: bucket_bytes: sizes are positive");

  /// Bytes at which bucket `index` is closed, when all gradients together have `total` bytes.
  [[nodiscard]] static constexpr std::int64_t limit(std::int64_t total, int index) {
    if (Bytes > 0) return index == 0 && First > 0 && First < Bytes ? First : Bytes;
    const std::int64_t size = std::clamp(total / 8, std::int64_t{64} << 10U, std::int64_t{25} << 20U);
    return index == 0 ? size / 4 : size;
  }
};

namespace detail {

template <class P>
struct is_bucket_policy : std::false_type {};
template <std::int64_t Bytes, std::int64_t First>
struct is_bucket_policy<bucket_bytes<Bytes, First>> : std::true_type {};

}  // namespace detail

}  // namespace lockstep
