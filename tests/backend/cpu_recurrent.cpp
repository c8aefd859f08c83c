// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>

#include "backend/support.hpp"

/// \file
/// Recurrent layers against loops in double, and the gradients of those loops against central differences.

namespace recurrent_test {

using namespace lockstep_test;
using ls::recurrent_cell;

/// The outputs of one sample by loops of its own. `p` has the parameters of all directions. `given`, unless null, are
/// the states before the first step, and become those after the last.
void run_sample(const ls::recurrent_geometry& g, const double* x, const double* p, double* y, double* given) {
  const auto n = g.hidden;
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  for (std::int64_t d = 0; d < g.directions; ++d) {
    const double* const w_ih = p + d * g.direction_size();
    const double* const w_hh = w_ih + g.rows() * g.in;
    const double* const b_ih = w_hh + g.rows() * n;
    const double* const b_hh = b_ih + g.rows();
    doubles h = filled(n, 0);
    doubles c = filled(n, 0);
    if (given != nullptr) std::copy_n(given, n, h.data());
    if (given != nullptr && g.cell == recurrent_cell::lstm) std::copy_n(given + n, n, c.data());
    for (std::int64_t k = 0; k < g.steps; ++k) {
      const std::int64_t t = d == 0 ? k : g.steps - 1 - k;
      doubles a, b;
      for (std::int64_t r = 0; r < g.rows(); ++r) {
        double input = g.bias ? b_ih[r] : 0;
        double state = g.bias ? b_hh[r] : 0;
        for (std::int64_t i = 0; i < g.in; ++i) input += w_ih[r * g.in + i] * x[t * g.in + i];
        for (std::int64_t u = 0; u < n; ++u) state += w_hh[r * n + u] * h[static_cast<std::size_t>(u)];
        a.push_back(input);
        b.push_back(state);
      }
      for (std::int64_t u = 0; u < n; ++u) {
        const auto gate = [&](std::int64_t which) { return static_cast<std::size_t>(which * n + u); };
        const auto sum = [&](std::int64_t which) { return a[gate(which)] + b[gate(which)]; };
        double& state = h[static_cast<std::size_t>(u)];
        double& cell = c[static_cast<std::size_t>(u)];
        if (g.cell == recurrent_cell::lstm) {
          cell = sigmoid(sum(1)) * cell + sigmoid(sum(0)) * std::tanh(sum(2));
          state = sigmoid(sum(3)) * std::tanh(cell);
        } else if (g.cell == recurrent_cell::gru) {
          const double z = sigmoid(sum(1));
          state = (1 - z) * std::tanh(a[gate(2)] + sigmoid(sum(0)) * b[gate(2)]) + z * state;
        } else {
          state = g.cell == recurrent_cell::tanh ? std::tanh(sum(0)) : std::max(sum(0), 0.0);
        }
        if (!g.last_state) y[(t * g.directions + d) * n + u] = state;
        if (g.last_state && k == g.steps - 1) y[d * n + u] = state;
      }
    }
    if (given != nullptr) std::copy_n(h.data(), n, given);
    if (given != nullptr && g.cell == recurrent_cell::lstm) std::copy_n(c.data(), n, given + n);
  }
}

doubles run_all(const ls::recurrent_geometry& g, std::int64_t samples, const doubles& x, const doubles& w,
                doubles* given = nullptr) {
  doubles y = filled(samples * g.out_size(), poison);
  for (std::int64_t s = 0; s < samples; ++s)
    run_sample(g, x.data() + s * g.in_size(), w.data(), y.data() + s * g.out_size(),
               given == nullptr ? nullptr : given->data() + s * g.state_size());
  return y;
}

/// One case's arrays.
struct numbers {
  doubles x, w, dy;

  template <class B>
  static numbers of(const ls::recurrent_geometry& g, std::int64_t samples) {
    const double bound = 1 / std::sqrt(static_cast<double>(g.hidden));
    return {held<B>(uniform(samples * g.in_size(), 1)),
            held<B>(uniform(g.directions * g.direction_size(), 2, -bound, bound)),
            held<B>(uniform(samples * g.out_size(), 3))};
  }
};

/// What a backend computes.
struct results {
  doubles y, dx, dw;
};

template <class B, ls::recurrent_geometry G>
results run_on(typename B::context& c, std::int64_t prepared, std::int64_t samples, const numbers& n) {
  typename B::template recurrent<G> layer(c, prepared);
  layer.set_samples(samples);
  array<B> x(n.x), w(n.w, 3), dy(n.dy);
  array<B> y(filled(samples * G.out_size(), poison));
  array<B> dx(filled(samples * G.in_size(), poison));
  array<B, typename B::value_type> dw(filled(G.directions * G.direction_size(), poison), 1);
  results r;
  // Twice: a pass leaves nothing behind that the next could find.
  for (int pass = 0; pass < 2; ++pass) {
    layer.forward(c, x.data(), w.data(), y.data());
    r.y = y.read();
    layer.backward(c, x.data(), dy.data(), w.data(), dx.data(), dw.data(), false);
    check_close(x.read(), n.x, 0);
    r.dx = dx.read();
    r.dw = dw.read();
  }
  check_close(dy.read(), n.dy, 0);
  // Onto what is there, and dx in the place of x.
  layer.forward(c, x.data(), w.data(), y.data());
  layer.backward(c, x.data(), dy.data(), w.data(), x.data(), dw.data(), true);
  check_close(x.read(), r.dx, 0);
  doubles twice = r.dw;
  for (double& v : twice) v *= 2;
  check_close(dw.read(), twice, 1e-30, 1e-6);
  return r;
}

/// Holds a backend against the loops, and its gradients against the oracle's.
template <class B, ls::recurrent_geometry G>
void check(std::int64_t samples, std::int64_t prepared = 0) {
  CAPTURE(B::name, static_cast<int>(G.cell), G.steps, G.in, G.hidden, G.directions, G.bias, G.last_state, samples);
  entered<B> e;
  const numbers n = numbers::of<B>(G, samples);
  const results given = run_on<B, G>(e.context, std::max(samples, prepared), samples, n);
  const double eps = tolerance<typename B::value_type>(G.in + G.hidden + 8 * G.steps);
  check_close(given.y, run_all(G, samples, n.x, n.w), eps);
  entered<oracle> exact;
  const results wanted = run_on<oracle, G>(exact.context, samples, samples, n);
  check_close(given.dx, wanted.dx, 4 * eps * std::max(1.0, largest_magnitude(wanted.dx)));
  check_close(given.dw, wanted.dw, eps * static_cast<double>(samples) * std::max(1.0, largest_magnitude(wanted.dw)));
}

/// The definition's gradients of a sum of outputs times dy against central differences of the loops.
template <ls::recurrent_geometry G>
void check_definition(std::int64_t samples) {
  CAPTURE(static_cast<int>(G.cell), G.steps, G.directions, G.bias, G.last_state);
  entered<oracle> e;
  numbers n = numbers::of<oracle>(G, samples);
  const results r = run_on<oracle, G>(e.context, samples, samples, n);
  check_close(r.y, run_all(G, samples, n.x, n.w), 1e-14);
  const auto differences = [&](doubles& values) {
    constexpr double h = 1e-5;
    doubles all;
    for (double& v : values) {
      const double before = v;
      double change = 0;
      for (const double side : {h, -h}) {
        v = before + side;
        const doubles y = run_all(G, samples, n.x, n.w);
        for (std::size_t i = 0; i < y.size(); ++i) change += y[i] * n.dy[i] / (2 * side);
      }
      v = before;
      all.push_back(change);
    }
    return all;
  };
  check_close(r.dx, differences(n.x), 1e-8);
  check_close(r.dw, differences(n.w), 1e-8);
}

/// A pass that begins with given states, against the loops and, for the gradients, their central differences.
template <class B, ls::recurrent_geometry G>
void check_given(std::int64_t samples) {
  CAPTURE(B::name, static_cast<int>(G.cell), G.steps, G.hidden);
  entered<B> e;
  numbers n = numbers::of<B>(G, samples);
  const doubles before = held<B>(uniform(samples * G.state_size(), 4));
  typename B::template recurrent<G> layer(e.context, samples);
  array<B> x(n.x), w(n.w), dy(n.dy), states(before);
  array<B> after(filled(samples * G.state_size(), poison));
  array<B> y(filled(samples * G.out_size(), poison));
  array<B> dx(filled(samples * G.in_size(), poison));
  array<B, typename B::value_type> dw(filled(G.direction_size(), poison));
  layer.forward(e.context, x.data(), w.data(), y.data(), states.data(), after.data());
  layer.backward(e.context, x.data(), dy.data(), w.data(), dx.data(), dw.data(), false);
  const double eps = tolerance<typename B::value_type>(G.in + G.hidden + 8 * G.steps);
  doubles last = before;
  check_close(y.read(), run_all(G, samples, n.x, n.w, &last), eps);
  check_close(after.read(), last, eps);
  check_close(states.read(), before, 0);
  const auto differences = [&](doubles& values) {
    constexpr double h = 1e-5;
    doubles all;
    for (double& v : values) {
      const double here = v;
      double change = 0;
      for (const double side : {h, -h}) {
        v = here + side;
        doubles given = before;
        const doubles outputs = run_all(G, samples, n.x, n.w, &given);
        for (std::size_t i = 0; i < outputs.size(); ++i) change += outputs[i] * n.dy[i] / (2 * side);
      }
      v = here;
      all.push_back(change);
    }
    return all;
  };
  check_close(dx.read(), differences(n.x), 8 * eps + 1e-8);
  check_close(dw.read(), differences(n.w), 8 * eps * static_cast<double>(samples) + 1e-8);
  // Onto themselves, and then from zeros once more.
  layer.forward(e.context, x.data(), w.data(), y.data(), states.data(), states.data());
  check_close(states.read(), after.read(), 0);
  layer.forward(e.context, x.data(), w.data(), y.data());
  layer.backward(e.context, x.data(), dy.data(), w.data(), dx.data(), dw.data(), false);
  check_close(dw.read(), run_on<B, G>(e.context, samples, samples, n).dw, 0);
}

constexpr ls::recurrent_geometry small(recurrent_cell cell, std::int64_t directions, bool bias, bool last) {
  return {.cell = cell, .steps = 4, .in = 3, .hidden = 5, .directions = directions, .bias = bias, .last_state = last};
}

// Vectors of units and units after them; one panel of the backward product, and more.
template <class B, recurrent_cell Cell>
void check_cell() {
  STATIC_REQUIRE(ls::runs_recurrences<B>);
  constexpr auto of = [](std::int64_t steps, std::int64_t in, std::int64_t hidden, std::int64_t directions) {
    return ls::recurrent_geometry{.cell = Cell, .steps = steps, .in = in, .hidden = hidden, .directions = directions};
  };
  check<B, of(1, 1, 1, 1)>(1);
  check<B, of(3, 2, 8, 1)>(1);
  check<B, of(6, 5, 19, 1)>(7, 9);
  check<B, of(5, 3, 40, 2)>(13, 20);
  check<B, small(Cell, 2, false, true)>(3);
  check<B, small(Cell, 1, true, true)>(2);
  check_given<B, of(3, 2, 9, 1)>(3);
}

TEST_CASE("the definition of recurrent layers", "[recurrent]") {
  check_definition<small(recurrent_cell::lstm, 1, true, false)>(2);
  check_definition<small(recurrent_cell::lstm, 2, false, true)>(2);
  check_definition<small(recurrent_cell::gru, 1, true, false)>(2);
  check_definition<small(recurrent_cell::gru, 2, false, true)>(2);
  check_definition<small(recurrent_cell::tanh, 2, true, false)>(2);
  check_definition<small(recurrent_cell::relu, 1, true, true)>(2);
}

TEMPLATE_LIST_TEST_CASE("long short-term memory", "[recurrent]", backends) {
  check_cell<TestType, recurrent_cell::lstm>();
}
TEMPLATE_LIST_TEST_CASE("gated recurrent units", "[recurrent]", backends) {
  check_cell<TestType, recurrent_cell::gru>();
}
TEMPLATE_LIST_TEST_CASE("plain recurrences", "[recurrent]", backends) {
  check_cell<TestType, recurrent_cell::tanh>();
  check_cell<TestType, recurrent_cell::relu>();
}

}  // namespace recurrent_test
