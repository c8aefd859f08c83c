// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shard.hpp>

/// \file
/// How a batch is cut: one count a replica, in order. by_weight.hpp and by_cost.hpp compute other splits.

namespace lockstep {

namespace detail {

template <std::size_t N>
[[noreturn, gnu::cold, gnu::noinline]] void refuse_counts(std::string_view where, const std::string& expected,
                                                          const std::array<std::int64_t, N>& counts) {
  std::string given;
  for (std::size_t r = 0; r < N; ++r) given.append(r == 0 ? "" : " + ").append(std::to_string(counts[r]));
  throw value_error(where, expected, given, "count every sample once, in the order of the replicas");
}

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_samples(std::string_view where, std::int64_t samples) {
  throw value_error(where, "zero samples or more", std::to_string(samples));
}

}  // namespace detail

/// How many consecutive samples each of N replicas gets, in order: replica r gets [edges()[r], edges()[r + 1]). Counts
/// may be zero.
template <int N>
class batch_split {
  static_assert(N >= 1, "lockstep: batch_split: one replica or more");

 public:
  using counts_type = std::array<std::int64_t, static_cast<std::size_t>(N)>;
  using edges_type = std::array<std::int64_t, static_cast<std::size_t>(N) + 1>;

  /// Throws value_error when a count is negative, or when the sum does not fit 64 bits.
  constexpr explicit batch_split(const counts_type& counts) {
    for (std::size_t r = 0; r < counts.size(); ++r) {
      if (counts[r] < 0 || counts[r] > (std::numeric_limits<std::int64_t>::max)() - edges_[r])
        detail::refuse_counts("batch_split", "counts of zero or more whose sum fits 64 bits", counts);
      edges_[r + 1] = edges_[r] + counts[r];
    }
  }

  [[nodiscard]] constexpr std::int64_t samples() const { return edges_.back(); }

  [[nodiscard]] constexpr const edges_type& edges() const { return edges_; }

  [[nodiscard]] constexpr counts_type counts() const {
    counts_type counts{};
    for (std::size_t r = 0; r < counts.size(); ++r) counts[r] = edges_[r + 1] - edges_[r];
    return counts;
  }

  /// The part of replica r; not checked.
  [[nodiscard]] constexpr shard_range operator[](int r) const {
    const auto i = static_cast<std::size_t>(r);
    return {edges_[i], edges_[i + 1] - edges_[i]};
  }

  friend constexpr bool operator==(const batch_split&, const batch_split&) = default;

 private:
  edges_type edges_{};
};

/// The split of shard_of: counts differ by at most one, the larger ones first. Throws value_error when `samples` is
/// negative.
template <int N>
[[nodiscard]] constexpr batch_split<N> even_split(std::int64_t samples) {
  if (samples < 0) detail::refuse_samples("even_split", samples);
  typename batch_split<N>::counts_type counts{};
  for (int r = 0; r < N; ++r) counts[static_cast<std::size_t>(r)] = shard_of(samples, N, r).count;
  return batch_split<N>(counts);
}

namespace detail {

template <class T>
struct is_batch_split : std::false_type {};
template <int N>
struct is_batch_split<batch_split<N>> : std::true_type {};

template <class Split, int N>
inline constexpr bool is_split_function = [] {
  if constexpr (requires(const Split& split, std::int64_t samples) { split(samples); }) {
    using result = std::remove_cvref_t<decltype(std::declval<const Split&>()(std::int64_t{}))>;
    return std::is_same_v<result, batch_split<N>> ||
           std::is_same_v<result, std::array<std::int64_t, static_cast<std::size_t>(N)>>;
  } else {
    return false;
  }
}();

template <std::size_t N>
constexpr batch_split<static_cast<int>(N)> checked_counts(std::string_view where, std::int64_t samples,
                                                          const std::array<std::int64_t, N>& counts) {
  std::int64_t rest = samples;
  bool fits = true;
  for (const std::int64_t count : counts) {
    fits = fits && count >= 0 && count <= rest;
    if (fits) rest -= count;
  }
  if (!fits || rest != 0)
    refuse_counts(where, std::to_string(N) + " counts of zero or more that sum to " + std::to_string(samples), counts);
  return batch_split<static_cast<int>(N)>(counts);
}

/// Resolves a user's split of `samples`: a batch_split<N>, or a function of the number of samples that returns a
/// batch_split<N> or the counts. Throws value_error when the counts do not sum to the samples.
template <int N, class Split>
batch_split<N> resolve_split(std::string_view where, const Split& split, std::int64_t samples) {
  if constexpr (is_batch_split<Split>::value) {
    static_assert(std::is_same_v<Split, batch_split<N>>, "lockstep: scatter: a split for as many replicas as it gets");
    return checked_counts(where, samples, split.counts());
  } else {
    static_assert(is_split_function<Split, N>,
                  "lockstep: scatter: a split is a batch_split<N>, or a constant function that takes the number of "
                  "samples as std::int64_t and returns std::array<std::int64_t, N> (the counts) or batch_split<N>");
    const auto made = split(samples);
    if constexpr (is_batch_split<std::remove_cvref_t<decltype(made)>>::value)
      return checked_counts(where, samples, made.counts());
    else
      return checked_counts(where, samples, made);
  }
}

}  // namespace detail

}  // namespace lockstep
