// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "model/networks.hpp"
#include "nn/support.hpp"

// What branches compute, put together from models of the branches alone.

using namespace lockstep_test;

namespace {

constexpr std::int64_t samples = 5;

/// What a network computes by itself of `samples` samples. Takes its parameters from the front of `parameters`.
template <class Network, class Input, class B>
doubles alone(const doubles& x, doubles& parameters) {
  using model = ls::model<Network, Input, ls::mean_squared_error>;
  const auto own = parameters.begin() + static_cast<std::ptrdiff_t>(model::parameter_count);
  const doubles first(parameters.begin(), own);
  parameters.erase(parameters.begin(), own);
  return runner<model, B>({}, x, filled(samples * model::output_dims.size(), 0), {.samples = samples}).forward(first);
}

doubles added(doubles a, const doubles& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

doubles positive(doubles x) {
  for (double& v : x) v = v > 0 ? v : 0;
  return x;
}

/// The samples of `a` and `b` in turn: along the first extent, in PyTorch's order, one follows the other.
doubles interleaved(const doubles& a, const doubles& b) {
  const auto width_a = static_cast<std::ptrdiff_t>(a.size()) / samples;
  const auto width_b = static_cast<std::ptrdiff_t>(b.size()) / samples;
  doubles all;
  for (std::ptrdiff_t s = 0; s < samples; ++s) {
    all.insert(all.end(), a.begin() + s * width_a, a.begin() + (s + 1) * width_a);
    all.insert(all.end(), b.begin() + s * width_b, b.begin() + (s + 1) * width_b);
  }
  return all;
}

/// Holds a network on B against `expected(x, parameters)`, which takes all parameters.
template <class Network, class Input, class B, class F>
void check_network(const F& expected) {
  CAPTURE(B::name);
  using model = ls::model<Network, Input, ls::mean_squared_error>;
  doubles parameters = uniform(model::parameter_count, 3);
  const doubles x = uniform(samples * model::input_dims.size(), 4);
  doubles rest = parameters;
  const doubles want = expected(x, rest);
  REQUIRE(rest.empty());
  const doubles got = alone<Network, Input, B>(x, parameters);
  check_close(got, want, tolerance<typename B::value_type>(64) * std::max(1.0, largest_magnitude(want)));
}

template <class Body, class Shortcut, class Input, class B>
void check_residual() {
  using net =
      std::conditional_t<std::is_same_v<Shortcut, ls::identity>, ls::residual<Body>, ls::residual<Body, Shortcut>>;
  check_network<net, Input, B>([](const doubles& x, doubles& parameters) {
    const doubles body = alone<Body, Input, B>(x, parameters);
    if constexpr (std::is_same_v<Shortcut, ls::identity>)
      return added(x, body);
    else
      return added(alone<Shortcut, Input, B>(x, parameters), body);
  });
}

template <class One, class Other, class Input, class B>
void check_concat() {
  check_network<ls::concat<One, Other>, Input, B>([](const doubles& x, doubles& parameters) {
    const doubles one = alone<One, Input, B>(x, parameters);
    const doubles other = alone<Other, Input, B>(x, parameters);
    return interleaved(one, other);
  });
  if constexpr (!std::is_same_v<One, ls::flatten>)  // which an identity does not fit
    check_network<ls::concat<One, ls::identity>, Input, B>(
        [](const doubles& x, doubles& parameters) { return interleaved(alone<One, Input, B>(x, parameters), x); });
}

template <class B>
void check_residuals() {
  using picture = ls::input<3, 5, 4>;
  using conv_body = ls::sequential<conv3<6>, ls::relu, conv3<3>>;
  check_residual<conv_body, ls::identity, picture, B>();
  check_residual<conv_body, conv3<3>, picture, B>();
  using strided = ls::sequential<ls::conv2d<7, 3, ls::stride<2>, ls::padding<1>>, ls::relu, conv3<7>>;
  check_residual<strided, ls::conv2d<7, 1, ls::stride<2>>, picture, B>();
  using row_body = ls::sequential<ls::linear<11>, ls::relu, ls::linear<9>>;
  check_residual<row_body, ls::identity, ls::input<9>, B>();
  check_residual<row_body, ls::linear_without_bias<9>, ls::input<4>, B>();
}

template <class B>
void check_concats() {
  check_concat<conv3<2>, conv3<5>, ls::input<3, 5, 4>, B>();
  check_concat<conv3<2>, ls::sequential<conv3<4>, ls::relu>, ls::input<1, 3, 4>, B>();
  check_concat<ls::flatten, ls::sequential<conv3<4>, ls::flatten>, ls::input<2, 3, 4>, B>();
  check_concat<ls::linear<3>, ls::sequential<ls::linear<5>, ls::relu>, ls::input<4>, B>();
}

template <class B>
void check_unet() {
  using input = ls::input<2, 4, 5>;
  using features = ls::input<3, 4, 5>;
  using joined = ls::input<8, 4, 5>;
  using network = ls::sequential<conv3<3>, ls::relu, ls::concat<ls::identity, inner>,
                                 ls::concat<conv3<2>, ls::identity>, ls::relu, conv3<2>>;
  check_network<network, input, B>([](const doubles& x, doubles& parameters) {
    const doubles first = positive(alone<conv3<3>, input, B>(x, parameters));
    const doubles second = interleaved(first, alone<inner, features, B>(first, parameters));
    const doubles third = positive(interleaved(alone<conv3<2>, joined, B>(second, parameters), second));
    return alone<conv3<2>, ls::input<10, 4, 5>, B>(third, parameters);
  });
}

}  // namespace

TEST_CASE("a residual is its shortcut plus its body", "[composites]") {
  check_residuals<oracle>();
  check_residuals<ls::cpu>();
}

TEST_CASE("a concat puts the channels or features of its branches one after the other", "[composites]") {
  check_concats<oracle>();
  check_concats<ls::cpu>();
}

TEST_CASE("a network of nested concats is its branches put together by hand", "[composites]") {
  check_unet<oracle>();
  check_unet<ls::cpu>();
}
