// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstdint>

namespace lockstep::reference_backend {

/// y (m x n) = a (m x k) b, with b (k x n), or a b^T, with b (n x k): the product by its definition, in double.
template <class T>
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, const T* b, bool transposed, T* y) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l)
        sum += double{a[i * k + l]} * double{transposed ? b[j * k + l] : b[l * n + j]};
      y[i * n + j] = static_cast<T>(sum);
    }
}

}  // namespace lockstep::reference_backend
