// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/core/config.hpp>

#include "device.hpp"
#include "device_array.hpp"
#include "support/catch.hpp"

using namespace lockstep_test;
namespace backend = lockstep::cuda_backend;

namespace {

/// Exact for the numbers used here, so that results have one value.
struct minus_half {
  template <class A, class B>
  LOCKSTEP_HOST_DEVICE constexpr A operator()(A x, B y) const {
    return static_cast<A>(static_cast<float>(x) - static_cast<float>(y) / 2.F);
  }
};

/// Whole numbers that bfloat16 holds, twice as large as those of another `step`.
floats whole_numbers(std::int64_t n, std::int64_t step) {
  floats all(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) all[static_cast<std::size_t>(i)] = static_cast<float>(i * step % 61 * 2 - 60);
  return all;
}

template <class A, class B>
void check_transform() {
  backend::context c;
  const auto entered = c.enter();
  // Less than a packet, less than a block, and several blocks; small first, as what comes later must not depend on it.
  for (const std::int64_t n : {1, 3, 8, 255, 1500, 4099, 20003, 1500})
    for (const std::int64_t shift : {0, 1, 4}) {
      CAPTURE(n, shift, sizeof(A), sizeof(B));
      const floats x = whole_numbers(n, 7);
      const floats y = whole_numbers(n, 11);
      floats expected(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) expected[i] = x[i] - y[i] / 2.F;
      device_array<A> px(c, x, shift);
      device_array<B> py(c, y);
      device_array<A> to(c, floats(x.size(), 7.F), shift);
      backend::transform(c, "a test", n, minus_half{}, to.data(), px.data(), py.data());
      backend::transform(c, "a test", n, minus_half{}, px.data(), px.data(), py.data());
      CHECK((to.read(c) == expected));
      CHECK((px.read(c) == expected));  // in place
      CHECK((py.read(c) == y));
    }
}

}  // namespace

TEST_CASE("a function of elements is that of each, whatever their number and address", "[transform]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_transform<float, float>();
  check_transform<backend::bfloat16, backend::bfloat16>();
  check_transform<float, backend::bfloat16>();
  check_transform<backend::bfloat16, float>();
}
