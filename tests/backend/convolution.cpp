// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

/// One forward and one backward pass for `n` samples against the oracle.
template <class B, ls::convolution_geometry G>
void check_convolution(typename B::context& c, std::int64_t n, bool accumulate) {
  using value = typename B::value_type;
  constexpr ls::dims in{G.in_channels, G.in.height, G.in.width};
  constexpr ls::dims out{G.out_channels, G.out().height, G.out().width};
  CAPTURE(B::name, ls::to_string(in), ls::to_string(out), G.kernel.height, G.kernel.width, G.groups, G.bias, G.relu);
  CAPTURE(n, accumulate);

  const doubles x = uniform(n * G.in_size(), 1);
  const doubles w = uniform(G.weight_size(), 2);
  const doubles b = uniform(G.out_channels, 3);
  const doubles dy = uniform(n * G.out_size(), 4);
  const doubles dw = accumulate ? uniform(G.weight_size(), 5) : filled(G.weight_size(), poison);
  const doubles db = accumulate ? uniform(G.out_channels, 6) : filled(G.out_channels, infinity);

  oracle::context oc;
  oracle::convolution<G> exact(oc, n);
  doubles want_y(dy.size());
  doubles want_dx(x.size());
  doubles want_dw = dw;
  doubles want_db = db;
  exact.forward(oc, x.data(), w.data(), b.data(), want_y.data());
  exact.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), accumulate);

  array<B> px(to_backend<B>(x, n, in));
  array<B> pw(w, 3);
  array<B> pb(b, 5);
  array<B> py(filled(n * G.out_size(), poison));
  array<B> pdy(to_backend<B>(dy, n, out));
  array<B> pdx(filled(n * G.in_size(), poison));
  array<B> pdw(dw, 7);
  array<B> pdb(db, 1);
  typename B::template convolution<G> op(c, n);
  op.forward(c, px.data(), pw.data(), G.bias ? pb.data() : nullptr, py.data());
  op.backward(c, px.data(), pdy.data(), pw.data(), G.input_gradient ? pdx.data() : nullptr, pdw.data(),
              G.bias ? pdb.data() : nullptr, accumulate);

  constexpr std::int64_t taps = G.kernel.height * G.kernel.width;
  const std::int64_t pixels = n * G.out().height * G.out().width;
  check_close(from_backend<B>(py.read(), n, out), want_y, tolerance<value>(G.in_channels / G.groups * taps));
  check_close(pdw.read(), want_dw, tolerance<value>(pixels));
  if (G.bias) check_close(pdb.read(), want_db, tolerance<value>(pixels));
  if (G.input_gradient)
    check_close(from_backend<B>(pdx.read(), n, in), want_dx, tolerance<value>(G.out_channels / G.groups * taps));
  // What is only read stays as it was.
  check_close(from_backend<B>(px.read(), n, in), x, 0);
  check_close(pw.read(), w, 0);
  check_close(from_backend<B>(pdy.read(), n, out), dy, 0);
}

template <class B, ls::convolution_geometry... G>
void check_all() {
  entered<B> e;
  for (const std::int64_t n : {1, 2, 5})
    for (const bool accumulate : {false, true}) (check_convolution<B, G>(e.context, n, accumulate), ...);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("convolution with kernels of 1, 3 and 5", "[convolution]", backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 1,
                                     .in = {6, 5},
                                     .out_channels = 8,
                                     .kernel = {1},
                                     .stride = {1},
                                     .dilation = {1},
                                     .bias = false},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {6},
                                     .out_channels = 8,
                                     .kernel = {1},
                                     .stride = {2},
                                     .dilation = {1},
                                     .bias = false,
                                     .relu = true},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {8},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .relu = true,
                                     .input_gradient = false},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {8, 7},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1}},
            ls::convolution_geometry{.in_channels = 8,
                                     .in = {7, 6},
                                     .out_channels = 5,
                                     .kernel = {5},
                                     .stride = {2},
                                     .padding = {2},
                                     .dilation = {1}}>();
}

TEMPLATE_LIST_TEST_CASE("convolution with windows that are not square", "[convolution]", backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 5,
                                     .in = {7, 9},
                                     .out_channels = 3,
                                     .kernel = {3, 2},
                                     .stride = {2, 1},
                                     .padding = {1, 0},
                                     .dilation = {1, 2}},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {5, 9},
                                     .out_channels = 8,
                                     .kernel = {1, 3},
                                     .stride = {1, 2},
                                     .padding = {0, 1},
                                     .dilation = {1, 2},
                                     .relu = true},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {6},
                                     .out_channels = 5,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {2},
                                     .dilation = {2}},
            ls::convolution_geometry{
                .in_channels = 8, .in = {4}, .out_channels = 16, .kernel = {4}, .stride = {1}, .dilation = {1}},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {5},
                                     .out_channels = 1,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1}}>();
}

TEMPLATE_LIST_TEST_CASE("convolution in groups", "[convolution]", backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 8,
                                     .in = {6},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .groups = 2},
            ls::convolution_geometry{.in_channels = 16,
                                     .in = {6, 5},
                                     .out_channels = 16,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .groups = 16,
                                     .relu = true},
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {6},
                                     .out_channels = 6,
                                     .kernel = {3},
                                     .stride = {2},
                                     .dilation = {1},
                                     .groups = 3,
                                     .bias = false,
                                     .input_gradient = false}>();
}

// A backend may have code of its own for pictures of few channels: several rows and blocks of channels at once.
TEMPLATE_LIST_TEST_CASE("convolution of few channels into many", "[convolution]", backends) {
  check_all<TestType,
            ls::convolution_geometry{.in_channels = 3,
                                     .in = {14, 12},
                                     .out_channels = 32,
                                     .kernel = {3},
                                     .stride = {1},
                                     .padding = {1},
                                     .dilation = {1},
                                     .relu = true,
                                     .input_gradient = false},
            ls::convolution_geometry{
                .in_channels = 1, .in = {3, 130}, .out_channels = 64, .kernel = {1, 2}, .stride = {1}, .dilation = {1}},
            ls::convolution_geometry{.in_channels = 4,
                                     .in = {7, 6},
                                     .out_channels = 32,
                                     .kernel = {3, 2},
                                     .stride = {2, 1},
                                     .padding = {1, 0},
                                     .dilation = {2, 1},
                                     .bias = false},
            ls::convolution_geometry{.in_channels = 2,
                                     .in = {9, 8},
                                     .out_channels = 96,
                                     .kernel = {5},
                                     .stride = {2},
                                     .padding = {2},
                                     .dilation = {1}}>();
}
