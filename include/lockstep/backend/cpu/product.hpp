// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/onednn.hpp>

namespace lockstep::cpu_backend {

/// y (m x n) = a (m x k) b, with b (k x n), or a b^T, with b (n x k).
inline void multiply(context& c, std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const float* b,
                     bool transposed, float* y) {
  [[maybe_unused]] const auto threads = c.enter();
  onednn::sgemm('N', transposed ? 'T' : 'N', m, n, k, a, k, b, transposed ? k : n, 0.F, y);
}

}  // namespace lockstep::cpu_backend
