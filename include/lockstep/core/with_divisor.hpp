// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace lockstep {

/// Calls `f` with `count`, a divisor of N, as a std::integral_constant. Does nothing when `count` does not divide N.
template <std::size_t N, class F>
void with_divisor(std::size_t count, const F& f) {
  [&]<std::size_t... Less>(std::index_sequence<Less...>) {
    const auto try_one = [&]<std::size_t K>(std::integral_constant<std::size_t, K> k) {
      if constexpr (N % K == 0)
        if (K == count) f(k);
    };
    (try_one(std::integral_constant<std::size_t, Less + 1>{}), ...);
  }(std::make_index_sequence<N>{});
}

}  // namespace lockstep
