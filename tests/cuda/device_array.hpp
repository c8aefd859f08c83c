// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
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

/// The nearest numbers of a type A.
template <class A>
floats held(const floats& values) {
  floats all(values.size());
  std::transform(values.begin(), values.end(), all.begin(),
                 [](float v) { return static_cast<float>(static_cast<A>(v)); });
  return all;
}

/// What rounding to A may add to an error, as a part of the value, where sums are taken in float.
template <class A>
inline constexpr double of_rounding = sizeof(A) == 2 ? 0x1p-8 : 0;

/// Elements A on the device, `shift` of them behind an aligned address.
template <class A = float>
class device_array {
 public:
  device_array(lockstep::cuda_backend::context& c, const floats& values, std::int64_t shift = 0)
      : size_(static_cast<std::int64_t>(values.size())),
        shift_(shift),
        buffer_(lockstep::cuda_backend::allocate<A>(c, size_ + shift)) {
    const std::vector<A> own(values.begin(), values.end());
    lockstep::cuda_backend::copy(c, size_, own.data(), data());
    c.finish();
  }

  [[nodiscard]] A* data() { return buffer_.data() + shift_; }

  [[nodiscard]] floats read(lockstep::cuda_backend::context& c) {
    std::vector<A> own(static_cast<std::size_t>(size_));
    lockstep::cuda_backend::copy<A>(c, size_, data(), own.data());
    c.finish();
    floats values(own.size());
    std::transform(own.begin(), own.end(), values.begin(), [](A v) { return static_cast<float>(v); });
    return values;
  }

 private:
  std::int64_t size_;
  std::int64_t shift_;
  lockstep::cuda_backend::buffer<A> buffer_;
};

}  // namespace lockstep_test
