// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <lockstep/backend/cuda/masked_gradient.hpp>

#include "device.hpp"
#include "device_array.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

using namespace lockstep_test;
namespace backend = lockstep::cuda_backend;

namespace {

floats with_nan(floats x) {
  x.back() = std::numeric_limits<float>::quiet_NaN();
  return x;
}

template <class A>
void check_definition() {
  backend::context c;
  const auto entered = c.enter();
  for (const std::int64_t in : {1, 4, 10, 128, 516, 1030})
    for (const std::int64_t out : {1, 10, 32})
      for (const std::int64_t samples : {1, 8, 21})
        for (const std::int64_t shift : {0, 1}) {
          CAPTURE(in, out, samples, shift);
          const floats x = with_nan(held<A>(around_zero(samples * in)));
          const floats dy = held<A>(wave_of(samples * out, 0.37));
          const floats w = held<A>(wave_of(out * in, 0.53));
          device_array<A> px(c, x);
          device_array<A> pdy(c, dy, 1);
          device_array<A> pw(c, w, shift);
          device_array<A> pdx(c, floats(x.size(), 7.F));
          backend::masked_input_gradient(c, samples, in, out, pdy.data(), pw.data(), px.data(), pdx.data());
          backend::masked_input_gradient(c, samples, in, out, pdy.data(), pw.data(), px.data(), px.data());
          const floats got = pdx.read(c);
          CHECK(px.read(c) == got);  // in place
          double worst = 0;
          for (std::int64_t i = 0; i < samples * in; ++i) {
            const auto at = static_cast<std::size_t>(i);
            double want = 0;
            for (std::int64_t o = 0; o < out; ++o)
              want += double{dy[static_cast<std::size_t>(i / in * out + o)]} *
                      double{w[static_cast<std::size_t>(o * in + i % in)]};
            if (x[at] <= 0) want = 0;  // not where it is NaN
            worst = std::max(worst, excess_of(static_cast<double>(got[at]), want, of_rounding<A>));
          }
          CHECK(worst <= 1e-6 * static_cast<double>(out));
        }
}

template <class A>
void check_bits() {
  backend::context c;
  const auto entered = c.enter();
  constexpr std::int64_t in = 64, out = 10, samples = 12;
  const floats x = with_nan(held<A>(around_zero(samples * in)));
  device_array<A> px(c, x);
  device_array<A> pdy(c, wave_of(samples * out, 0.37));
  device_array<A> pw(c, wave_of(out * in, 0.53));
  device_array<A> all(c, floats(x.size()));
  device_array<A> shifted(c, floats(x.size()), 1);
  device_array<A> parts(c, floats(x.size()));
  backend::masked_input_gradient(c, samples, in, out, pdy.data(), pw.data(), px.data(), all.data());
  backend::masked_input_gradient(c, samples, in, out, pdy.data(), pw.data(), px.data(), shifted.data());
  for (const std::int64_t first : {0, 3}) {
    const std::int64_t count = first == 0 ? 3 : samples - first;
    backend::masked_input_gradient(c, count, in, out, pdy.data() + first * out, pw.data(), px.data() + first * in,
                                   parts.data() + first * in);
  }
  const floats want = all.read(c);
  CHECK(shifted.read(c) == want);
  CHECK(parts.read(c) == want);
}

}  // namespace

TEST_CASE("the gradient of an input behind a relu, in one pass", "[masked_gradient]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_definition<float>();
  check_definition<backend::bfloat16>();
}

TEST_CASE("a masked gradient has the same bits wherever its operands and its samples lie", "[masked_gradient]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_bits<float>();
  check_bits<backend::bfloat16>();
}
