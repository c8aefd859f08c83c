// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <span>
#include <string>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/core/error.hpp>

namespace lockstep {

/// The communicator of a single rank. Its buffer already holds the sum over all ranks, so no call does anything.
class single_rank {
 public:
  [[nodiscard]] static constexpr int rank() noexcept { return 0; }
  [[nodiscard]] static constexpr int size() noexcept { return 1; }

  static constexpr void all_reduce(std::span<float>) noexcept {}
  static constexpr void all_reduce(std::span<double>) noexcept {}

  /// Throws value_error for a root other than 0.
  static constexpr void broadcast(std::span<float>, int root) { check(root); }
  static constexpr void broadcast(std::span<double>, int root) { check(root); }

  static constexpr void barrier() noexcept {}

 private:
  static constexpr void check(int root) {
    if (root != 0) throw value_error("single_rank::broadcast", "root 0, the only rank", std::to_string(root));
  }
};

static_assert(communicator<single_rank>);

}  // namespace lockstep
