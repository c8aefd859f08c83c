// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <exception>

#include <lockstep/core/error.hpp>

namespace lockstep::detail {

/// Throws replica_error for the replica of lowest number that failed, with its exception nested. Returns when none did.
template <std::size_t N>
void rethrow_first(const std::array<std::exception_ptr, N>& errors) {
  for (std::size_t r = 0; r < N; ++r) {
    if (!errors[r]) continue;
    try {
      std::rethrow_exception(errors[r]);
    } catch (const std::exception& e) {
      std::throw_with_nested(replica_error(static_cast<int>(r), e.what()));
    } catch (...) {
      std::throw_with_nested(replica_error(static_cast<int>(r), "an exception that is no std::exception"));
    }
  }
}

}  // namespace lockstep::detail
