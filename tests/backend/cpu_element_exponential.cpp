// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/element_exponential.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <lockstep/backend/cpu/simd.hpp>

#include "support/catch.hpp"

// Exponentials and logarithms of vectors, against those of the library in double precision.

namespace {

namespace ls = lockstep;
using ls::cpu_backend::float_x16;
using ls::cpu_backend::float_x8;

struct exponential {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* x, float* y) {
    for (std::int64_t i = 0; i < n; i += ls::cpu_backend::lanes<V>) {
      V v;
      ls::cpu_backend::load(v, x + i);
      ls::detail::take_exponential(v);
      ls::cpu_backend::store(y + i, v);
    }
  }
};
struct power_of_negative {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* x, float* y) {
    for (std::int64_t i = 0; i < n; i += ls::cpu_backend::lanes<V>) {
      V v;
      ls::cpu_backend::load(v, x + i);
      ls::detail::take_power_of_negative(v);
      ls::cpu_backend::store(y + i, v);
    }
  }
};
struct logarithm {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* x, float* y) {
    for (std::int64_t i = 0; i < n; i += ls::cpu_backend::lanes<V>) {
      V v;
      ls::cpu_backend::load(v, x + i);
      ls::detail::take_logarithm(v);
      ls::cpu_backend::store(y + i, v);
    }
  }
};
struct log_one_plus {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, const float* x, float* y) {
    for (std::int64_t i = 0; i < n; i += ls::cpu_backend::lanes<V>) {
      V v;
      ls::cpu_backend::load(v, x + i);
      ls::detail::take_log_one_plus(v);
      ls::cpu_backend::store(y + i, v);
    }
  }
};

template <class V, class Function>
std::vector<float> values_of(std::vector<float> x) {
  const std::size_t n = x.size();
  x.resize((n + 15) / 16 * 16, 0.5F);
  std::vector<float> y(x.size());
  ls::cpu_backend::run_for<V, Function>(static_cast<std::int64_t>(x.size()), x.data(), y.data());
  y.resize(n);
  return y;
}

/// Steps between floats near `want`.
double steps_between(float got, double want) {
  const auto near = static_cast<float>(want);
  if (got == near) return 0;
  const double step =
      std::max(static_cast<double>(std::nextafter(std::abs(near), std::numeric_limits<float>::infinity())) -
                   std::abs(static_cast<double>(near)),
               static_cast<double>(std::numeric_limits<float>::denorm_min()));
  return std::abs(static_cast<double>(got) - want) / step;
}

/// The largest number of steps by which values lie from those of `exact`.
template <class V, class Function>
double worst(const std::vector<float>& x, double (*exact)(double)) {
  const std::vector<float> y = values_of<V, Function>(x);
  double most = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    most = std::max(most, steps_between(y[i], exact(static_cast<double>(x[i]))));
  return most;
}

template <class V>
void check_functions() {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x;
  for (int i = -103'000; i <= 88'700; ++i) x.push_back(static_cast<float>(i) * 0.001F);
  for (int k = 1; k < 149; ++k) {
    x.push_back(std::ldexp(1.F, -k));
    x.push_back(-std::ldexp(1.F, -k));
  }
  CHECK(worst<V, exponential>(x, [](double v) { return std::exp(v); }) < 3);
  const std::vector<float> ends =
      values_of<V, exponential>({infinity, 1e30F, 89.F, 0.F, -104.F, -1e30F, -infinity, nan});
  CHECK(ends[0] == infinity);
  CHECK(ends[1] == infinity);
  CHECK(ends[2] == infinity);
  CHECK(ends[3] == 1);
  CHECK(ends[4] == 0);
  CHECK(ends[5] == 0);
  CHECK(ends[6] == 0);
  CHECK(std::isnan(ends[7]));

  std::vector<float> negative;
  for (int i = -126'000; i <= 0; ++i) negative.push_back(static_cast<float>(i) * 0.001F);
  CHECK(worst<V, power_of_negative>(negative, [](double v) { return std::exp2(v); }) < 3);
  const std::vector<float> low =
      values_of<V, power_of_negative>({0.F, -0.F, -126.6F, -127.F, -150.F, -1e30F, -infinity, nan});
  CHECK(low[0] == 1);
  CHECK(low[1] == 1);
  for (std::size_t i = 2; i < 7; ++i) CHECK(low[i] == 0);
  CHECK(std::isnan(low[7]));

  x.clear();
  for (int i = 0; i <= 1'000'000; ++i) x.push_back(static_cast<float>(i) * 1e-6F);
  for (int k = 1; k < 149; ++k) x.push_back(std::ldexp(1.25F, -k));
  CHECK(worst<V, log_one_plus>(x, [](double v) { return std::log1p(v); }) < 4);
  CHECK(std::isnan(values_of<V, log_one_plus>({nan})[0]));

  x.clear();
  for (int k = -125; k < 127; ++k)
    for (int i = 0; i < 1000; ++i) x.push_back(std::ldexp(1.F + static_cast<float>(i) * 0.001F, k));
  CHECK(worst<V, logarithm>(x, [](double v) { return std::log(v); }) < 4);
  CHECK(values_of<V, logarithm>({1.F})[0] == 0);
}

}  // namespace

TEST_CASE("exponentials and logarithms of vectors are precise to a few last places", "[loss]") {
  if (!ls::cpu_backend::has_avx2()) return;
  check_functions<float_x8>();
  if (ls::cpu_backend::has<float_x16>()) check_functions<float_x16>();
}
