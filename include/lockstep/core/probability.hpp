// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep {

/// A probability as a template argument: `dropout<0.1>`, `flip<0.5>`. Held in units of 2^-32, since compilers differ on
/// floating-point template arguments.
struct probability {
  std::uint64_t parts = 0;

  // NOLINTNEXTLINE(google-explicit-constructor): numbers convert by design.
  consteval probability(double p) : parts(p >= 0 && p <= 1 ? static_cast<std::uint64_t>(p * 0x1p32 + 0.5) : invalid) {}
  // NOLINTNEXTLINE(google-explicit-constructor): as above, for `dropout<0>`.
  consteval probability(int p) : probability(static_cast<double>(p)) {}
  /// Takes `parts` itself: nvcc spells template arguments in this form, and in braces alone where they are nested.
  // NOLINTNEXTLINE(google-explicit-constructor): as above.
  consteval probability(std::uint64_t all) : parts(all <= (std::uint64_t{1} << 32U) ? all : invalid) {}

  [[nodiscard]] constexpr bool valid() const { return parts != invalid; }
  [[nodiscard]] constexpr float value() const { return static_cast<float>(static_cast<double>(parts) * 0x1p-32); }

  static constexpr std::uint64_t invalid = ~std::uint64_t{0};
};

}  // namespace lockstep
