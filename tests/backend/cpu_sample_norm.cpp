// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/core/static_for.hpp>

#include "backend/support.hpp"
#include "support/catch.hpp"

/// \file
/// The CPU's normalisation of samples against loops in long double: rows, runs of pixels, and channels-last pictures,
/// in numbers that fill wide vectors, narrow ones, and none.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using floats = std::vector<float>;
using ls::sample_norm_geometry;

constexpr double epsilon = 1e-5;

/// Where the elements of a group lie in all samples, by an arithmetic of its own.
template <class F>
void each_element(const sample_norm_geometry& g, std::int64_t sample, std::int64_t group, const F& f) {
  const std::int64_t per_group = g.layout.channels / g.groups;
  for (std::int64_t i = 0; i < per_group * g.layout.pixels; ++i) {
    const std::int64_t channel = group * per_group + i / g.layout.pixels;
    const std::int64_t pixel = i % g.layout.pixels;
    const std::int64_t within =
        g.layout.channels_last ? pixel * g.layout.channels + channel : channel * g.layout.pixels + pixel;
    f(static_cast<std::size_t>(sample * g.layout.channels * g.layout.pixels + within),
      static_cast<std::size_t>(channel));
  }
}

struct results {
  doubles y, dx, dw, db;
  double largest = 0;  ///< magnitude of the terms of dx, which may cancel: rows of one or two elements have no gradient
};

/// Textbook formulas. The gradient is that of sum(dy y), by the chain rule through mean and deviation.
results expected(const sample_norm_geometry& g, std::int64_t samples, const floats& x, const floats& w, const floats& b,
                 const floats& dy) {
  using real = long double;
  results r{filled(static_cast<std::int64_t>(x.size()), 0), filled(static_cast<std::int64_t>(x.size()), 0), {}, {}, 0};
  std::vector<real> dw(static_cast<std::size_t>(g.layout.channels));
  std::vector<real> db(dw.size());
  const auto n = static_cast<real>(g.layout.channels / g.groups * g.layout.pixels);
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t group = 0; group < g.groups; ++group) {
      const auto each = [&](const auto& f) { each_element(g, s, group, f); };
      const auto factor = [&](std::size_t c) { return g.weight ? static_cast<real>(w[c]) : real{1}; };
      real mean = 0;
      if (g.centred) each([&](std::size_t i, std::size_t) { mean += static_cast<real>(x[i]) / n; });
      real variance = 0;
      each([&](std::size_t i, std::size_t) { variance += (x[i] - mean) * (x[i] - mean) / n; });
      const real deviation = std::sqrt(variance + static_cast<real>(epsilon));
      real of_mean = 0;
      real of_variance = 0;
      each([&](std::size_t i, std::size_t c) {
        const real h = (x[i] - mean) / deviation;
        const real value = h * factor(c) + (g.bias ? static_cast<real>(b[c]) : real{0});
        r.y[i] = static_cast<double>(g.relu && value < 0 ? real{0} : value);
        dw[c] += dy[i] * h;
        db[c] += dy[i];
        of_mean -= dy[i] * factor(c) / deviation;
        of_variance -= dy[i] * factor(c) * (x[i] - mean) / (2 * deviation * deviation * deviation);
      });
      each([&](std::size_t i, std::size_t c) {
        const real through_mean = g.centred ? of_mean / n : real{0};
        r.largest = std::max(r.largest, static_cast<double>(std::abs(dy[i] * factor(c) / deviation)));
        r.dx[i] =
            static_cast<double>(dy[i] * factor(c) / deviation + through_mean + of_variance * 2 * (x[i] - mean) / n);
      });
    }
  r.dw.assign(dw.begin(), dw.end());
  r.db.assign(db.begin(), db.end());
  return r;
}

floats as_floats(const doubles& values) { return {values.begin(), values.end()}; }

struct input {
  const char* name;
  double mean, deviation, tolerance;
};
// What float knows of numbers around 1000 that lie 1 apart.
constexpr input around_zero{"around zero", 0.25, 1, 2e-6};
constexpr input far_from_zero{"far from zero", 1000, 1, 2e-6};

template <sample_norm_geometry G>
void check(const input& of, std::int64_t samples, bool in_place) {
  const std::string name = std::to_string(G.layout.channels) + " channels of " + std::to_string(G.layout.pixels) +
                           (G.layout.channels_last ? " last" : "") + " in " + std::to_string(G.groups) + " groups, " +
                           of.name;
  INFO(name);
  const std::int64_t size = G.layout.channels * G.layout.pixels;
  const std::int64_t n = samples * size;
  floats x = as_floats(uniform(n, 1));
  for (float& v : x) v = static_cast<float>(of.mean + of.deviation * double{v});
  const floats w = as_floats(uniform(G.layout.channels, 2));
  const floats b = as_floats(uniform(G.layout.channels, 3));
  const floats dy = as_floats(uniform(n, 4));
  const results want = expected(G, samples, x, w, b, dy);

  ls::cpu::context context{ls::replica_place{}};
  // Prepared for more samples than come.
  ls::cpu::sample_norm<G> norm(context, samples + 3, epsilon);
  norm.set_samples(samples);
  const float* const weight = G.weight ? w.data() : nullptr;
  floats y(x.size(), 77.F);
  norm.forward(context, x.data(), weight, G.bias ? b.data() : nullptr, y.data());
  CHECK(largest_difference(y, want.y) <= of.tolerance * 4);

  for (const bool accumulate : {false, true}) {
    floats dx = in_place ? dy : floats(x.size(), 77.F);
    floats dw(w.size(), accumulate ? 3.F : std::numeric_limits<float>::quiet_NaN());
    floats db = dw;
    norm.backward(context, x.data(), in_place ? dx.data() : dy.data(), weight, G.input_gradient ? dx.data() : nullptr,
                  G.weight && G.parameter_gradient ? dw.data() : nullptr,
                  G.bias && G.parameter_gradient ? db.data() : nullptr, accumulate);
    if (G.input_gradient) CHECK(largest_difference(dx, want.dx) <= of.tolerance * want.largest);
    const auto check_sums = [&](const floats& given, doubles sums) {
      for (double& v : sums) v += accumulate ? 3 : 0;
      CHECK(largest_difference(given, sums) <= of.tolerance * std::max(4.0, largest_magnitude(sums)));
    };
    if (G.weight && G.parameter_gradient) check_sums(dw, want.dw);
    if (G.bias && G.parameter_gradient) check_sums(db, want.db);
  }
}

template <sample_norm_geometry G>
void check_kinds() {
  check<G>(around_zero, 7, false);
  check<G>(far_from_zero, 2, true);
  constexpr auto with = [](auto change) {
    sample_norm_geometry g = G;
    change(g);
    return g;
  };
  check<with([](auto& g) { g.centred = g.bias = false; })>(around_zero, 5, true);
  check<with([](auto& g) { g.weight = g.bias = g.parameter_gradient = false; })>(around_zero, 3, false);
  check<with([](auto& g) { g.bias = g.input_gradient = false; })>(around_zero, 3, false);
  check<with([](auto& g) { g.relu = true, g.parameter_gradient = false; })>(around_zero, 1, false);
}

constexpr std::int64_t counts[] = {1, 2, 3, 4, 7, 8, 12, 16, 19, 31, 32, 33, 48, 63, 64, 65, 100};

/// The first sample's results of rows by vectors of eight.
struct narrow_rows {
  static constexpr sample_norm_geometry kind{};
  static constexpr std::int64_t rows = 3;

  static void check(std::int64_t n) {
    INFO(n << " elements");
    const floats x = as_floats(uniform(rows * n, 1));
    const floats w = as_floats(uniform(n, 2));
    const floats b = as_floats(uniform(n, 3));
    const floats dy = as_floats(uniform(rows * n, 4));
    const results want = expected({.layout = {.channels = n}}, rows, x, w, b, dy);
    std::vector<ls::cpu_backend::row_norm::statistics> statistics(rows);
    floats y(x.size(), 77.F);
    floats dx = y;
    floats dw(w.size());
    floats db = dw;
    ls::cpu_backend::run_for<ls::cpu_backend::float_x8, ls::cpu_backend::row_norm::forward_kernel<kind>>(
        rows, n, n, epsilon, x.data(), w.data(), b.data(), statistics.data(), y.data());
    ls::cpu_backend::run_for<ls::cpu_backend::float_x8, ls::cpu_backend::row_norm::backward_kernel<kind>>(
        rows, n, n, x.data(), dy.data(), w.data(), statistics.data(), dx.data(), dw.data(), db.data());
    CHECK(largest_difference(y, want.y) <= 8e-6);
    CHECK(largest_difference(dx, want.dx) <= 2e-6 * want.largest);
    CHECK(largest_difference(dw, want.dw) <= 8e-6);
    CHECK(largest_difference(db, want.db) <= 8e-6);
  }
};

template <sample_norm_geometry G>
floats normalised(const floats& x, std::int64_t samples) {
  ls::cpu::context context{ls::replica_place{}};
  ls::cpu::sample_norm<G> norm(context, samples, epsilon);
  const floats ones(static_cast<std::size_t>(G.layout.channels), 1.F);
  const floats zeros(ones.size(), 0.F);
  floats y(x.size(), 77.F);
  norm.forward(context, x.data(), ones.data(), zeros.data(), y.data());
  return y;
}

constexpr sample_norm_geometry row{.layout = {.channels = 100}};
constexpr sample_norm_geometry grouped_row{.layout = {.channels = 100}, .groups = 4};
constexpr sample_norm_geometry plain{.layout = {.channels = 10, .pixels = 33}, .groups = 2};
constexpr sample_norm_geometry last{.layout = {.channels = 16, .pixels = 33, .channels_last = true}, .groups = 4};
constexpr sample_norm_geometry odd_last{.layout = {.channels = 10, .pixels = 33, .channels_last = true}, .groups = 2};

template <class F>
void each_layout(const F& f) {
  f.template operator()<row>();
  f.template operator()<grouped_row>();
  f.template operator()<plain>();
  f.template operator()<last>();
  f.template operator()<odd_last>();
}

}  // namespace

TEST_CASE("rows of any length are normalised", "[sample_norm]") {
  ls::detail::static_for<std::size(counts)>([&]<std::size_t Index>() {
    check<sample_norm_geometry{.layout = {.channels = counts[Index]}}>(around_zero, 7, false);
    check<sample_norm_geometry{.layout = {.channels = counts[Index]}, .centred = false, .bias = false}>(around_zero, 5,
                                                                                                        true);
  });
  check_kinds<sample_norm_geometry{.layout = {.channels = 37}}>();
  check_kinds<grouped_row>();
}

TEST_CASE("rows are normalised by narrow vectors too", "[sample_norm]") {
  if (!ls::cpu_backend::has_avx2()) return;
  for (const std::int64_t n : counts) narrow_rows::check(n);
}

TEST_CASE("groups of channels are normalised in either order", "[sample_norm]") {
  check_kinds<plain>();
  check_kinds<last>();
  check_kinds<odd_last>();
  check_kinds<sample_norm_geometry{.layout = {.channels = 24, .pixels = 9, .channels_last = true}, .groups = 1}>();
  check_kinds<sample_norm_geometry{.layout = {.channels = 32, .pixels = 70, .channels_last = true}, .groups = 32}>();
  check_kinds<sample_norm_geometry{.layout = {.channels = 3, .pixels = 130}, .groups = 3}>();
}

TEST_CASE("sums over many rows, and over long ones, stay exact", "[sample_norm]") {
  check<sample_norm_geometry{.layout = {.channels = 24}}>(around_zero, 5000, false);
  check<sample_norm_geometry{.layout = {.channels = 40000}}>(around_zero, 3, false);
  check<sample_norm_geometry{.layout = {.channels = 40000}}>(far_from_zero, 2, false);
  check<sample_norm_geometry{.layout = {.channels = 8, .pixels = 9000, .channels_last = true}, .groups = 2}>(
      around_zero, 3, false);
}

TEST_CASE("equal elements are normalised to zero", "[sample_norm]") {
  each_layout([&]<sample_norm_geometry G>() {
    for (const float value : {0.1F, -12345.678F, 3e30F, 1e-30F}) {
      const floats x(static_cast<std::size_t>(2 * G.layout.size()), value);
      CHECK(normalised<G>(x, 2) == floats(x.size(), 0.F));
    }
  });
}

TEST_CASE("elements whose squares float cannot hold are normalised", "[sample_norm]") {
  each_layout([&]<sample_norm_geometry G>() {
    const floats drawn = as_floats(uniform(2 * G.layout.size(), 9));
    for (const float scale : {1e25F, 1e-15F}) {
      floats x = drawn;
      for (float& v : x) v *= scale;
      const floats ones(static_cast<std::size_t>(G.layout.channels), 1.F);
      const floats zeros(ones.size(), 0.F);
      const results want = expected(G, 2, x, ones, zeros, x);
      CHECK(relative_difference(normalised<G>(x, 2), want.y) <= 2e-6);
    }
  });
}

TEST_CASE("what is no number stays in its group", "[sample_norm]") {
  each_layout([&]<sample_norm_geometry G>() {
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      floats x = as_floats(uniform(2 * G.layout.size(), 9));
      const floats before = normalised<G>(x, 2);
      const auto at = static_cast<std::size_t>(G.layout.size());  // the second sample's first element
      x[at] = value;
      const floats y = normalised<G>(x, 2);
      CHECK(std::isnan(y[at]));
      each_element(G, 0, 0, [&](std::size_t i, std::size_t) { CHECK(y[i] == before[i]); });
      each_element(G, 1, G.groups - 1, [&](std::size_t i, std::size_t) {
        if (G.groups > 1) CHECK(is_close(y[i], before[i], {.absolute = 1e-6}));
      });
    }
  });
}
