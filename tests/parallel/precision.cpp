// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <cstddef>

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

/// Counts the contexts by what their products may round to.
std::array<std::atomic<int>, 3> seen{};

/// The CPU backend as one that rounds, and heeds it by counting.
struct counting : ls::cpu {
  static constexpr bool rounds_factors = true;
  struct context : ls::cpu::context {
    explicit context(const ls::replica_place& place) : ls::cpu::context(place) {
      ++seen.at(static_cast<std::size_t>(place.rounding));
    }
  };
};

/// Contexts of each kind that a trainer with this precision makes.
template <class Precision>
std::array<int, 3> made() {
  for (auto& each : seen) each = 0;
  const ls::data_parallel<regression, 3, Precision, counting> trainer;
  return {seen[0], seen[1], seen[2]};
}

}  // namespace

TEST_CASE("a precision reaches every replica's context", "[data_parallel]") {
  STATIC_REQUIRE(ls::offers_rounding<counting>);
  STATIC_REQUIRE_FALSE(ls::offers_rounding<ls::cpu>);
  CHECK(made<ls::precision::fp32>() == std::array{3, 0, 0});
  CHECK(made<ls::precision::tf32>() == std::array{0, 3, 0});
  CHECK(made<ls::precision::bf16>() == std::array{0, 0, 3});
}
