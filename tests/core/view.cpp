// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <lockstep/core/view.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

constexpr std::array<int, 6> numbers{1, 2, 3, 4, 5, 6};
static_assert(ls::view<3>(numbers).extent(0) == 2);
static_assert(ls::view<3>(numbers)(1, 2) == 6);
static_assert(ls::view<1, 2>(numbers).extent(0) == 3);
static_assert(ls::view<>(numbers).extent(0) == 6);

}  // namespace

TEST_CASE("a view is the values themselves, in samples", "[view]") {
  std::vector<float> values{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const auto batch = ls::view<1, 2, 3>(values);
  static_assert(std::is_same_v<std::remove_const_t<decltype(batch)>, ls::batch_view<float, 1, 2, 3>>);
  CHECK(batch.extent(0) == 2);
  CHECK(batch.data_handle() == values.data());
  CHECK(batch(1, 0, 1, 2) == 11);
  batch(0, 0, 0, 0) = 5;
  CHECK(values[0] == 5);

  const std::vector<float>& constant = values;
  static_assert(std::is_same_v<decltype(ls::view<6>(constant)), ls::batch_view<const float, 6>>);
  CHECK(ls::view<6>(constant).extent(0) == 2);
  CHECK(ls::view<4>(std::span<const float>(values)).extent(0) == 3);
  double plain[4]{};
  CHECK(ls::view<2>(plain).extent(0) == 2);
  CHECK(ls::view<3, 32, 32>(std::span<float>()).extent(0) == 0);
}

TEST_CASE("a view of no whole number of samples says what is over", "[view]") {
  const std::vector<float> values(10000);
  CHECK_THROWS_WITH(
      (ls::view<3, 32, 32>(values)),
      "lockstep: view: expected 3072 values a sample (3x32x32), got 10000 values: 3 samples and 784 over");
  CHECK_THROWS_AS((ls::view<3, 32, 32>(std::span(values).first(784))), ls::shape_error);
}
