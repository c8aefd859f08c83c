// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace lockstep {

/// N deep copies of a value, as torch.nn.parallel.replicate. `data_parallel` needs none on the CPU: there all replicas
/// read one copy of the parameters.
template <int N, class T>
[[nodiscard]] std::array<T, static_cast<std::size_t>(N)> replicate(const T& value) {
  static_assert(N >= 1, "lockstep: replicate: one replica or more");
  return [&]<std::size_t... R>(std::index_sequence<R...>) {
    return std::array<T, static_cast<std::size_t>(N)>{(static_cast<void>(R), value)...};
  }(std::make_index_sequence<static_cast<std::size_t>(N)>{});
}

}  // namespace lockstep
