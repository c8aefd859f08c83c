// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>

namespace lockstep::cpu_backend {

/// Of which weights something has been derived.
class weights_version {
 public:
  /// True unless w is what it was at the last call. Weights that no load has announced may always have changed.
  bool changed(const context& c, const void* w) {
    const bool same = c.loads() != 0 && c.loads() == load_ && w == weights_;
    load_ = c.loads();
    weights_ = w;
    return !same;
  }

 private:
  std::uint64_t load_ = 0;
  const void* weights_ = nullptr;
};

}  // namespace lockstep::cpu_backend
