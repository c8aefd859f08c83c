// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>

#include "backend/support.hpp"
#include "support/catch.hpp"

namespace {

using namespace lockstep_test;

doubles wave(std::int64_t n, double step) {
  doubles all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::sin(static_cast<double>(i) * step);
  return all;
}

/// Runs a backward twice, once into fresh memory and once on top of other values, and compares the bits of
/// values + fresh with the second result.
template <class B, class Backward>
void check_added_once(std::int64_t weights, std::int64_t biases, const Backward& backward) {
  using value = typename B::value_type;
  const doubles before = wave(weights + biases, 0.37);
  array<B, value> fresh(filled(weights + biases, -7));
  array<B, value> onto(before);
  backward(fresh.data(), fresh.data() + weights, false);
  backward(onto.data(), onto.data() + weights, true);
  const doubles gradient = fresh.read();
  const doubles got = onto.read();
  std::vector<value> want_bits, got_bits;
  for (std::size_t i = 0; i < got.size(); ++i) {
    want_bits.push_back(static_cast<value>(before[i]) + static_cast<value>(gradient[i]));
    got_bits.push_back(static_cast<value>(got[i]));
  }
  CHECK(std::memcmp(got_bits.data(), want_bits.data(), got_bits.size() * sizeof(value)) == 0);
}

template <class B, ls::linear_geometry G>
void check_linear(std::int64_t n) {
  CAPTURE(B::name, G.in, G.out, n);
  entered<B> e;
  typename B::template linear<G> product(e.context, n);
  array<B> x(wave(n * G.in, 0.71));
  array<B> dy(wave(n * G.out, 0.53));
  array<B> w(wave(G.in * G.out, 0.29));
  array<B> dx(filled(n * G.in, poison));
  using value = typename B::value_type;
  check_added_once<B>(G.in * G.out, G.out, [&](value* dw, value* db, bool accumulate) {
    product.backward(e.context, x.data(), dy.data(), w.data(), G.input_gradient ? dx.data() : nullptr, dw, db,
                     accumulate);
  });
}

template <class B, ls::convolution_geometry G>
void check_convolution(std::int64_t n) {
  CAPTURE(B::name, G.in_channels, G.out_channels, n);
  entered<B> e;
  typename B::template convolution<G> convolution(e.context, n);
  array<B> x(wave(n * G.in_size(), 0.71));
  array<B> dy(wave(n * G.out_size(), 0.53));
  array<B> w(wave(G.weight_size(), 0.29));
  array<B> dx(filled(n * G.in_size(), poison));
  using value = typename B::value_type;
  check_added_once<B>(G.weight_size(), G.out_channels, [&](value* dw, value* db, bool accumulate) {
    convolution.backward(e.context, x.data(), dy.data(), w.data(), dx.data(), dw, db, accumulate);
  });
}

template <class B>
void check_all() {
  for (const std::int64_t n : {1, 3, 4, 9, 300}) {
    check_linear<B, ls::linear_geometry{.in = 131, .out = 10}>(n);
    check_linear<B, ls::linear_geometry{.in = 70, .out = 90, .input_gradient = false}>(n);
    check_linear<B, ls::linear_geometry{.in = 64, .out = 130, .mask_input = true}>(n);
  }
  constexpr ls::convolution_geometry narrow{.in_channels = 3, .in = 9, .out_channels = 32, .kernel = 3, .padding = 1};
  constexpr ls::convolution_geometry wide{
      .in_channels = 8, .in = 9, .out_channels = 16, .kernel = 3, .stride = 2, .padding = 1};
  for (const std::int64_t n : {1, 4, 7}) {
    check_convolution<B, narrow>(n);
    check_convolution<B, wide>(n);
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a backward that accumulates adds the complete gradient, rounded once", "[backend][accumulate]",
                        pass_backends) {
  check_all<TestType>();
}

TEST_CASE("the reference's backward that accumulates adds the complete gradient, rounded once",
          "[backend][accumulate]") {
  check_all<ls::reference<float>>();
}
