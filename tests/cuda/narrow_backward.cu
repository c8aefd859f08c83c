// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/backend/cuda/narrow_backward.hpp>

#include "device.hpp"
#include "device_array.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

using namespace lockstep_test;
namespace ls = lockstep;
namespace backend = ls::cuda_backend;

namespace {

/// How far the two gradients are from their definition, at most.
struct distance {
  double input = 0;
  double weights = 0;
};

template <class A>
distance distance_from_definition(std::int64_t samples, std::int64_t in, std::int64_t out, const floats& dy,
                                  const floats& w, const floats& x, const floats& before, const floats& dx,
                                  const floats& dw) {
  const auto at = [](const floats& values, std::int64_t i) {
    return static_cast<double>(values[static_cast<std::size_t>(i)]);
  };
  distance worst;
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t i = 0; i < in; ++i) {
      double want = 0;
      for (std::int64_t o = 0; o < out; ++o) want += at(dy, s * out + o) * at(w, o * in + i);
      if (at(x, s * in + i) <= 0) want = 0;
      worst.input = std::max(worst.input, excess_of(at(dx, s * in + i), want, of_rounding<A>));
    }
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i) {
      double want = at(before, o * in + i);
      for (std::int64_t s = 0; s < samples; ++s) want += at(dy, s * out + o) * at(x, s * in + i);
      worst.weights = std::max(worst.weights, difference_of(at(dw, o * in + i), want));
    }
  return worst;
}

template <class A>
void check_definition() {
  backend::context c;
  const auto entered = c.enter();
  for (const std::int64_t in : {1, 4, 10, 516})
    for (const std::int64_t out : {1, 4, 7, 10, 16})
      for (const std::int64_t samples : {1, 7, 300})
        for (const std::int64_t shift : {0, 1})
          for (const bool accumulate : {false, true}) {
            CAPTURE(in, out, samples, shift, accumulate);
            const floats x = held<A>(around_zero(samples * in));
            const floats dy = held<A>(wave_of(samples * out, 0.37));
            const floats w = held<A>(wave_of(out * in, 0.53));
            const floats before = accumulate ? wave_of(out * in, 0.91) : floats(w.size());
            device_array<A> px(c, x);
            device_array<A> pdy(c, dy, 1);
            device_array<A> pw(c, w, shift);
            device_array<A> pdx(c, floats(x.size(), 7.F));
            device_array pdw(c, accumulate ? before : floats(w.size(), std::numeric_limits<float>::quiet_NaN()), 1);
            backend::narrow_backward(c, samples, in, out, pdy.data(), pw.data(), px.data(), pdx.data(), pdw.data(),
                                     accumulate);
            CHECK(px.read(c) == x);
            const auto worst =
                distance_from_definition<A>(samples, in, out, dy, w, x, before, pdx.read(c), pdw.read(c));
            CHECK(worst.input <= 1e-6 * static_cast<double>(out));
            CHECK(worst.weights <= 1e-6 * static_cast<double>(samples + 1));
            // In place.
            backend::narrow_backward(c, samples, in, out, pdy.data(), pw.data(), px.data(), px.data(), pdw.data(),
                                     false);
            CHECK(px.read(c) == pdx.read(c));
          }
}

template <class B>
void check_large_input() {
  using A = typename B::activation_type;
  constexpr ls::linear_geometry large{.in = 65536, .out = 2, .mask_input = true};
  constexpr std::int64_t samples = 512 / sizeof(A);
  STATIC_REQUIRE(backend::takes_narrow_backward<A>(large, samples));
  STATIC_REQUIRE_FALSE(backend::takes_narrow_backward<A>(large, samples - 1));
  backend::context c;
  const auto entered = c.enter();
  const floats x = held<A>(around_zero(samples * large.in));
  const floats dy = held<A>(wave_of(samples * large.out, 0.37));
  const floats w = held<A>(wave_of(large.out * large.in, 0.53));
  typename B::template linear<large> layer(c, samples);
  floats first_dx, first_dw;
  for (const std::int64_t shift : {0, 1}) {
    device_array<A> px(c, x, shift);
    device_array<A> pdy(c, dy, shift);
    device_array<A> pw(c, w, shift);
    device_array pdw(c, w);
    device_array pdb(c, floats(2));
    layer.backward(c, px.data(), pdy.data(), pw.data(), px.data(), pdw.data(), pdb.data(), false);
    const floats db = pdb.read(c);
    for (std::size_t o = 0; o < 2; ++o) {
      double want = 0;
      for (std::size_t s = 0; s < samples; ++s) want += static_cast<double>(dy[2 * s + o]);
      CHECK(static_cast<double>(db[o]) == Approx(want).margin(1e-5));
    }
    const floats dx = px.read(c);
    const floats dw = pdw.read(c);
    if (shift == 0) {
      first_dx = dx;
      first_dw = dw;
      const auto worst = distance_from_definition<A>(samples, large.in, large.out, dy, w, x, floats(w.size()), dx, dw);
      CHECK(worst.input <= 1e-6 * large.out);
      CHECK(worst.weights <= 1e-6 * samples);
    } else {
      CHECK((dx == first_dx));
      CHECK((dw == first_dw));
    }
  }
}

}  // namespace

TEST_CASE("both gradients of a narrow layer in one pass", "[narrow_backward]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_definition<float>();
  check_definition<backend::bfloat16>();
}

TEST_CASE("a layer with a large input takes both gradients in one pass, to the same bits wherever it lies",
          "[narrow_backward]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_large_input<ls::cuda>();
  check_large_input<ls::cuda_bf16>();
}
