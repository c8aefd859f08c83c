// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/support.hpp"

namespace lockstep_test {

template <class Linear>
doubles to_physical(const doubles& w, const ls::linear_geometry& g) {
  doubles own(w.size(), poison);
  for (std::int64_t o = 0; o < g.out; ++o)
    for (std::int64_t i = 0; i < g.in; ++i)
      own.at(static_cast<std::size_t>(Linear::weight_offset(o, i))) = w[static_cast<std::size_t>(o * g.in + i)];
  return own;
}

template <class Linear>
doubles from_physical(const doubles& own, const ls::linear_geometry& g) {
  doubles w(own.size(), poison);
  for (std::int64_t o = 0; o < g.out; ++o)
    for (std::int64_t i = 0; i < g.in; ++i)
      w[static_cast<std::size_t>(o * g.in + i)] = own.at(static_cast<std::size_t>(Linear::weight_offset(o, i)));
  return w;
}

/// One forward and one backward pass for `n` samples against the oracle.
template <class B, ls::linear_geometry G>
void check_linear(typename B::context& c, std::int64_t n, bool accumulate) {
  using tested = typename B::template linear<G>;
  using value = typename B::value_type;
  CAPTURE(B::name, G.in, G.out, G.bias, G.relu, G.input_gradient, G.mask_input, G.parameter_gradient, n, accumulate);

  const doubles x = held<B>(G.mask_input ? rectified(n * G.in, 1) : uniform(n * G.in, 1));
  const doubles w = held<B>(uniform(G.out * G.in, 2));
  const doubles b = held<B>(uniform(G.out, 3));
  const doubles dy = held<B>(uniform(n * G.out, 4));
  const doubles dw = accumulate ? uniform(G.out * G.in, 5) : filled(G.out * G.in, poison);
  const doubles db = accumulate ? uniform(G.out, 6) : filled(G.out, infinity);

  oracle::context oc;
  oracle::linear<G> exact(oc, n);
  doubles want_y(dy.size());
  doubles want_dx(x.size());
  doubles want_dw = dw;
  doubles want_db = db;
  exact.forward(oc, x.data(), w.data(), b.data(), want_y.data());
  exact.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), accumulate);

  const doubles own_w = to_physical<tested>(w, G);
  REQUIRE(from_physical<tested>(own_w, G) == w);  // weight_offset is a permutation

  array<B> px(x);
  array<B> pw(own_w, 3);
  array<B> pb(b, 5);
  array<B> py(filled(n * G.out, poison));
  array<B> pdy(dy);
  array<B> pdx(filled(n * G.in, poison));
  array<B, value> pdw(to_physical<tested>(dw, G), 7);
  array<B, value> pdb(db, 1);
  tested op(c, n);
  op.forward(c, px.data(), pw.data(), G.bias ? pb.data() : nullptr, py.data());
  // The product may be rounded before the bias, a number in [-1, 1], comes to it.
  check_close(py.read(), want_y, tolerance<value>(G.in) + rounding<B>, 2 * rounding<B>);
  const auto backward = [&](typename B::activation_type* dx, value* weights, value* biases) {
    op.backward(c, px.data(), pdy.data(), pw.data(), G.input_gradient ? dx : nullptr,
                G.parameter_gradient ? weights : nullptr, G.parameter_gradient && G.bias ? biases : nullptr,
                accumulate);
  };
  backward(pdx.data(), pdw.data(), pdb.data());
  if (G.parameter_gradient) check_close(from_physical<tested>(pdw.read(), G), want_dw, tolerance<value>(n));
  if (G.parameter_gradient && G.bias) check_close(pdb.read(), want_db, tolerance<value>(n));
  if (G.input_gradient) check_close(pdx.read(), want_dx, tolerance<value>(G.out), rounding<B>);
  // What is only read stays as it was.
  check_close(px.read(), x, 0);
  check_close(pw.read(), own_w, 0);
  check_close(pdy.read(), dy, 0);

  if (G.input_gradient) {
    array<B, value> scratch_dw(filled(G.out * G.in, 0));
    array<B, value> scratch_db(filled(G.out, 0));
    backward(px.data(), scratch_dw.data(), scratch_db.data());  // the gradient takes the input's place
    check_close(px.read(), pdx.read(), 0);
  }
}

}  // namespace lockstep_test
