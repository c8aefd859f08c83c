// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/cpu/narrow_linear.hpp>

#include "backend/support.hpp"

// The CPU backend chooses between kernels at run time; here all that the machine can run do.

namespace {

using namespace lockstep_test;
namespace narrow = lockstep::cpu_backend::narrow;

using floats = array<ls::cpu>;

template <ls::linear_geometry G>
doubles to_panels(const doubles& w) {
  doubles own(w.size(), poison);
  for (std::int64_t o = 0; o < G.out; ++o)
    for (std::int64_t i = 0; i < G.in; ++i)
      own.at(static_cast<std::size_t>(narrow::weight_offset<G>(o, i))) = w[static_cast<std::size_t>(o * G.in + i)];
  return own;
}

template <ls::linear_geometry G>
struct problem {
  explicit problem(std::int64_t samples, bool add)
      : n(samples),
        accumulate(add),
        x(G.mask_input ? rectified(n * G.in, 1) : uniform(n * G.in, 1)),
        w(uniform(G.out * G.in, 2)),
        b(uniform(G.out, 3)),
        dy(uniform(n * G.out, 4)),
        dw(add ? uniform(G.out * G.in, 5) : filled(G.out * G.in, poison)) {}

  std::int64_t n;
  bool accumulate;
  doubles x, w, b, dy, dw;
};

struct outcome {
  doubles y, dx, dw;
};

/// Runs `forward(n, x, w, b, y)` and `backward(n, x, dy, w, dx, dw, accumulate)` on poisoned outputs.
template <ls::linear_geometry G, class Forward, class Backward>
outcome run(const problem<G>& p, const Forward& forward, const Backward& backward) {
  floats x(p.x);
  floats w(to_panels<G>(p.w), 3);
  floats b(p.b, 1);
  floats dy(p.dy);
  floats y(filled(p.n * G.out, poison));
  floats dx(filled(p.n * G.in, poison));
  floats dw(to_panels<G>(p.dw), 5);
  forward(p.n, x.data(), w.data(), G.bias ? b.data() : nullptr, y.data());
  backward(p.n, x.data(), dy.data(), w.data(), G.input_gradient ? dx.data() : nullptr, dw.data(), p.accumulate);
  return {y.read(), dx.read(), dw.read()};
}

template <ls::linear_geometry G>
outcome run_portable(const problem<G>& p) {
  return run<G>(p, narrow::forward_portable<G>, narrow::backward_portable<G>);
}

template <ls::linear_geometry G>
outcome run_exactly(const problem<G>& p) {
  outcome o{doubles(p.dy.size()), filled(p.n * G.in, poison), p.dw};
  doubles db(static_cast<std::size_t>(G.out));
  oracle::context c;
  oracle::linear<G> exact(c, p.n);
  exact.forward(c, p.x.data(), p.w.data(), p.b.data(), o.y.data());
  exact.backward(c, p.x.data(), p.dy.data(), p.w.data(), o.dx.data(), o.dw.data(), db.data(), p.accumulate);
  o.dw = to_panels<G>(o.dw);
  return o;
}

template <ls::linear_geometry G>
void check_same(const outcome& got, const outcome& want, std::int64_t n) {
  check_close(got.y, want.y, tolerance<float>(G.in));
  check_close(got.dx, want.dx, tolerance<float>(G.out));
  check_close(got.dw, want.dw, tolerance<float>(n));
}

template <ls::linear_geometry G>
void check_portable() {
  for (const std::int64_t n : {1, 3, 4, 9})
    for (const bool accumulate : {false, true}) {
      CAPTURE(G.in, G.out, n, accumulate);
      const problem<G> p(n, accumulate);
      check_same<G>(run_portable<G>(p), run_exactly<G>(p), n);
    }
}

template <class V, ls::linear_geometry G>
void check_vectors() {
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 33})
    for (const bool accumulate : {false, true}) {
      CAPTURE(G.in, G.out, n, accumulate);
      const problem<G> p(n, accumulate);
      floats partial(filled(n * narrow::partial_sums<G>, poison));
      const auto forward = [&](std::int64_t samples, const float* x, const float* w, const float* b, float* y) {
        narrow::forward<G, V>(samples, x, w, b, y, partial.data());
      };
      check_same<G>(run<G>(p, forward, narrow::backward<G, V>), run_exactly<G>(p), n);
      CHECK(partial.read().size() == static_cast<std::size_t>(n * narrow::partial_sums<G>));
    }
}

constexpr ls::linear_geometry one{.in = 1, .out = 1, .bias = false};
constexpr ls::linear_geometry short_row{.in = 7, .out = 3, .relu = true};
constexpr ls::linear_geometry first_layer{.in = 10, .out = 10, .input_gradient = false};
constexpr ls::linear_geometry first_of_one{.in = 13, .out = 1, .bias = false, .relu = true, .input_gradient = false};
constexpr ls::linear_geometry first_of_all{.in = 64, .out = 16, .input_gradient = false};
constexpr ls::linear_geometry one_panel{.in = 64, .out = 10, .mask_input = true};
constexpr ls::linear_geometry ragged{.in = 130, .out = 16, .relu = true, .mask_input = true};
constexpr ls::linear_geometry many_panels{.in = 1000, .out = 10, .input_gradient = false};
constexpr ls::linear_geometry far_ahead{.in = 1250, .out = 11, .mask_input = true};

}  // namespace

TEST_CASE("narrow weights lie in panels without a gap") {
  static constexpr ls::linear_geometry g{.in = 130, .out = 2};
  CHECK(narrow::weight_offset<g>(0, 0) == 0);
  CHECK(narrow::weight_offset<g>(1, 0) == 64);
  CHECK(narrow::weight_offset<g>(0, 64) == 128);
  CHECK(narrow::weight_offset<g>(1, 127) == 255);
  CHECK(narrow::weight_offset<g>(0, 128) == 256);
  CHECK(narrow::weight_offset<g>(1, 129) == 259);
}

TEST_CASE("the portable narrow kernels match the oracle") {
  check_portable<one>();
  check_portable<short_row>();
  check_portable<first_layer>();
  check_portable<one_panel>();
  check_portable<ragged>();
  check_portable<many_panels>();
}

TEMPLATE_TEST_CASE("the narrow kernels for vectors match the oracle", "", lockstep::cpu_backend::float_x8,
                   lockstep::cpu_backend::float_x16) {
  if (!lockstep::cpu_backend::has<TestType>()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  check_vectors<TestType, one>();
  check_vectors<TestType, short_row>();
  check_vectors<TestType, first_layer>();
  check_vectors<TestType, first_of_one>();
  check_vectors<TestType, first_of_all>();
  check_vectors<TestType, one_panel>();
  check_vectors<TestType, ragged>();
  check_vectors<TestType, many_panels>();
  check_vectors<TestType, far_ahead>();
}
