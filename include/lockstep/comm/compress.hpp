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

/// Rounds values[i] to the nearest value of the format, for i < n. With residuals it rounds values[i] + residuals[i],
/// and stores the rounding error in rests[i].
template <class Format, bool WithResiduals>
void round_to(float* LOCKSTEP_RESTRICT values, const float* LOCKSTEP_RESTRICT residuals, float* LOCKSTEP_RESTRICT rests,
              std::size_t n) {
  const auto round = [&](std::size_t i) {
    if constexpr (WithResiduals) {
      const float wanted = values[i] + residuals[i];
      const float rounded = Format::round(wanted);
      const float rest = wanted - rounded;
      values[i] = rounded;
      // The sum passes on an infinity or a NaN; the residual must not bring it back in every later step.
      const auto bits = std::bit_cast<std::uint32_t>(rest);
      rests[i] = std::bit_cast<float>(choose((bits & 0x7F800000U) != 0x7F800000U, bits, 0U));
    } else {
      values[i] = Format::round(values[i]);
    }
  };
  constexpr std::size_t lanes = 16;  // a constant, so that the compiler vectorises at -O2 too
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
  /// steps. Costs 8 bytes per parameter: two residuals, so that a failed step can return to the one before it.
  bool error_feedback = false;
};

/// Reduces gradients in 16 bits: each rank rounds its gradients to the nearest value of Format (`float16`, `bfloat16`),
/// and the rounded values are summed in float32. The sum is not rounded again.
///
/// torch.distributed's fp16_compress_hook and bf16_compress_hook also sum in 16 bits, and divide by the number of
/// ranks; here the loss has already divided. As in PyTorch, a gradient that is too large for the format becomes an
/// infinity instead of saturating, so that a program that scales its loss finds the overflow in the sum.
///
/// With error feedback, the first call for a bucket allocates; later calls do not.
template <class Format>
class rounding_hook {
 public:
  rounding_hook() = default;
  explicit rounding_hook(rounding_options options) : options_(options) {}

  /// Throws value_error, under error feedback, when a bucket's index is negative or its length has changed.
  template <communicator C>
  void operator()(C& c, const bucket_view& bucket) {
    const std::span<float> values = bucket.gradients;
    if (options_.error_feedback) {
      feedback& own = feedback_of(bucket);
      own.settle();  // a caller that never commits or rolls back accepts every step
      detail::round_to<Format, true>(values.data(), own.residuals.data(), own.fresh.data(), values.size());
      own.open = true;
    } else {
      detail::round_to<Format, false>(values.data(), nullptr, nullptr, values.size());
    }
    all_reduce_as(c, values, wire_bits{16});
    wire_bytes_ += 2 * static_cast<std::int64_t>(values.size());
  }

  /// Bytes of gradients that this rank has sent: 2 for each gradient.
  [[nodiscard]] std::int64_t wire_bytes() const noexcept { return wire_bytes_; }

  /// Forgets the residuals.
  void reset() { feedback_.clear(); }

  /// Keeps the residuals of the last step.
  void commit() noexcept {
    for (feedback& each : feedback_) each.settle();
  }
  /// Restores the residuals from before the last step.
  void rollback() noexcept {
    for (feedback& each : feedback_) each.open = false;
  }
  [[nodiscard]] bool has_state() const noexcept { return !feedback_.empty(); }

 private:
  /// What rounding took from a bucket.
  struct feedback {
    std::vector<float> residuals;
    std::vector<float> fresh;  ///< residuals that the last step left
    bool open = false;         ///< the last step is neither committed nor rolled back

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
