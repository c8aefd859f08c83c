// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace lockstep::cpu_backend {

/// Calls f(height, first, tiles) for runs of tiles of equal height, at most `Most`, which cover [0, count). Heights
/// differ by one at most: a low tile would wait for its own sums. `height` is an integral_constant.
template <int Most, class F>
void each_height(std::int64_t count, const F& f) {
  const auto run = [&](std::int64_t height, std::int64_t first, std::int64_t tiles) {
    [&]<int... Less>(std::integer_sequence<int, Less...>) {
      static_cast<void>(
          ((height == Less + 1 && (f(std::integral_constant<int, Less + 1>{}, first, tiles), true)) || ...));
    }(std::make_integer_sequence<int, Most>{});
  };
  if (count == 0) return;
  const std::int64_t tiles = (count + Most - 1) / Most;
  const std::int64_t height = count / tiles;
  const std::int64_t taller = count % tiles;
  if (taller > 0) run(height + 1, 0, taller);
  run(height, taller * (height + 1), tiles - taller);
}

}  // namespace lockstep::cpu_backend
