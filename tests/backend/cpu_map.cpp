// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <vector>

#include <lockstep/backend/cpu/cpu.hpp>

#include "backend/functions.hpp"
#include "backend/support.hpp"

/// \file
/// The CPU's kernels of `map` with vectors of each width, and as machines without any run them, over floats of all
/// sizes: how many units in the last place they are off.

namespace {

using namespace lockstep_test;
namespace kernels = lockstep::cpu_backend;

using floats = std::vector<float>;

/// Runs a kernel as the machine with vectors V does.
template <class V>
struct with {
  static bool can() { return kernels::has<V>(); }
  template <class Kernel, class... Arguments>
  static void run(Arguments... arguments) {
    kernels::run_for<V, Kernel>(arguments...);
  }
};
struct without_vectors {
  static bool can() { return true; }
  template <class Kernel, class... Arguments>
  static void run(Arguments... arguments) {
    Kernel::template run<kernels::float_x8>(arguments...);
  }
};

/// Every float whose bits are a multiple of a prime: all exponents, both signs, subnormal numbers, NaNs.
floats floats_of_all_sizes() {
  floats all;
  for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32U; bits += 80021) {
    const auto word = static_cast<std::uint32_t>(bits);
    float v = 0;
    std::memcpy(&v, &word, sizeof v);
    all.push_back(v);
  }
  return all;
}

/// The distance of floats as large as `of`; that of the smallest normal numbers below these.
double unit(double of) {
  int exponent = 0;
  std::frexp(std::max(std::abs(of), 0x1p-126), &exponent);
  return std::ldexp(1.0, exponent - 24);
}

/// Units that a function may be off: a few of its own, and so many as the rounding of an exponential's argument makes.
template <class Case>
double allowed_units(double x) {
  // The kernel takes the square of a gelu's argument exactly.
  const double argument = std::is_same_v<Case, gelu_case> ? 0 : std::abs(Case::argument(x));
  // A subnormal number is not exact to begin with, and then multiplied by x.
  const double of_subnormal = std::abs(x) < 120 ? std::abs(x) / 2 : 0;
  const double own = std::is_same_v<Case, gelu_case> ? 7 : 3.5;
  return own + 2 * (argument < 110 ? argument : 0) + (std::abs(Case::value(x)) < 0x1p-118 ? of_subnormal : 0);
}

template <class Machine, class Case>
void check_case(const floats& x) {
  constexpr auto f = Case::source::template of<float>();
  using function = std::remove_const_t<decltype(f)>;
  CAPTURE(Case::name);
  const auto n = static_cast<std::int64_t>(x.size());
  floats y(x.size(), 77.F);
  floats dx(x.size(), 77.F);
  const floats ones(x.size(), 1.F);
  Machine::template run<kernels::map_kernel<function>>(n, f, x.data(), y.data());
  const floats& from = function::derivative_reads_output ? y : x;
  Machine::template run<kernels::map_backward_kernel<function>>(n, f, from.data(), ones.data(), dx.data());
  double worst = 0;  // as a part of what is allowed
  double worst_derivative = 0;
  std::size_t at = 0;
  bool same = true;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double given = static_cast<double>(x[i]);
    const double want = Case::value(given);
    same = same && std::isnan(y[i]) == std::isnan(want);
    const double difference = difference_of(static_cast<double>(y[i]), want, nan_rule::equals_nan);
    const double excess = difference == 0 ? 0 : difference / unit(want) / allowed_units<Case>(given);
    if (excess > worst) {
      worst = excess;
      at = i;
    }
    const double slope = Case::derivative(static_cast<double>(from[i]));
    same = same && std::isnan(dx[i]) == std::isnan(slope);
    worst_derivative =
        std::max(worst_derivative, difference_of(static_cast<double>(dx[i]), slope, nan_rule::equals_nan));
  }
  INFO("f(" << x[at] << ") is " << y[at] << ", not " << Case::value(static_cast<double>(x[at])));
  CHECK(same);
  CHECK(worst <= 1);
  CHECK(worst_derivative <= 2.5e-7);  // derivatives lie between -0.5 and 1.13
}

template <class Machine, class... Case>
void check_cases(std::type_identity<std::tuple<Case...>>) {
  if (!Machine::can()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  const floats x = floats_of_all_sizes();
  (check_case<Machine, Case>(x), ...);
}

}  // namespace

TEMPLATE_TEST_CASE("functions of activations by vectors of each width", "[map]", with<kernels::float_x8>,
                   with<kernels::float_x16>, without_vectors) {
  check_cases<TestType>(std::type_identity<function_cases>{});
}
