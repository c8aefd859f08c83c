// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/backend/cpu/wide_linear.hpp>

#include "backend/linear_check.hpp"

using namespace lockstep_test;
namespace wide = lockstep::cpu_backend::wide;

TEST_CASE("wide weights lie in panels without a gap") {
  constexpr ls::linear_geometry g{.in = 3, .out = 40};
  STATIC_REQUIRE(wide::takes(g));
  STATIC_REQUIRE(wide::weight_offset(g, 0, 0) == 0);
  STATIC_REQUIRE(wide::weight_offset(g, 1, 0) == 1);
  STATIC_REQUIRE(wide::weight_offset(g, 0, 1) == 16);
  STATIC_REQUIRE(wide::weight_offset(g, 16, 0) == 48);
  STATIC_REQUIRE(wide::weight_offset(g, 32, 0) == 96);
  STATIC_REQUIRE(wide::weight_offset(g, 32, 1) == 104);
  STATIC_REQUIRE(wide::weight_offset(g, 39, 2) == 119);
}

TEST_CASE("wide products of a replica with two threads match the oracle") {
  // With more than one thread oneDNN takes the products, from weights in PyTorch's order.
  ls::cpu::context two(2);
  [[maybe_unused]] const auto scope = two.enter();
  for (const std::int64_t n : {1, 9})
    for (const bool accumulate : {false, true}) {
      check_linear<ls::cpu, ls::linear_geometry{.in = 70, .out = 40, .relu = true, .mask_input = true}>(two, n,
                                                                                                        accumulate);
      check_linear<ls::cpu, ls::linear_geometry{.in = 33, .out = 32, .bias = false}>(two, n, accumulate);
    }
}
