// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/cpu/few_channels/forward.hpp>
#include <lockstep/backend/cpu/few_channels/input_gradient.hpp>
#include <lockstep/backend/cpu/few_channels/shape.hpp>
#include <lockstep/backend/cpu/few_channels/weight_gradient.hpp>

#include "backend/convolution_check.hpp"

namespace {

using namespace lockstep_test;
namespace kernels = ls::cpu_backend;
namespace few_channels = kernels::few_channels;

constexpr ls::convolution_geometry square(std::int64_t in, std::int64_t out, ls::extent2 picture, ls::extent2 kernel,
                                          ls::extent2 padding = {0}, bool relu = false) {
  return {.in_channels = in, .in = picture, .out_channels = out, .kernel = kernel, .padding = padding, .relu = relu};
}

std::vector<float> floats(const doubles& from) {
  std::vector<float> to(from.size());
  std::transform(from.begin(), from.end(), to.begin(), [](double v) { return static_cast<float>(v); });
  return to;
}
doubles numbers(const std::vector<float>& from) { return {from.begin(), from.end()}; }

/// The three kernels by vectors of one width, in arrays without room before or after, against the oracle.
template <class V, ls::convolution_geometry G>
void check_kernels(std::int64_t n) {
  static_assert(few_channels::fits(G));
  CAPTURE(G.in_channels, G.in.height, G.in.width, G.out_channels, G.kernel.height, G.kernel.width, G.padding.height, n);
  const ls::dims in{G.in_channels, G.in.height, G.in.width};
  const ls::dims out{G.out_channels, G.out().height, G.out().width};
  const doubles x = uniform(n * G.in_size(), 1), w = uniform(G.weight_size(), 2), b = uniform(G.out_channels, 3);
  const doubles dy = uniform(n * G.out_size(), 4), dw = uniform(G.weight_size(), 5), db = uniform(G.out_channels, 6);
  oracle::context oc;
  oracle::convolution<G> exact(oc, n);
  doubles want_y(dy.size()), want_dx(x.size()), want_dw = dw, want_db = db;
  exact.forward(oc, x.data(), w.data(), b.data(), want_y.data());
  exact.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), true);

  const std::vector<float> fx = floats(to_backend<ls::cpu>(x, n, in)), fw = floats(w), fb = floats(b);
  const std::vector<float> fdy = floats(to_backend<ls::cpu>(dy, n, out));
  std::vector<float> y(dy.size(), static_cast<float>(poison)), dx(x.size(), static_cast<float>(poison));
  std::vector<float> sum_w = floats(dw), sum_b = floats(db);
  few_channels::forward_pass<G> forward;
  forward.template run<V>(n, fx.data(), fw.data(), fb.data(), y.data());
  check_close(from_backend<ls::cpu>(numbers(y), n, out), want_y, tolerance<float>(few_channels::shape<G>::taps));
  few_channels::input_gradient<G> input;
  input.template run<V>(n, fdy.data(), fw.data(), dx.data());
  check_close(from_backend<ls::cpu>(numbers(dx), n, in), want_dx,
              tolerance<float>(G.out_channels * G.kernel.height * G.kernel.width));
  few_channels::weight_gradient<G> weights;
  weights.template run<V>(n, fx.data(), fdy.data(), sum_w.data(), sum_b.data(), true);
  const std::int64_t pixels = n * G.out().height * G.out().width;
  check_close(numbers(sum_w), want_dw, tolerance<float>(pixels));
  check_close(numbers(sum_b), want_db, tolerance<float>(pixels));

  // Without a bias, over what was there.
  weights.template run<V>(n, fx.data(), fdy.data(), sum_w.data(), nullptr, false);
  exact.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), false);
  check_close(numbers(sum_w), want_dw, tolerance<float>(pixels));
}

}  // namespace

TEMPLATE_TEST_CASE("small convolutions by vectors of each width match the oracle", "[cpu][convolution]",
                   kernels::float_x8, kernels::float_x16) {
  if (!kernels::has<TestType>()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  check_kernels<TestType, square(1, 6, {28, 27}, 5)>(2);              // LeNet's first
  check_kernels<TestType, square(6, 16, 12, 5, {0}, true)>(3);        // and second
  check_kernels<TestType, square(3, 16, {7, 13}, 3, {1})>(2);         // tiles of two heights
  check_kernels<TestType, square(2, 11, {6, 5}, {7, 3}, {3, 1})>(3);  // more than a vector of eight, no multiple of it
  check_kernels<TestType, square(5, 1, {4, 9}, {2, 4}, {1, 2})>(2);
  check_kernels<TestType, square(16, 3, {5, 3}, {3, 2}, {2, 0})>(1);
}

TEST_CASE("small convolutions match the oracle", "[cpu][convolution]") {
  entered<ls::cpu> e;
  for (const std::int64_t n : {1, 5})
    for (const bool accumulate : {false, true}) {
      check_convolution<ls::cpu, square(6, 16, {9, 8}, 5, {0}, true)>(e.context, n, accumulate);
      check_convolution<ls::cpu, square(3, 7, {6, 8}, 3, {1})>(e.context, n, accumulate);  // oneDNN's input gradient
    }
}

TEST_CASE("small convolutions leave others to other kernels", "[cpu][convolution]") {
  using few_channels::fits;
  STATIC_REQUIRE(fits(square(1, 6, 28, 5)));
  STATIC_REQUIRE_FALSE(fits(square(8, 16, 28, 3)));
  STATIC_REQUIRE_FALSE(fits(square(3, 20, 28, 3)));
  STATIC_REQUIRE_FALSE(fits(square(7, 6, 28, 5)));  // 35 floats in a row of the kernel
  STATIC_REQUIRE_FALSE(fits(square(1, 6, 28, {9, 3})));
  constexpr auto changed = [](auto change) {
    ls::convolution_geometry g = square(1, 6, 28, 5);
    change(g);
    return fits(g);
  };
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.stride = 2; }));
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.dilation = 2; }));
}
