// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "support/difference.hpp"

#include <array>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace lockstep_test;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
constexpr float no_float = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("two numbers of which one is NaN differ by infinity", "[difference]") {
  CHECK(difference_of(1, 3) == 2);
  CHECK(difference_of(3, 1) == 2);
  CHECK(difference_of(-0.0, 0) == 0);
  CHECK(difference_of(no_number, 1) == infinity);
  CHECK(difference_of(1, no_number) == infinity);
  CHECK(difference_of(no_number, infinity) == infinity);
  CHECK(difference_of(no_number, no_number) == infinity);
  CHECK(difference_of(no_number, no_number, nan_rule::equals_nan) == 0);
  CHECK(difference_of(no_number, 1, nan_rule::equals_nan) == infinity);
  CHECK(difference_of(1, no_number, nan_rule::equals_nan) == infinity);
}

TEST_CASE("an infinity equals itself alone", "[difference]") {
  CHECK(difference_of(infinity, infinity) == 0);
  CHECK(difference_of(-infinity, -infinity) == 0);
  CHECK(difference_of(-infinity, infinity) == infinity);
  CHECK(difference_of(1, infinity) == infinity);
  CHECK(excess_of(1, infinity, 0.5) == infinity);  // half of it is no allowance
  CHECK(excess_of(infinity, 1, 0.5) == infinity);
  CHECK(excess_of(infinity, infinity, 0.5) == 0);
}

TEST_CASE("what is allowed is a number and a part of what is expected", "[difference]") {
  CHECK(excess_of(14, 8, 0.5) == 2);
  CHECK(excess_of(-14, -8, 0.5) == 2);
  CHECK(excess_of(12, 8, 0.5) == 0);
  CHECK(excess_of(8, 8, 0.5) == 0);
  CHECK(is_close(12, 8, {.relative = 0.5}));
  CHECK_FALSE(is_close(12.5, 8, {.relative = 0.5}));
  CHECK(is_close(12.5, 8, {.relative = 0.5, .absolute = 0.5}));
  CHECK_FALSE(is_close(13, 8, {.relative = 0.5, .absolute = 0.5}));
  CHECK(is_close(8, 8, {}));
  CHECK_FALSE(is_close(8.5, 8, {}));
  const allowance much{.relative = 1, .absolute = 1e300};
  for (const double bad : {no_number, infinity}) {
    CHECK_FALSE(is_close(bad, 8, much));
    CHECK_FALSE(is_close(8, bad, much));
    CHECK_FALSE(is_close(9, 8, {.relative = bad}));
    CHECK_FALSE(is_close(9, 8, {.absolute = bad}));
  }
  CHECK_FALSE(is_close(no_number, no_number, much));
}

TEST_CASE("one NaN of many elements is the largest difference, wherever it stands", "[difference]") {
  const std::vector<float> expected{1.F, -4.F, 2.F};
  CHECK(largest_difference(expected, expected) == 0);
  CHECK(largest_difference(std::vector<double>{1, -1, 2.5}, expected) == 3);
  CHECK(relative_difference(std::vector<double>{1, -1, 2.5}, expected) == 0.75);
  for (std::size_t at = 0; at < expected.size(); ++at) {
    auto given = expected;
    given[at] = no_float;
    CHECK(largest_difference(given, expected) == infinity);
    CHECK(largest_difference(expected, given) == infinity);
    CHECK(relative_difference(given, expected) == infinity);
    CHECK(relative_difference(expected, given) == infinity);
    CHECK(relative_difference(given, given) == infinity);
    CHECK(largest_magnitude(given) == infinity);
  }
}

TEST_CASE("an infinity that is expected hides no other difference", "[difference]") {
  const std::array<double, 3> expected{infinity, 2, 4};
  CHECK(relative_difference(expected, expected) == 0);
  CHECK(relative_difference(std::array<double, 3>{infinity, 2, 5}, expected) == 0.25);
  CHECK(relative_difference(std::array<double, 3>{1, 2, 4}, expected) == infinity);
  CHECK(largest_magnitude(expected) == infinity);
}

TEST_CASE("lists of other lengths differ by infinity, and empty ones are equal", "[difference]") {
  const std::vector<double> none, one{1}, two{1, 1};
  CHECK(largest_difference(one, two) == infinity);
  CHECK(largest_difference(two, one) == infinity);
  CHECK(largest_difference(none, one) == infinity);
  CHECK(largest_difference(one, none) == infinity);
  CHECK(relative_difference(one, none) == infinity);
  CHECK(relative_difference(none, one) == infinity);
  CHECK(largest_difference(none, none) == 0);
  CHECK(relative_difference(none, none) == 0);
  CHECK(largest_magnitude(none) == 0);
}

TEST_CASE("nothing is close to zeros but zeros", "[difference]") {
  const std::vector<double> zeros(2);
  CHECK(relative_difference(zeros, zeros) == 0);
  CHECK(relative_difference(std::vector<double>{0, 1e-300}, zeros) == infinity);
  CHECK(largest_magnitude(std::vector<double>{0, -3, 2}) == 3);
}
