// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

namespace lockstep::reference_backend {

/// Plain loops keep nothing.
class context {
 public:
  explicit context(int /*threads*/ = 1) {}
  [[nodiscard]] static int enter() { return 0; }
};

}  // namespace lockstep::reference_backend
