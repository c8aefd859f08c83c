// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/dataset.hpp>

#include <cstdint>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

namespace {

using tiny = lockstep::shape<2, 1, 3>;
using tiny_set = lockstep::data::dataset<tiny>;
using labels = std::vector<std::int64_t>;

std::vector<std::uint8_t> counted(std::size_t size) {
  std::vector<std::uint8_t> values(size);
  std::iota(values.begin(), values.end(), std::uint8_t{0});
  return values;
}

}  // namespace

TEST_CASE("dataset: holds samples in order", "[data]") {
  const tiny_set set(counted(18), {2, 0, 1}, 3, {"a", "b", "c"});
  CHECK(set.size() == 3);
  CHECK(set.classes() == 3);
  CHECK(set.class_names() == std::vector<std::string>{"a", "b", "c"});
  CHECK(set.label(0) == 2);
  CHECK(set.labels()[2] == 1);
  CHECK(set.pixels().size() == 18);
  const auto image = set.image(1);
  CHECK(image.extent(0) == 2);
  CHECK(image.extent(2) == 3);
  CHECK(int{image(0, 0, 0)} == 6);
  CHECK(int{image(1, 0, 2)} == 11);
}

TEST_CASE("dataset: may be empty, and nameless", "[data]") {
  const tiny_set set({}, {}, 1);
  CHECK(set.size() == 0);
  CHECK(set.class_names().empty());
}

TEST_CASE("dataset: refuses parts that do not fit", "[data]") {
  CHECK_THROWS_AS(tiny_set(counted(17), labels{0, 0, 0}, 1), lockstep::shape_error);
  CHECK_THROWS_AS(tiny_set(counted(19), labels{0, 0, 0}, 1), lockstep::shape_error);
  CHECK_THROWS_AS(tiny_set(counted(6), labels{}, 1), lockstep::shape_error);
  CHECK_THROWS_AS(tiny_set(counted(6), labels{3}, 3), lockstep::value_error);
  CHECK_THROWS_AS(tiny_set(counted(6), labels{-1}, 3), lockstep::value_error);
  CHECK_THROWS_AS(tiny_set(counted(6), labels{0}, 0), lockstep::value_error);
  CHECK_THROWS_AS(tiny_set({}, labels{}, -2), lockstep::value_error);
  CHECK_THROWS_AS(tiny_set(counted(6), labels{0}, 2, {"only one"}), lockstep::shape_error);
  CHECK_NOTHROW(tiny_set(counted(6), labels{2}, 3));
}

TEST_CASE("dataset: a split comes apart into train and test", "[data]") {
  auto [train, test] = lockstep::data::split<tiny>{tiny_set(counted(12), {0, 1}, 2), tiny_set(counted(6), {1}, 2)};
  CHECK(train.size() == 2);
  CHECK(test.size() == 1);
  static_assert(std::is_same_v<decltype(train), tiny_set>);
}
