// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstring>
#include <tuple>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/reference/reference.hpp>

#include "backend/support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

/// Runs a backward twice, once into fresh memory and once on top of `before`, and compares the bits of
/// before + fresh with the second result.
template <class T, class Backward>
void check_added_once(std::int64_t weights, std::int64_t biases, const Backward& backward) {
  const auto size = static_cast<std::size_t>(weights + biases);
  std::vector<T> fresh(size, T{-7});
  std::vector<T> added(size);
  for (std::size_t i = 0; i < size; ++i) added[i] = static_cast<T>(std::sin(static_cast<double>(i) * 0.37));
  std::vector<T> expected = added;
  backward(fresh.data(), fresh.data() + weights, false);
  for (std::size_t i = 0; i < size; ++i) expected[i] = expected[i] + fresh[i];
  backward(added.data(), added.data() + weights, true);
  CHECK(std::memcmp(added.data(), expected.data(), size * sizeof(T)) == 0);
}

template <class T>
std::vector<T> wave(std::int64_t n, double step) {
  std::vector<T> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<T>(std::sin(static_cast<double>(i) * step));
  return all;
}

template <class B, ls::linear_geometry G>
void check_linear(std::int64_t n) {
  CAPTURE(B::name, G.in, G.out, n);
  using T = typename B::value_type;
  typename B::context c;
  const auto entered = c.enter();
  static_cast<void>(entered);
  typename B::template linear<G> product(c, n);
  const auto x = wave<T>(n * G.in, 0.71);
  const auto dy = wave<T>(n * G.out, 0.53);
  const auto w = wave<T>(G.in * G.out, 0.29);
  std::vector<T> dx(static_cast<std::size_t>(n * G.in));
  check_added_once<T>(G.in * G.out, G.out, [&](T* dw, T* db, bool accumulate) {
    product.backward(c, x.data(), dy.data(), w.data(), G.input_gradient ? dx.data() : nullptr, dw, db, accumulate);
  });
}

template <class B, ls::convolution_geometry G>
void check_convolution(std::int64_t n) {
  CAPTURE(B::name, G.in_channels, G.out_channels, n);
  using T = typename B::value_type;
  typename B::context c;
  const auto entered = c.enter();
  static_cast<void>(entered);
  typename B::template convolution<G> convolution(c, n);
  const auto x = wave<T>(n * G.in_size(), 0.71);
  const auto dy = wave<T>(n * G.out_size(), 0.53);
  const auto w = wave<T>(G.weight_size(), 0.29);
  std::vector<T> dx(static_cast<std::size_t>(n * G.in_size()));
  check_added_once<T>(G.weight_size(), G.out_channels, [&](T* dw, T* db, bool accumulate) {
    convolution.backward(c, x.data(), dy.data(), w.data(), dx.data(), dw, db, accumulate);
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

TEST_CASE("a backward that accumulates adds the complete gradient, rounded once", "[backend][accumulate]") {
  check_all<ls::cpu>();
  check_all<ls::reference<float>>();
}
