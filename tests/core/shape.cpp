// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/core/shape.hpp>

#include <cstdint>
#include <limits>
#include <type_traits>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

static_assert(ls::checked_multiply(3, 7) == 21);
static_assert(ls::checked_multiply(0, largest) == 0);
static_assert(ls::checked_multiply(largest, 0) == 0);
static_assert(ls::checked_multiply(largest, 1) == largest);
static_assert(ls::checked_add(largest - 1, 1) == largest);

static_assert(ls::dims{}.size() == 1);
static_assert(ls::dims{}.rank == 0);
static_assert(ls::dims{3, 32, 32}.size() == 3072);
static_assert(ls::dims{3, 32, 32} == ls::dims{3, 32, 32});
static_assert(ls::dims{3, 32} != ls::dims{32, 3});
static_assert(ls::dims{3} != ls::dims{3, 1});
static_assert(ls::dims{2, 3, 4, 5, 6}.size() == 720);
static_assert(ls::dims{7, 0, 9}.size() == 0);
static_assert(ls::dims{7, 8, 9}[1] == 8);

static_assert(ls::shape<3, 4>::rank == 2);
static_assert(ls::shape<3, 4>::static_size == 12);
static_assert(!ls::shape<3, 4>::is_dynamic);
static_assert(ls::shape<3, 4>::extents == ls::dims{3, 4});
static_assert(ls::shape<ls::dynamic, 3, 4>::is_dynamic);
static_assert(ls::shape<ls::dynamic, 3, 4>::static_size == 12);
static_assert(ls::shape<ls::dynamic>::static_size == 1);
static_assert(ls::shape<>::rank == 0);
static_assert(ls::shape<>::static_size == 1);
static_assert(!ls::shape<>::is_dynamic);

static_assert(std::is_same_v<ls::batch_shape<ls::dims{3, 4}>, ls::shape<ls::dynamic, 3, 4>>);
static_assert(std::is_same_v<ls::batch_shape<ls::dims{}>, ls::shape<ls::dynamic>>);

}  // namespace

TEST_CASE("products and sums of extents are checked") {
  CHECK(ls::checked_multiply(largest / 2, 2) == largest - 1);
  CHECK_THROWS_AS(ls::checked_multiply(largest / 2 + 1, 2), ls::shape_error);
  CHECK_THROWS_AS(ls::checked_multiply(2, largest / 2 + 1), ls::shape_error);
  CHECK_THROWS_AS(ls::checked_multiply(largest, largest), ls::shape_error);
  CHECK_THROWS_AS(ls::checked_multiply(std::int64_t{1} << 32, std::int64_t{1} << 31), ls::shape_error);
  CHECK(ls::checked_multiply(std::int64_t{1} << 31, std::int64_t{1} << 31) == std::int64_t{1} << 62);
  CHECK_THROWS_AS(ls::checked_add(largest, 1), ls::shape_error);
  CHECK_THROWS_AS(ls::checked_add(1, largest), ls::shape_error);
  CHECK(ls::checked_add(0, largest) == largest);
}

TEST_CASE("a dims whose size overflows throws") {
  const std::int64_t big = std::int64_t{1} << 22;
  CHECK(ls::dims{big, big}.size() == std::int64_t{1} << 44);
  CHECK_THROWS_AS((ls::dims{big, big, big}.size()), ls::shape_error);
  CHECK_THROWS_WITH((ls::dims{big, big, big}.size()),
                    "lockstep: shape: expected a product of extents that fits 64 bits, got an overflow");
}

TEST_CASE("extents as text") {
  CHECK(ls::to_string(ls::dims{3, 32, 32}) == "3x32x32");
  CHECK(ls::to_string(ls::dims{7}) == "7");
  CHECK(ls::to_string(ls::dims{ls::dynamic, 10}) == "Bx10");
  CHECK(ls::to_string(ls::dims{}) == "scalar");
}
