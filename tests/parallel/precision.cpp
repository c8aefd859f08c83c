// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/precision.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

using regression = ls::model<ls::sequential<ls::linear<3>>, ls::input<4>, ls::mean_squared_error>;

/// Counts the contexts that may round, and those that may not.
struct contexts {
  std::atomic<int> rounding{0};
  std::atomic<int> exact{0};
} seen;

/// The CPU backend as one that offers TF32, and heeds it by counting.
struct counting : ls::cpu {
  static constexpr bool has_tf32 = true;
  struct context : ls::cpu::context {
    explicit context(const ls::replica_place& place) : ls::cpu::context(place) {
      ++(place.tf32 ? seen.rounding : seen.exact);
    }
  };
};

}  // namespace

TEST_CASE("a precision reaches every replica's context", "[data_parallel]") {
  STATIC_REQUIRE(ls::offers_tf32<counting>);
  STATIC_REQUIRE_FALSE(ls::offers_tf32<ls::cpu>);
  const ls::data_parallel<regression, 3, counting> plain;
  CHECK(seen.exact == 3);
  CHECK(seen.rounding == 0);
  const ls::data_parallel<regression, 3, ls::precision::tf32, counting> rounding;
  CHECK(seen.exact == 3);
  CHECK(seen.rounding == 3);
}
