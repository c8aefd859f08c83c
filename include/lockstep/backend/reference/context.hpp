// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/backend/replica_place.hpp>

namespace lockstep::reference_backend {

/// Empty: plain loops keep no state.
class context {
 public:
  explicit context(int /*threads*/ = 1) {}
  explicit context(const replica_place&) {}
  [[nodiscard]] static int enter() { return 0; }
};

}  // namespace lockstep::reference_backend
