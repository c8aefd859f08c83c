// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/model/batch_statistics.hpp>
#include <lockstep/model/segments.hpp>

namespace lockstep::detail {

/// value(first) + ... + value(first + count - 1) as the tree of `tree_sum`, for a count that is known at run time.
template <class Value>
[[nodiscard]] auto tree_sum_of(std::size_t first, std::size_t count, const Value& value)
    -> std::remove_cvref_t<decltype(value(first))> {
  if (count == 1) return value(first);
  const std::size_t left = std::bit_floor(count - 1);
  return tree_sum_of(first, left, value) + tree_sum_of(first + left, count - left, value);
}

/// What the batches of all ranks together have measured. The communication thread fills it in, exchange by exchange;
/// replicas read it after the exchange. `Leaves` is the number of leaves of a rank, `Own` that of a replica.
///
/// All ranks hold the same bits. Moments are combined by the tree of the leaves, continued over the ranks, so that W
/// ranks of V / W leaves get the bits of one rank of V; so are the sums of backward where all_reduce adds by that tree,
/// as between threads. Cost of an exchange: an all_reduce of 3 W numbers for each
/// channel forward, and of 2 backward.
template <class Model, class B, std::size_t Leaves, std::size_t Own>
class rank_statistics {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  explicit rank_statistics(int world)
      : all_(plan.measured_channels), slots_(static_cast<std::size_t>(3 * world * plan.measured_channels)) {}

  [[nodiscard]] const leaf_statistics& all() const noexcept { return all_; }

  /// Combines the moments of a segment over all ranks. `leaf(k)` is leaf k of this rank, which contributes nothing
  /// when it has `failed`. Of a layer of local statistics, the first replica of rank 0 counts, whose moments go into
  /// the running statistics of every rank. `all_reduce(span)` sums over the ranks.
  template <class Leaf, class AllReduce>
  void exchange_moments(int segment, int rank, int world, bool failed, const Leaf& leaf, const AllReduce& all_reduce) {
    constexpr std::size_t parts = 3;
    const std::size_t width = parts * channels_of(segment);
    const std::span<double> sent = std::span(slots_).first(width * static_cast<std::size_t>(world));
    std::fill(sent.begin(), sent.end(), 0.0);
    double* to = sent.data() + static_cast<std::size_t>(rank) * width;
    each_channel(segment, [&](const measured_layer& layer, std::size_t c) {
      if (!failed && (!layer.local || rank == 0)) {
        const auto moments_of = [&](std::size_t k) { return leaf(k).forward[c]; };
        const moments own = layer.local ? tree_sum<0, Own>(moments_of) : tree_sum<0, Leaves>(moments_of);
        to[0] = own.count;
        to[1] = own.mean;
        to[2] = own.squares;
      }
      to += parts;
    });
    all_reduce(sent);
    const double* from = sent.data();
    each_channel(segment, [&](const measured_layer&, std::size_t c) {
      all_.forward[c] = tree_sum_of(0, static_cast<std::size_t>(world), [&](std::size_t r) {
        const double* const of = from + r * width;
        return moments{of[0], of[1], of[2]};
      });
      from += parts;
    });
  }

  /// The same for the sums that the backward pass of a segment needs.
  template <class Leaf, class AllReduce>
  void exchange_sums(int segment, bool failed, const Leaf& leaf, const AllReduce& all_reduce) {
    double* to = slots_.data();
    each_channel(segment, [&](const measured_layer& layer, std::size_t c) {
      if (!layer.local) {
        *to++ = failed ? 0.0 : tree_sum<0, Leaves>([&](std::size_t k) { return leaf(k).sums[c]; });
        *to++ = failed ? 0.0 : tree_sum<0, Leaves>([&](std::size_t k) { return leaf(k).products[c]; });
      }
    });
    if (to == slots_.data()) return;
    all_reduce(std::span(slots_.data(), to));
    const double* from = slots_.data();
    each_channel(segment, [&](const measured_layer& layer, std::size_t c) {
      if (!layer.local) {
        all_.sums[c] = *from++;
        all_.products[c] = *from++;
      }
    });
  }

 private:
  /// Calls f(layer, channel) for all channels that are measured in a segment.
  template <class F>
  static void each_channel(int segment, const F& f) {
    each_measured<Model, B>(segment, [&](const measured_layer& layer) {
      for (std::int64_t c = layer.first; c < layer.first + layer.channels; ++c) f(layer, static_cast<std::size_t>(c));
    });
  }
  static std::size_t channels_of(int segment) {
    std::size_t all = 0;
    each_measured<Model, B>(segment,
                            [&](const measured_layer& layer) { all += static_cast<std::size_t>(layer.channels); });
    return all;
  }

  leaf_statistics all_;
  std::vector<double> slots_;
};

/// In the place of rank_statistics where there are no other ranks, or nothing is measured.
struct no_statistics {
  explicit no_statistics(int) {}
};

}  // namespace lockstep::detail
