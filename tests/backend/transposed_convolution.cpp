// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;
using geometry = ls::transposed_convolution_geometry;

/// Calls f(index in PyTorch's order, position in the backend's) for every weight.
template <class Convolution, class F>
void each_weight(const geometry& g, const F& f) {
  std::size_t index = 0;
  for (std::int64_t i = 0; i < g.in_channels; ++i)
    for (std::int64_t o = 0; o < g.out_channels / g.groups; ++o)
      for (std::int64_t h = 0; h < g.kernel.height; ++h)
        for (std::int64_t w = 0; w < g.kernel.width; ++w)
          f(index++, static_cast<std::size_t>(Convolution::weight_offset(i, o, h, w)));
}

template <class Convolution>
doubles to_physical(const doubles& w, const geometry& g) {
  doubles own(w.size(), poison);
  each_weight<Convolution>(g, [&](std::size_t index, std::size_t position) { own.at(position) = w[index]; });
  return own;
}
template <class Convolution>
doubles from_physical(const doubles& own, const geometry& g) {
  doubles w(own.size(), poison);
  each_weight<Convolution>(g, [&](std::size_t index, std::size_t position) { w[index] = own.at(position); });
  return w;
}

/// One forward and one backward pass for `n` of `most` samples against the oracle.
template <class B, geometry G>
void check(typename B::context& c, std::int64_t most, std::int64_t n, bool accumulate) {
  using tested = typename B::template transposed_convolution<G>;
  using value = typename B::value_type;
  constexpr ls::dims in{G.in_channels, G.in.height, G.in.width};
  constexpr ls::dims out{G.out_channels, G.out().height, G.out().width};
  CAPTURE(B::name, ls::to_string(in), ls::to_string(out), G.kernel.height, G.kernel.width, G.groups, G.bias, G.relu);
  CAPTURE(G.input_gradient, G.parameter_gradient, n, accumulate);

  const doubles x = held<B>(uniform(n * G.in_size(), 1));
  const doubles w = held<B>(uniform(G.weight_size(), 2));
  const doubles b = held<B>(uniform(G.out_channels, 3));
  const doubles dy = held<B>(uniform(n * G.out_size(), 4));
  const doubles dw = accumulate ? uniform(G.weight_size(), 5) : filled(G.weight_size(), poison);
  const doubles db = accumulate ? uniform(G.out_channels, 6) : filled(G.out_channels, infinity);

  oracle::context oc;
  oracle::transposed_convolution<G> exact(oc, n);
  doubles want_y(dy.size());
  doubles want_dx(x.size());
  doubles want_dw = dw;
  doubles want_db = db;
  exact.forward(oc, x.data(), w.data(), b.data(), want_y.data());
  exact.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), accumulate);

  const doubles own_w = to_physical<tested>(w, G);
  REQUIRE(from_physical<tested>(own_w, G) == w);  // weight_offset is a permutation

  array<B> px(to_backend<B>(x, n, in));
  array<B> pw(own_w, 3);
  array<B> pb(b, 5);
  array<B> py(filled(n * G.out_size(), poison));
  array<B> pdy(to_backend<B>(dy, n, out));
  array<B> pdx(filled(n * G.in_size(), poison));
  array<B, value> pdw(to_physical<tested>(dw, G), 7);
  array<B, value> pdb(db, 1);
  tested op(c, most);
  op.set_samples(n);
  op.forward(c, px.data(), pw.data(), G.bias ? pb.data() : nullptr, py.data());
  op.backward(c, px.data(), pdy.data(), pw.data(), G.input_gradient ? pdx.data() : nullptr,
              G.parameter_gradient ? pdw.data() : nullptr, G.parameter_gradient && G.bias ? pdb.data() : nullptr,
              accumulate);

  constexpr std::int64_t taps = G.kernel.height * G.kernel.width;
  // The product may be rounded before the bias, a number in [-1, 1], comes to it.
  check_close(from_backend<B>(py.read(), n, out), want_y,
              tolerance<value>(G.in_channels / G.groups * taps) + rounding<B>, 2 * rounding<B>);
  if (G.parameter_gradient)
    check_close(from_physical<tested>(pdw.read(), G), want_dw, tolerance<value>(n * G.in.height * G.in.width),
                rounding<B>);
  if (G.parameter_gradient && G.bias)
    check_close(pdb.read(), want_db, tolerance<value>(n * G.out().height * G.out().width));
  if (G.input_gradient)
    check_close(from_backend<B>(pdx.read(), n, in), want_dx, tolerance<value>(G.out_channels / G.groups * taps),
                rounding<B>);
  // What is only read stays as it was.
  check_close(from_backend<B>(px.read(), n, in), x, 0);
  check_close(pw.read(), own_w, 0);
  check_close(from_backend<B>(pdy.read(), n, out), dy, 0);
}

template <class B, geometry... G>
void check_all() {
  if constexpr (!ls::transposes_convolutions<B>) {
    LOCKSTEP_SKIP("the backend does not transpose convolutions");
  } else {
    entered<B> e;
    for (const bool accumulate : {false, true})
      for (const std::int64_t n : {1, 2, 5}) (check<B, G>(e.context, n == 2 ? 4 : n, n, accumulate), ...);
  }
}

}  // namespace

// Channels of vectors, of their remainders, and so few that the CPU's own kernels run two of the passes.
TEMPLATE_LIST_TEST_CASE("transposed convolution", "[convolution]", pass_backends) {
  check_all<TestType, geometry{.in_channels = 16, .in = {4, 5}, .out_channels = 8, .kernel = {2}, .stride = {2}},
            geometry{.in_channels = 32, .in = {3, 3}, .out_channels = 32, .kernel = {3}, .padding = {1}, .relu = true},
            geometry{.in_channels = 5, .in = {4, 3}, .out_channels = 19, .kernel = {3}, .bias = false, .relu = true},
            geometry{.in_channels = 16,
                     .in = {5, 4},
                     .out_channels = 1,
                     .kernel = {3},
                     .stride = {2},
                     .padding = {1},
                     .output_padding = {1}},
            geometry{.in_channels = 16, .in = {6, 6}, .out_channels = 3, .kernel = {3}, .padding = {1}},
            geometry{.in_channels = 1, .in = {1, 1}, .out_channels = 4, .kernel = {3, 4}}>();
}

TEMPLATE_LIST_TEST_CASE("transposed convolution: options together, heights unlike widths", "[convolution]",
                        pass_backends) {
  check_all<TestType,
            geometry{.in_channels = 4,
                     .in = {4, 3},
                     .out_channels = 6,
                     .kernel = {3, 2},
                     .stride = {3, 2},
                     .padding = {1, 0},
                     .output_padding = {2, 1},
                     .dilation = {1, 2},
                     .groups = 2},
            geometry{.in_channels = 8,
                     .in = {3, 5},
                     .out_channels = 8,
                     .kernel = {2, 3},
                     .stride = {1, 2},
                     .padding = {0, 2},
                     .dilation = {2, 1},
                     .groups = 8,
                     .bias = false}>();
}

TEMPLATE_LIST_TEST_CASE("transposed convolution: gradients that nobody needs", "[convolution]", pass_backends) {
  check_all<
      TestType,
      geometry{
          .in_channels = 16, .in = {3, 4}, .out_channels = 8, .kernel = {2}, .stride = {2}, .input_gradient = false},
      geometry{.in_channels = 16,
               .in = {3, 4},
               .out_channels = 2,
               .kernel = {2},
               .stride = {2},
               .parameter_gradient = false}>();
}
