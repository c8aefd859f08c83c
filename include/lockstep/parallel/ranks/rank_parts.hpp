// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/parallel/ranks/bucket_walk.hpp>

namespace lockstep::detail {

/// What the communication thread does for a part of a step.
enum class rank_work : std::uint8_t {
  exchange,  ///< combines what a segment has measured
  bucket,    ///< sums a bucket of gradients
  losses,    ///< sums the losses, and ends the step
};

struct rank_part {
  rank_work work{};
  std::size_t index = 0;  ///< of the exchange or the bucket
};

/// The parts of a step, in the order in which every rank communicates. A model of S segments has 2 (S - 1) exchanges:
/// one after the forward pass of each segment but the last, then one after the backward pass of each but the first.
/// The latter comes before the buckets which the same backward pass has completed, since replicas wait for it.
template <class Model, class B, class Sizes>
class rank_parts {
  static constexpr const auto& plan = Model::template plan<B>;
  static constexpr const auto& buckets = bucket_walk<Model, B, Sizes>::buckets;
  static constexpr std::size_t bucket_count = bucket_walk<Model, B, Sizes>::count;

 public:
  static constexpr std::size_t meetings = static_cast<std::size_t>(plan.segments) - 1;
  static constexpr std::size_t exchanges = 2 * meetings;
  static constexpr std::size_t count = exchanges + bucket_count + 1;

  static constexpr std::array<rank_part, count> all = [] {
    std::array<rank_part, count> parts{};
    std::size_t next = 0;
    std::size_t exchange = 0;
    std::size_t bucket = 0;
    while (exchange < meetings) parts[next++] = {rank_work::exchange, exchange++};
    for (int segment = plan.segments - 1; segment >= 0; --segment) {
      if (segment > 0) parts[next++] = {rank_work::exchange, exchange++};
      while (bucket < bucket_count && plan.node(buckets.buckets[bucket].node).segment == segment)
        parts[next++] = {rank_work::bucket, bucket++};
    }
    parts[next] = {rank_work::losses, 0};
    return parts;
  }();

  static constexpr std::size_t losses = count - 1;

  /// The part that is an exchange or a bucket.
  [[nodiscard]] static constexpr std::size_t of(rank_work work, std::size_t index) {
    return places[work == rank_work::exchange ? index : exchanges + index];
  }

 private:
  static constexpr std::array<std::size_t, exchanges + bucket_count> places = [] {
    std::array<std::size_t, exchanges + bucket_count> found{};
    for (std::size_t p = 0; p < losses; ++p)
      found[all[p].index + (all[p].work == rank_work::exchange ? 0 : exchanges)] = p;
    return found;
  }();
};

}  // namespace lockstep::detail
