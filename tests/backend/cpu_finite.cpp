// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <lockstep/backend/cpu/all_finite.hpp>

#include "support/catch.hpp"

namespace {

namespace kernels = lockstep::cpu_backend;

template <class V>
bool finite_by(const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  bool finite = false;
  kernels::run_for<V, kernels::all_finite_kernel>(n, x.data(), &finite);
  CHECK(kernels::all_finite(n, x.data()) == finite);
  return finite;
}

}  // namespace

TEMPLATE_TEST_CASE("a number that is not finite is seen wherever it stands", "", kernels::float_x8,
                   kernels::float_x16) {
  if (!kernels::has<TestType>()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  constexpr float largest = std::numeric_limits<float>::max();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const std::size_t n : {0U, 1U, 7U, 31U, 32U, 64U, 131U}) {
    std::vector<float> x(n, largest);
    for (std::size_t i = 0; i < n; i += 3) x[i] = i % 2 == 0 ? -largest : -0.F;
    CHECK(finite_by<TestType>(x));
    for (std::size_t i = 0; i < n; ++i)
      for (const float special : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
        const float before = x[i];
        x[i] = special;
        CAPTURE(n, i, special);
        CHECK(!finite_by<TestType>(x));
        x[i] = before;
      }
  }
}
