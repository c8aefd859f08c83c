// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "backend/convolution_check.hpp"
#include "backend/linear_check.hpp"

/// \file
/// A NaN leaves a layer that reads one, through its relu too, as in PyTorch: else a network that has diverged would
/// look as if it had not.

namespace {

using namespace lockstep_test;

/// How many elements of `want` are NaN where `got` is not.
std::size_t hidden(const doubles& got, const doubles& want) {
  REQUIRE(got.size() == want.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i) count += std::isnan(want[i]) && !std::isnan(got[i]) ? 1U : 0U;
  return count;
}

/// One NaN, in the middle.
doubles with_nan(doubles values) {
  values[values.size() / 2] = poison;
  return values;
}

template <class B, ls::linear_geometry G>
void check_linear_nan(typename B::context& c, std::int64_t n) {
  CAPTURE(B::name, G.in, G.out, G.bias, G.relu, n);
  using tested = typename B::template linear<G>;
  const doubles w = held<B>(uniform(G.out * G.in, 2));
  oracle::context oc;
  oracle::linear<G> exact(oc, n);
  tested op(c, n);
  array<B> pw(to_physical<tested>(w, G), 3);
  array<B> py(filled(n * G.out, 0));
  const auto check = [&](const doubles& x, const doubles& b) {
    doubles want(static_cast<std::size_t>(n * G.out));
    exact.forward(oc, x.data(), w.data(), b.data(), want.data());
    array<B> px(x);
    array<B> pb(b, 5);
    op.forward(c, px.data(), pw.data(), G.bias ? pb.data() : nullptr, py.data());
    CHECK(hidden(py.read(), want) == 0);
  };
  check(with_nan(uniform(n * G.in, 1)), uniform(G.out, 3));
  if (G.bias) check(uniform(n * G.in, 1), with_nan(uniform(G.out, 3)));
}

template <class B, ls::convolution_geometry G>
void check_convolution_nan(typename B::context& c, std::int64_t n) {
  constexpr ls::dims in{G.in_channels, G.in.height, G.in.width};
  constexpr ls::dims out{G.out_channels, G.out().height, G.out().width};
  CAPTURE(B::name, ls::to_string(in), ls::to_string(out), G.kernel.height, G.groups, G.bias, G.relu, n);
  using tested = typename B::template convolution<G>;
  const doubles w = held<B>(uniform(G.weight_size(), 2));
  oracle::context oc;
  oracle::convolution<G> exact(oc, n);
  tested op(c, n);
  array<B> pw(to_physical<tested>(w, G), 3);
  array<B> py(filled(n * G.out_size(), 0));
  const auto check = [&](const doubles& x, const doubles& b) {
    doubles want(static_cast<std::size_t>(n * G.out_size()));
    exact.forward(oc, x.data(), w.data(), b.data(), want.data());
    array<B> px(to_backend<B>(x, n, in));
    array<B> pb(b, 5);
    op.forward(c, px.data(), pw.data(), G.bias ? pb.data() : nullptr, py.data());
    CHECK(hidden(from_backend<B>(py.read(), n, out), want) == 0);
  };
  check(with_nan(uniform(n * G.in_size(), 1)), uniform(G.out_channels, 3));
  if (G.bias) check(uniform(n * G.in_size(), 1), with_nan(uniform(G.out_channels, 3)));
}

template <class B, ls::linear_geometry... G>
void check_linears(std::int64_t n) {
  entered<B> e;
  (check_linear_nan<B, G>(e.context, n), ...);
}

template <class B, ls::convolution_geometry... G>
void check_convolutions(std::int64_t n) {
  entered<B> e;
  (check_convolution_nan<B, G>(e.context, n), ...);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a NaN leaves a linear layer with a relu", "[linear][nan]", pass_backends) {
  check_linears<TestType, ls::linear_geometry{.in = 10, .out = 10, .relu = true},
                ls::linear_geometry{.in = 130, .out = 3, .bias = false, .relu = true},
                ls::linear_geometry{.in = 1000, .out = 16, .relu = true},
                ls::linear_geometry{.in = 64, .out = 33, .relu = true},
                ls::linear_geometry{.in = 70, .out = 64, .relu = true}>(5);
}

TEMPLATE_LIST_TEST_CASE("a NaN leaves a convolution with a relu", "[convolution][nan]", pass_backends) {
  check_convolutions<
      TestType,
      ls::convolution_geometry{
          .in_channels = 3, .in = {9, 20}, .out_channels = 64, .kernel = {3}, .padding = {1}, .relu = true},
      ls::convolution_geometry{.in_channels = 3, .in = {6, 5}, .out_channels = 32, .kernel = {2}, .relu = true},
      ls::convolution_geometry{.in_channels = 16, .in = {6}, .out_channels = 16, .kernel = {3}, .relu = true},
      ls::convolution_geometry{.in_channels = 3, .in = {5}, .out_channels = 5, .kernel = {3}, .relu = true},
      ls::convolution_geometry{.in_channels = 3, .in = {5}, .out_channels = 6, .kernel = {3}, .relu = true},
      ls::convolution_geometry{
          .in_channels = 4, .in = {5}, .out_channels = 8, .kernel = {3}, .groups = 2, .relu = true},
      ls::convolution_geometry{
          .in_channels = 3, .in = {5}, .out_channels = 7, .kernel = {3}, .bias = false, .relu = true}>(2);
}
