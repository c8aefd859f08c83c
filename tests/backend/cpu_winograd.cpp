// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include <lockstep/backend/convolution_algorithm.hpp>
#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/cpu/winograd/picture_map.hpp>
#include <lockstep/backend/cpu/winograd/transforms.hpp>
#include <lockstep/backend/cpu/winograd/weight_gradient.hpp>

#include "backend/convolution_check.hpp"

namespace {

using namespace lockstep_test;
namespace cpu = ls::cpu_backend;
namespace winograd = cpu::winograd;

using f2_backend = ls::cpu::convolving<ls::convolution_algorithm::f2>;
using direct_backend = ls::cpu::convolving<ls::convolution_algorithm::direct>;

constexpr ls::convolution_geometry square(std::int64_t in, std::int64_t out, ls::extent2 picture,
                                          ls::extent2 padding = {1}) {
  return {.in_channels = in, .in = picture, .out_channels = out, .kernel = 3, .padding = padding};
}

constexpr ls::convolution_geometry with_relu(ls::convolution_geometry g) {
  g.relu = true;
  return g;
}

template <class Tiles, class Vector>
struct kernels {
  using tiles = Tiles;
  using vector = Vector;
};
using all_kernels = std::tuple<kernels<winograd::f2, cpu::float_x8>, kernels<winograd::f2, cpu::float_x16>,
                               kernels<winograd::f4, cpu::float_x8>, kernels<winograd::f4, cpu::float_x16>>;

/// The largest difference, as a part of the largest of what is wanted.
double largest_error(const doubles& got, const doubles& want) {
  REQUIRE(got.size() == want.size());
  double error = 0;
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(got[i] - want[i]);
    error = difference <= error ? error : difference;  // keeps a NaN
    largest = std::max(largest, std::abs(want[i]));
  }
  return error / largest;
}

doubles floats(const ls::aligned_buffer<float>& from) { return {from.data(), from.data() + from.size()}; }

void copy(const doubles& from, ls::aligned_buffer<float>& to) {
  std::transform(from.begin(), from.end(), to.data(), [](double v) { return static_cast<float>(v); });
}

/// Both classes by vectors of one width, in buffers that end where they may be touched, against the oracle.
template <class F, class V, ls::convolution_geometry G>
void check_kernels(std::int64_t n) {
  CAPTURE(G.in_channels, G.in.height, G.in.width, G.out_channels, G.padding.height, G.padding.width, n);
  const ls::dims in{G.in_channels, G.in.height, G.in.width};
  const ls::dims out{G.out_channels, G.out().height, G.out().width};
  const doubles x = uniform(n * G.in_size(), 1), w = uniform(G.weight_size(), 2), b = uniform(G.out_channels, 3);
  const doubles dy = uniform(n * G.out_size(), 4), dw = uniform(G.weight_size(), 5), db = uniform(G.out_channels, 6);
  oracle::context oc;
  oracle::convolution<G> exact(oc, n);
  doubles want_y(dy.size()), want_dx(x.size()), want_dw = dw, want_db = db;
  exact.forward(oc, x.data(), w.data(), b.data(), want_y.data());
  exact.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), true);

  using order = cpu::convolution<square(16, 16, 8)>;  // any that has weights by taps
  static_assert(order::weight_offset(1, 0, 0, 0) == 1);
  const auto position = [](std::int64_t o, std::int64_t i, std::int64_t tap) {
    return static_cast<std::size_t>((tap * G.in_channels + i) * G.out_channels + o);
  };
  const auto by_taps = [&](const doubles& from) {
    doubles to(from.size());
    std::size_t index = 0;
    for (std::int64_t o = 0; o < G.out_channels; ++o)
      for (std::int64_t i = 0; i < G.in_channels; ++i)
        for (std::int64_t tap = 0; tap < 9; ++tap) to[position(o, i, tap)] = from[index++];
    return to;
  };

  ls::aligned_buffer<float> fx(n * G.in_size()), fw(G.weight_size()), fb(G.out_channels), fy(n * G.out_size());
  copy(to_backend<ls::cpu>(x, n, in), fx);
  copy(by_taps(w), fw);
  copy(b, fb);
  {
    winograd::picture_map<F> forward(G.in_channels, G.in, G.out_channels, G.out(), G.padding);
    ls::aligned_buffer<float> workspace(forward.workspace_size());
    forward.template take<V>(fw.data());
    std::fill_n(fy.data(), fy.size(), static_cast<float>(poison));
    forward.template run<V>(workspace.data(), n, fx.data(), fb.data(), G.relu, fy.data());
    CHECK(largest_error(from_backend<ls::cpu>(floats(fy), n, out), want_y) < 3e-6);
  }
  copy(to_backend<ls::cpu>(dy, n, out), fy);
  {
    winograd::picture_map<F> back(G.out_channels, G.out(), G.in_channels, G.in,
                                  ls::extent2{2 - G.padding.height, 2 - G.padding.width});
    ls::aligned_buffer<float> turned(G.weight_size()), workspace(back.workspace_size()), fdx(n * G.in_size());
    winograd::turn_weights(G.in_channels, G.out_channels, fw.data(), turned.data());
    back.template take<V>(turned.data());
    std::fill_n(fdx.data(), fdx.size(), static_cast<float>(poison));
    back.template run<V>(workspace.data(), n, fy.data(), nullptr, false, fdx.data());
    CHECK(largest_error(from_backend<ls::cpu>(floats(fdx), n, in), want_dx) < 3e-6);
  }
  winograd::weight_gradient<F> gradient(G, n);
  ls::aligned_buffer<float> workspace(gradient.workspace_size()), fdw(G.weight_size()), fdb(G.out_channels);
  copy(by_taps(dw), fdw);
  copy(db, fdb);
  gradient.template run<V>(workspace.data(), n, fx.data(), fy.data(), fdw.data(), fdb.data(), true);
  CHECK(largest_error(floats(fdw), by_taps(want_dw)) < 3e-6);
  CHECK(largest_error(floats(fdb), want_db) < 1e-6);

  // Fewer samples than it was made for, without a bias, over what was there.
  gradient.template run<V>(workspace.data(), 1, fx.data(), fy.data(), fdw.data(), nullptr, false);
  oracle::convolution<G> first(oc, 1);
  first.backward(oc, x.data(), dy.data(), w.data(), want_dx.data(), want_dw.data(), want_db.data(), false);
  CHECK(largest_error(floats(fdw), by_taps(want_dw)) < 3e-6);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("Winograd's algorithm by vectors of each width matches the oracle", "[cpu][convolution]",
                        all_kernels) {
  using F = typename TestType::tiles;
  using V = typename TestType::vector;
  if (!cpu::has<V>()) LOCKSTEP_SKIP("this machine has no vectors of this width");
  check_kernels<F, V, square(16, 16, 8)>(2);
  check_kernels<F, V, square(32, 48, {9, 6})>(3);
  check_kernels<F, V, square(48, 32, {5, 12}, {0, 2})>(2);
  check_kernels<F, V, square(80, 16, {4, 7}, {2, 0})>(3);  // more than a slice of inputs
  check_kernels<F, V, with_relu(square(16, 96, 4))>(5);    // one tile of 4 x 4
  check_kernels<F, V, square(16, 32, 32)>(2);              // more tiles than are transformed at once
}

TEST_CASE("convolutions by each algorithm match the oracle", "[cpu][convolution]") {
  const auto check_all = []<class B>(std::type_identity<B>) {
    entered<B> e;
    for (const std::int64_t n : {1, 3, 13})
      for (const bool accumulate : {false, true}) {
        check_convolution<B, with_relu(square(16, 32, {8, 7}))>(e.context, n, accumulate);
        check_convolution<B, square(32, 16, {4, 12}, {1, 0})>(e.context, n, accumulate);
      }
  };
  check_all(std::type_identity<ls::cpu>{});
  check_all(std::type_identity<f2_backend>{});
  check_all(std::type_identity<direct_backend>{});
}

TEST_CASE("Winograd's algorithm is chosen where it saves multiplications", "[cpu][convolution]") {
  using winograd::f2, winograd::f4, winograd::fits;
  STATIC_REQUIRE(fits<f4>(square(64, 64, 32)));
  STATIC_REQUIRE(fits<f4>(square(512, 512, 4)));
  STATIC_REQUIRE_FALSE(fits<f4>(square(512, 512, 2)));  // three quarters of each tile lie outside
  STATIC_REQUIRE(fits<f2>(square(512, 512, 2)));
  STATIC_REQUIRE_FALSE(fits<f2>(square(512, 512, 1)));
  STATIC_REQUIRE_FALSE(fits<f4>(square(3, 64, 32)));
  STATIC_REQUIRE_FALSE(fits<f4>(square(64, 10, 32)));
  constexpr auto changed = [](auto change) {
    ls::convolution_geometry g = square(64, 64, 32);
    change(g);
    return fits<f4>(g);
  };
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.stride = 2; }));
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.dilation = 2; }));
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.groups = 2; }));
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.padding = 3; }));
  STATIC_REQUIRE_FALSE(changed([](auto& g) { g.kernel = {3, 1}; }));
}

TEST_CASE("several threads of oneDNN and few tiles leave Winograd's algorithm out", "[cpu][convolution]") {
  constexpr auto g = square(16, 32, 8);  // 4 tiles in a picture
  const doubles x = uniform(4 * g.in_size(), 1), w = uniform(g.weight_size(), 2), b = uniform(g.out_channels, 3);
  const auto outputs = [&]<class B>(std::type_identity<B>, int threads, std::int64_t n) {
    typename B::context c(threads);
    const auto entered = c.enter();
    typename B::template convolution<g> op(c, n);
    array<ls::cpu> px(doubles(x.begin(), x.begin() + n * g.in_size())), pb(b);
    array<ls::cpu> pw(to_physical<typename B::template convolution<g>>(w, g)), py(filled(n * g.out_size(), poison));
    op.forward(c, px.data(), pw.data(), pb.data(), py.data());
    return py.read();
  };
  const std::type_identity<ls::cpu> winograd{};
  const std::type_identity<direct_backend> direct{};
  CHECK(outputs(winograd, 2, 4) == outputs(direct, 2, 4));
  CHECK(outputs(winograd, 1, 2) == outputs(direct, 1, 2));
  CHECK(outputs(winograd, 1, 3) != outputs(direct, 1, 3));
}

TEST_CASE("transformed weights are those that were loaded last", "[cpu][convolution]") {
  constexpr auto g = square(16, 16, 8);
  ls::cpu::context c;
  const auto entered = c.enter();
  ls::cpu::convolution<g> op(c, 4);
  const doubles x = uniform(4 * g.in_size(), 1), b = uniform(g.out_channels, 3);
  const doubles first = uniform(g.weight_size(), 2), second = uniform(g.weight_size(), 4);
  array<ls::cpu> px(x), pw(first), pb(b), py(x), pdx(x), pdw(first), pdb(b);
  const auto pass = [&] {
    op.forward(c, px.data(), pw.data(), pb.data(), py.data());
    op.backward(c, px.data(), px.data(), pw.data(), pdx.data(), pdw.data(), pdb.data(), false);
    return std::pair{py.read(), pdx.read()};
  };
  const auto with_first = pass();
  pw.write(second);
  const auto with_second = pass();  // no load was announced: weights are read in every pass
  CHECK(with_second.first != with_first.first);
  CHECK(with_second.second != with_first.second);

  c.loaded();
  CHECK(pass() == with_second);
  pw.write(first);
  CHECK(pass() == with_second);  // not loaded
  c.loaded();
  CHECK(pass() == with_first);

  array<ls::cpu> elsewhere(second);
  op.forward(c, px.data(), elsewhere.data(), pb.data(), py.data());
  CHECK(py.read() == with_second.first);
}
