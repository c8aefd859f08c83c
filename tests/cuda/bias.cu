// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <lockstep/backend/cuda/bias.hpp>
#include <lockstep/backend/cuda/transfer.hpp>

#include "device.hpp"
#include "support/catch.hpp"

namespace {

namespace backend = lockstep::cuda_backend;
using floats = std::vector<float>;

floats wave(std::int64_t n, double step) {
  floats all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(std::sin(static_cast<double>(i) * step));
  return all;
}

/// Elements on the device, `shift` of them behind an aligned address.
class array {
 public:
  array(backend::context& c, const floats& values, std::int64_t shift = 0)
      : size_(static_cast<std::int64_t>(values.size())),
        shift_(shift),
        buffer_(backend::allocate<float>(c, size_ + shift)) {
    backend::copy(c, size_, values.data(), data());
    c.finish();
  }

  [[nodiscard]] float* data() { return buffer_.data() + shift_; }

  [[nodiscard]] floats read(backend::context& c) {
    floats values(static_cast<std::size_t>(size_));
    backend::copy<float>(c, size_, data(), values.data());
    c.finish();
    return values;
  }

 private:
  std::int64_t size_;
  std::int64_t shift_;
  backend::buffer<float> buffer_;
};

}  // namespace

TEST_CASE("bias and relu in one pass", "[bias]") {
  LOCKSTEP_NEEDS_DEVICE();
  backend::context c;
  const auto entered = c.enter();
  for (const std::int64_t columns : {1, 12, 17, 1024})
    for (const std::int64_t rows : {1, 7, 3000})
      for (const std::int64_t shift : {0, 1})
        for (const bool has_bias : {false, true})
          for (const bool relu : {false, true}) {
            CAPTURE(rows, columns, shift, has_bias, relu);
            floats want = wave(rows * columns, 0.37);
            want.back() = std::numeric_limits<float>::quiet_NaN();
            array y(c, want, shift);
            const floats b = wave(columns, 0.61);
            array bias(c, b, 1);
            backend::add_bias_and_relu(c, rows, columns, has_bias ? bias.data() : nullptr, relu, y.data());
            for (std::size_t i = 0; i < want.size(); ++i) {
              if (has_bias) want[i] += b[i % b.size()];
              if (relu && want[i] < 0) want[i] = 0;
            }
            const floats got = y.read(c);
            CHECK(std::isnan(got.back()));
            CHECK(std::memcmp(got.data(), want.data(), (want.size() - 1) * sizeof(float)) == 0);
          }
}

TEST_CASE("sums of columns, of any number of rows", "[bias]") {
  LOCKSTEP_NEEDS_DEVICE();
  backend::context c;
  const auto entered = c.enter();
  for (const std::int64_t columns : {1, 10, 33, 128})
    for (const std::int64_t rows : {0, 1, 256, 257, 70000}) {
      CAPTURE(rows, columns);
      const floats x = wave(rows * columns, 0.53);
      std::vector<double> want(static_cast<std::size_t>(columns));
      for (std::size_t i = 0; i < x.size(); ++i) want[i % want.size()] += double{x[i]};
      array px(c, x, 1);
      array fresh(c, floats(want.size(), 7.F), 1);
      array added(c, floats(want.size(), 0.3F), 1);
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
