// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <lockstep/backend/cuda/bias.hpp>

#include "device.hpp"
#include "device_array.hpp"
#include "support/catch.hpp"

using namespace lockstep_test;
namespace backend = lockstep::cuda_backend;

namespace {

template <class A>
void check_bias_and_relu() {
  backend::context c;
  const auto entered = c.enter();
  for (const std::int64_t columns : {1, 12, 17, 1024})
    for (const std::int64_t rows : {1, 7, 3000})
      for (const std::int64_t shift : {0, 1})
        for (const bool has_bias : {false, true})
          for (const bool relu : {false, true}) {
            CAPTURE(rows, columns, shift, has_bias, relu);
            floats want = held<A>(wave_of(rows * columns, 0.37));
            want.back() = std::numeric_limits<float>::quiet_NaN();
            device_array<A> y(c, want, shift);
            const floats b = held<A>(wave_of(columns, 0.61));
            device_array<A> bias(c, b, 1);
            backend::add_bias_and_relu(c, rows, columns, has_bias ? bias.data() : nullptr, relu, y.data());
            for (std::size_t i = 0; i < want.size(); ++i) {
              if (has_bias) want[i] += b[i % b.size()];
              if (relu && want[i] < 0) want[i] = 0;
            }
            want = held<A>(want);
            const floats got = y.read(c);
            CHECK(std::isnan(got.back()));
            CHECK(std::memcmp(got.data(), want.data(), (want.size() - 1) * sizeof(float)) == 0);
          }
}

template <class A>
void check_column_sums() {
  backend::context c;
  const auto entered = c.enter();
  for (const std::int64_t columns : {1, 10, 33, 128})
    for (const std::int64_t rows : {0, 1, 256, 257, 70000}) {
      CAPTURE(rows, columns);
      const floats x = held<A>(wave_of(rows * columns, 0.53));
      std::vector<double> want(static_cast<std::size_t>(columns));
      for (std::size_t i = 0; i < x.size(); ++i) want[i % want.size()] += double{x[i]};
      device_array<A> px(c, x, 1);
      device_array fresh(c, floats(want.size(), 7.F), 1);
      device_array added(c, floats(want.size(), 0.3F), 1);
      backend::column_sums(c, rows, columns, px.data(), fresh.data(), false);
      backend::column_sums(c, rows, columns, px.data(), added.data(), true);
      const floats sums = fresh.read(c);
      const floats sums_added = added.read(c);
      for (std::size_t k = 0; k < want.size(); ++k) {
        CHECK(static_cast<double>(sums[k]) == Approx(want[k]).margin(1e-6 * static_cast<double>(rows + 1)));
        CHECK(sums_added[k] == 0.3F + sums[k]);  // the complete sum, added once
      }
    }
}

}  // namespace

TEST_CASE("bias and relu in one pass", "[bias]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_bias_and_relu<float>();
  check_bias_and_relu<backend::bfloat16>();
}

TEST_CASE("sums of columns, of any number of rows", "[bias]") {
  LOCKSTEP_NEEDS_DEVICE();
  check_column_sums<float>();
  check_column_sums<backend::bfloat16>();
}
