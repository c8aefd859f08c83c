// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/transfer.hpp>

namespace lockstep_test {

using floats = std::vector<float>;

/// n values in [-1, 1] of either sign, no two neighbours alike.
inline floats wave_of(std::int64_t n, double step) {
  floats all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(std::sin(static_cast<double>(i) * step));
  return all;
}

/// Numbers of either sign and a zero: what a relu's mask tells apart.
inline floats around_zero(std::int64_t n) {
  floats x = wave_of(n, 0.71);
  x[static_cast<std::size_t>(n / 2)] = 0;
  return x;
}

/// Elements on the device, `shift` of them behind an aligned address.
class device_array {
 public:
  device_array(lockstep::cuda_backend::context& c, const floats& values, std::int64_t shift = 0)
      : size_(static_cast<std::int64_t>(values.size())),
        shift_(shift),
        buffer_(lockstep::cuda_backend::allocate<float>(c, size_ + shift)) {
    lockstep::cuda_backend::copy(c, size_, values.data(), data());
    c.finish();
  }

  [[nodiscard]] float* data() { return buffer_.data() + shift_; }

  [[nodiscard]] floats read(lockstep::cuda_backend::context& c) {
    floats values(static_cast<std::size_t>(size_));
    lockstep::cuda_backend::copy<float>(c, size_, data(), values.data());
    c.finish();
    return values;
  }

 private:
  std::int64_t size_;
  std::int64_t shift_;
  lockstep::cuda_backend::buffer<float> buffer_;
};

}  // namespace lockstep_test
