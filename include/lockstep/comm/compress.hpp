// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/single.hpp>
#include <lockstep/comm/wire.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/half.hpp>

namespace lockstep {

namespace detail {

/// values[i] = the nearest value of the format, i < n; with residuals, values[i] + residuals[i] is rounded, and what
/// rounding took away becomes rests[i].
template <class Format, bool WithResiduals>
void round_to(float* LOCKSTEP_RESTRICT values, const float* LOCKSTEP_RESTRICT residuals, float* LOCKSTEP_RESTRICT rests,
              std::size_t n) {
  const auto round = [&](std::size_t i) {
    if constexpr (WithResiduals) {
      const float wanted = values[i] + residuals[i];
      const float rounded = Format::round(wanted);
      const float rest = wanted - rounded;
      values[i] = rounded;
      // An infinity or a NaN is passed on, but must not come back in every later step.
      const auto bits = std::bit_cast<std::uint32_t>(rest);
      rests[i] = std::bit_cast<float>(choose((bits & 0x7F800000U) != 0x7F800000U, bits, 0U));
    } else {
      values[i] = Format::round(values[i]);
    }
  };
  constexpr std::size_t lanes = 16;  // a number that the compiler knows: vectorised at -O2 too
  const std::size_t whole = n - n % lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    LOCKSTEP_INDEPENDENT_ITERATIONS
    for (std::size_t lane = 0; lane < lanes; ++lane) round(i + lane);
  }
  for (std::size_t i = whole; i < n; ++i) round(i);
}

}  // namespace detail

struct rounding_options {
  /// Adds what rounding took from a gradient to the same gradient of the next step, so that nothing is lost over many
  /// steps. Costs 8 bytes per parameter: a step that fails leaves what was kept before it.
  bool error_feedback = false;
};

/// Reduces 16-bit gradients: each rank rounds its own to the nearest value of Format (`float16`, `bfloat16`), and the
/// rounded values are summed in float32. The sum is not rounded again.
///
/// As torch.distributed's fp16_compress_hook and bf16_compress_hook, but that those also sum in 16 bits, and divide by
/// the number of ranks, which here the loss has done. As there, a gradient that is too large for the format becomes an
/// infinity and nothing saturates: a program that scales its loss finds the overflow in the sum.
///
/// The first call for a bucket allocates, the later ones do not.
template <class Format>
class rounding_hook {
 public:
  rounding_hook() = default;
  explicit rounding_hook(rounding_options options) : options_(options) {}

  /// Throws value_error when a bucket comes back with another length.
  template <communicator C>
  void operator()(C& c, const bucket_view& bucket) {
    const std::span<float> values = bucket.gradients;
    if (options_.error_feedback) {
      feedback& own = feedback_of(bucket);
      own.settle();  // a caller that never settles steps makes no other calls than accepted ones
      detail::round_to<Format, true>(values.data(), own.residuals.data(), own.fresh.data(), values.size());
      own.open = true;
    } else {
      detail::round_to<Format, false>(values.data(), nullptr, nullptr, values.size());
    }
    all_reduce_as(c, values, wire_bits{16});
    wire_bytes_ += 2 * static_cast<std::int64_t>(values.size());
  }

  /// Bytes of gradients that this rank has handed to the wire, 2 for each.
  [[nodiscard]] std::int64_t wire_bytes() const noexcept { return wire_bytes_; }

  /// Forgets the residuals.
  void reset() { feedback_.clear(); }

  /// Keeps the residuals of the last step.
  void commit() noexcept {
    for (feedback& each : feedback_) each.settle();
  }
  /// Goes back to the residuals before the last step.
  void rollback() noexcept {
    for (feedback& each : feedback_) each.open = false;
  }
  [[nodiscard]] bool has_state() const noexcept { return !feedback_.empty(); }

 private:
  /// What rounding took from a bucket.
  struct feedback {
    std::vector<float> residuals;
    std::vector<float> fresh;  ///< of the last step
    bool open = false;         ///< it is not known yet whether that step is one

    void settle() noexcept {
      if (std::exchange(open, false)) residuals.swap(fresh);
    }
  };

  feedback& feedback_of(const bucket_view& bucket) {
    if (bucket.index < 0) throw value_error("rounding_hook", "a bucket number from 0", std::to_string(bucket.index));
    const auto index = static_cast<std::size_t>(bucket.index);
    if (index >= feedback_.size()) feedback_.resize(index + 1);
    feedback& own = feedback_[index];
    if (own.residuals.empty()) {
      own.residuals.assign(bucket.gradients.size(), 0.F);
      own.fresh.assign(bucket.gradients.size(), 0.F);
    }
    if (own.residuals.size() != bucket.gradients.size())
      throw value_error(
          "rounding_hook",
          "bucket " + std::to_string(index) + " with " + std::to_string(own.residuals.size()) + " gradients, as before",
          std::to_string(bucket.gradients.size()), "use one hook per trainer, or reset() it");
    return own;
  }

  rounding_options options_;
  std::vector<feedback> feedback_;  ///< by bucket
  std::int64_t wire_bytes_ = 0;
};

using fp16_hook = rounding_hook<float16>;
using bf16_hook = rounding_hook<bfloat16>;

static_assert(reduction_hook<fp16_hook, single_rank>);
static_assert(reduction_hook<bf16_hook, single_rank>);
static_assert(stateful_hook<fp16_hook>);

}  // namespace lockstep
