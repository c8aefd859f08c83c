// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>

namespace lockstep::data {

namespace detail {

/// Puts `order` into a random order by Fisher and Yates' method. `draws.below(n)` returns a random index below n.
template <class T, class Draws>
void shuffle(std::span<T> order, Draws& draws) {
  for (std::size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[draws.below(left)]);
}

/// The draws of a stream in order, 32 bits each. One block holds four draws; random_stream::below would compute the
/// block for each of them.
class short_draws {
 public:
  explicit short_draws(const random_stream& stream) : stream_(stream) {}

  /// Uniform in [0, bound), for a bound below 2^32; the bias is below bound / 2^32.
  [[nodiscard]] std::size_t below(std::uint64_t bound) {
    if (next_ % 4 == 0) block_ = stream_.block(next_ / 4);
    return static_cast<std::size_t>((std::uint64_t{block_[next_++ % 4]} * bound) >> 32U);
  }

 private:
  random_stream stream_;
  std::array<std::uint32_t, 4> block_{};
  std::uint64_t next_ = 0;
};

}  // namespace detail

/// Writes a random order of 0 .. order.size() - 1, a function of seed and epoch alone.
/// Throws value_error when there are 2^32 entries or more.
inline void shuffled_order(std::span<std::int64_t> order, seed s, std::uint64_t epoch) {
  if (order.size() > (std::numeric_limits<std::uint32_t>::max)())
    throw value_error("shuffled_order", "fewer than 2^32 samples", std::to_string(order.size()));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  detail::short_draws draws(random_stream(s, random_purpose::shuffle, epoch));
  detail::shuffle(order, draws);
}

}  // namespace lockstep::data
