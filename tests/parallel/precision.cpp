// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <cstddef>
#include <optional>
#include <string>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/precision.hpp>
#include <lockstep/parallel/predictor.hpp>

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
std::array<int, 3> made(std::optional<ls::factor_rounding> chosen = {}) {
  for (auto& each : seen) each = 0;
  const ls::data_parallel<regression, 3, Precision, counting> trainer({}, {}, {.rounding = chosen});
  return {seen[0], seen[1], seen[2]};
}

}  // namespace

TEST_CASE("a precision reaches every replica's context", "[data_parallel]") {
  STATIC_REQUIRE(ls::offers_rounding<counting>);
  STATIC_REQUIRE_FALSE(ls::offers_rounding<ls::cpu>);
  CHECK(made<ls::precision::fp32>() == std::array{3, 0, 0});
  CHECK(made<ls::precision::tf32>() == std::array{0, 3, 0});
}

TEST_CASE("a rounding that is chosen when the program runs takes the place of the policy's", "[data_parallel]") {
  using enum ls::factor_rounding;
  CHECK(made<ls::precision::fp32>(bf16) == std::array{0, 0, 3});
  CHECK(made<ls::precision::tf32>(bf16) == std::array{0, 0, 3});
  CHECK(made<ls::precision::tf32>(none) == std::array{3, 0, 0});
}

TEST_CASE("a predictor's replicas round as it is told", "[predictor]") {
  for (auto& each : seen) each = 0;
  const ls::predictor<regression, 2, counting> server({.rounding = ls::factor_rounding::tf32});
  CHECK(seen[1] == 2);
}

TEST_CASE("a backend that rounds no factors refuses to", "[data_parallel][predictor]") {
  using trainer = ls::data_parallel<regression, 1>;
  using server = ls::predictor<regression, 1>;
  const std::string refusal =
      "expected no rounding of factors on the cpu backend, which has none, got bf16; leave options.rounding out, or "
      "use "
      "ls::cuda";
  CHECK_THROWS_WITH(trainer({}, {}, {.rounding = ls::factor_rounding::bf16}), Catch::Contains(refusal));
  CHECK_THROWS_WITH(server({.rounding = ls::factor_rounding::bf16}), Catch::Contains(refusal));
  CHECK_NOTHROW(trainer({}, {}, {.rounding = ls::factor_rounding::none}));
}
