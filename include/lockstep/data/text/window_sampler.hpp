// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/shuffle.hpp>
#include <lockstep/data/text/windows.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

struct window_sampler_options {
  lockstep::seed seed{};
};

/// Cuts a text at other places every epoch: draws an offset below T, and visits the windows that lie side by side from
/// there on in a random order. So a token comes once an epoch (but for fewer than 2 T at the ends of the text), and
/// over the epochs at every place of a window:
/// `auto samples = windows<128>(train, {.stride = 1}); loader{samples, {.batch = 64}, window_sampler{samples}}`.
///
/// Offsets are multiples of the windows' stride. For independent starts, as many as one likes, take
/// `random_sampler{samples.size(), {.draws = n, .replacement = true}}`.
class window_sampler {
 public:
  /// Throws value_error unless T is a multiple of the stride, and the text has 2 T tokens or more and fewer than 2^32
  /// windows.
  template <std::int64_t T, class Token>
  explicit window_sampler(const dataset<window<T, Token>>& of, const window_sampler_options& options = {})
      : samples_(detail::checked_samples("window_sampler", of.size())), offsets_(T / of.stride()), seed_(options.seed) {
    if (T % of.stride() != 0)
      throw value_error("window_sampler", lockstep::detail::message({"a stride that divides the windows' ", T}),
                        std::to_string(of.stride()), "take windows with .stride = 1");
    if (size() == 0)
      throw value_error("window_sampler", lockstep::detail::message({"a text of ", 2 * T, " tokens or more"}),
                        std::to_string(of.text().size()), "take shorter windows or a longer text");
  }

  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  /// As many windows as fit after the largest offset.
  [[nodiscard]] std::int64_t size() const noexcept { return samples_ / offsets_; }

  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const {
    detail::check_order("window_sampler", order.size(), size());
    shuffled_order(order, seed_, epoch);
    detail::draw_sequence draws(seed_, epoch, detail::sampler_stream::windows);
    const auto offset = static_cast<std::int64_t>(draws.below(static_cast<std::uint64_t>(offsets_)));
    for (std::int64_t& place : order) place = offset + place * offsets_;
  }

 private:
  std::int64_t samples_;
  std::int64_t offsets_;
  seed seed_;
};

static_assert(sampler<window_sampler>);

}  // namespace lockstep::data
