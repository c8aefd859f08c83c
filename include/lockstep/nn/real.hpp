// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <bit>
#include <cstdint>

namespace lockstep {

/// A number as a template argument: `epsilon<1e-5>`. Held as its bits, since compilers differ on floating-point
/// template arguments.
struct real {
  std::uint64_t bits = 0;

  // NOLINTNEXTLINE(google-explicit-constructor): numbers convert by design.
  consteval real(double v) : bits(std::bit_cast<std::uint64_t>(v)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): as above, for `momentum<1>`.
  consteval real(int v) : real(static_cast<double>(v)) {}
  /// Takes the bits themselves: nvcc spells template arguments in this form.
  consteval explicit real(std::uint64_t all) : bits(all) {}

  [[nodiscard]] constexpr double value() const { return std::bit_cast<double>(bits); }

  friend constexpr bool operator==(const real&, const real&) = default;
};

/// False for an infinity and a NaN.
[[nodiscard]] constexpr bool is_finite(real r) { return r.value() - r.value() == 0; }

}  // namespace lockstep
