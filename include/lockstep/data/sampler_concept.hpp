// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Decides which samples an epoch visits, and in which order. A sampler is a value whose state is set when it is built,
/// so any number of threads may use it.
///
/// `samples()` is the size of the data set that the sampler was built for: every index is below it. `size()` is the
/// number of indices in an epoch, the same in every epoch. `draw(epoch, order)` writes the indices to `order`, which
/// has `size()` entries. They are a function of the sampler and the epoch alone, the same on every platform.
template <class S>
concept sampler =
    std::copy_constructible<S> && requires(const S& s, std::uint64_t epoch, std::span<std::int64_t> order) {
      { s.samples() } -> std::same_as<std::int64_t>;
      { s.size() } -> std::same_as<std::int64_t>;
      s.draw(epoch, order);
    };

/// A sampler whose order is meant for batches of `batch()` samples (the last may be shorter), not for batches of
/// another size.
template <class S>
concept batched_sampler = sampler<S> && requires(const S& s) {
  { s.batch() } -> std::same_as<std::int64_t>;
};

/// Where one rank's part of a batch lies.
struct batch_part {
  std::int64_t first = 0;        ///< in the rank's own order
  std::int64_t first_index = 0;  ///< in the epoch of all ranks together
  std::int64_t size = 0;         ///< zero is possible: the rank then takes the step without a sample

  friend constexpr bool operator==(const batch_part&, const batch_part&) = default;
};

/// A batched sampler that draws one rank's part of an epoch of `global_size()` samples, which it splits by its own
/// rule. `part(step)` is defined for every step, and all ranks have the same steps; `local_batch()` bounds the size of
/// a part.
template <class S>
concept ranked_sampler = batched_sampler<S> && requires(const S& s, std::int64_t step) {
  { s.global_size() } -> std::same_as<std::int64_t>;
  { s.local_batch() } -> std::same_as<std::int64_t>;
  { s.part(step) } -> std::same_as<batch_part>;
};

/// A ranked sampler that also tells the order of all ranks: `draw_all(epoch, order)` writes `global_size()` indices.
template <class S>
concept draws_for_all_ranks =
    ranked_sampler<S> &&
    requires(const S& s, std::uint64_t epoch, std::span<std::int64_t> order) { s.draw_all(epoch, order); };

/// Returns the indices of one epoch.
template <sampler Sampler>
[[nodiscard]] std::vector<std::int64_t> epoch_order(const Sampler& from, std::uint64_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(from.size()));
  from.draw(epoch, order);
  return order;
}

namespace detail {

/// Gives each kind of sampler a separate stream of draws. The stream of a loader's shuffle is 0.
enum class sampler_stream : std::uint64_t {
  replacement = 1,
  weighted = 2,
  race = 3,
  strata = 4,
  split = 5,
  windows = 6
};

/// The draws of one stream in order, 64 bits each.
class draw_sequence {
 public:
  draw_sequence(seed s, std::uint64_t epoch, sampler_stream which)
      : stream_(s, random_purpose::shuffle, epoch, static_cast<std::uint64_t>(which)) {}

  [[nodiscard]] std::uint64_t next() {
    if (half_ == 0) block_ = stream_.block(next_block_++);
    const std::uint64_t bits = (std::uint64_t{block_[2 * half_]} << 32U) | block_[2 * half_ + 1];
    half_ ^= 1U;
    return bits;
  }

  /// Uniform in [0, 1), one of 2^53 values. The result is exact.
  [[nodiscard]] double unit() { return static_cast<double>(next() >> 11U) * 0x1p-53; }

  /// Uniform in [0, bound), for a bound up to 2^32; the bias is below bound / 2^64.
  [[nodiscard]] std::size_t below(std::uint64_t bound) {
    const std::uint64_t bits = next();
    return static_cast<std::size_t>(((bits >> 32U) * bound + (((bits & 0xFFFFFFFFU) * bound) >> 32U)) >> 32U);
  }

 private:
  random_stream stream_;
  std::array<std::uint32_t, 4> block_{};
  std::uint64_t next_block_ = 0;
  std::size_t half_ = 0;
};

/// Returns `samples`. Throws value_error unless it is at least 1 and below 2^32, so that one draw can choose among the
/// samples.
[[nodiscard]] inline std::int64_t checked_samples(std::string_view where, std::int64_t samples) {
  if (samples < 1) throw value_error(where, "a data set of one sample or more", std::to_string(samples) + " samples");
  if (samples > std::int64_t{(std::numeric_limits<std::uint32_t>::max)()})
    throw value_error(where, "fewer than 2^32 samples", std::to_string(samples));
  return samples;
}

/// Returns the number of draws in an epoch: `wanted`, or `otherwise` when `wanted` is 0. Throws value_error when
/// `wanted` is negative or above `most`.
[[nodiscard]] inline std::int64_t checked_draws(std::string_view where, std::int64_t wanted, std::int64_t otherwise,
                                                std::int64_t most = (std::numeric_limits<std::int64_t>::max)()) {
  if (wanted < 0)
    throw value_error(where, "one draw an epoch or more", std::to_string(wanted),
                      "leave .draws at 0 for as many as there are samples to draw");
  if (wanted > most)
    throw value_error(where,
                      lockstep::detail::message({"at most ", most, " draws without replacement, one a sample to draw"}),
                      std::to_string(wanted), "set .replacement or ask for fewer");
  return wanted == 0 ? otherwise : wanted;
}

[[nodiscard]] inline std::int64_t checked_batch(std::string_view where, std::int64_t batch) {
  if (batch < 1) throw value_error(where, "batches of one sample or more", std::to_string(batch));
  return batch;
}

inline void check_order(std::string_view where, std::size_t entries, std::int64_t size) {
  if (entries != static_cast<std::size_t>(size))
    throw value_error(where, lockstep::detail::message({"room for the ", size, " indices of an epoch"}),
                      std::to_string(entries), "give draw() a span of size() entries");
}

}  // namespace detail
}  // namespace lockstep::data
