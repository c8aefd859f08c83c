// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/elementwise.hpp>

namespace lockstep {

/// |y - t|; its gradient is 0 where y = t.
struct l1_rule {
  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    value = y - t;
    gradient = value;
    detail::take_magnitude(value);
    detail::take_sign(gradient);
  }
};

/// Mean over all elements of |y - t|, as torch.nn.L1Loss. Targets have the output's extents.
struct l1 {
  static constexpr std::string_view kind = "l1";

  template <class T>
  using target_type = T;
  template <class B>
  using op = detail::elementwise_op<B, l1>;
  template <class B>
  static constexpr bool runs_on = measures_elements<B>;

  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return output.size(); }

  /// The denominator is the number of elements. It reads no targets, which need not lie in the host's
  /// memory for it.
  static constexpr bool denominator_reads_targets = false;
  template <class T>
  [[nodiscard]] static double denominator(const T*, std::int64_t count, const dims&) {
    return static_cast<double>(count);
  }

  template <class T>
  [[nodiscard]] static constexpr l1_rule rule() {
    return {};
  }
};

}  // namespace lockstep
