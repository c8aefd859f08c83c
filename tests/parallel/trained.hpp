// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "support/catch.hpp"
#include "support/difference.hpp"

/// \file
/// What a run of some steps leaves behind, and whether another run has left the same.

namespace lockstep_test {

/// In double precision; a run that has no buffers, or does not ask for them, has none here.
struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters, buffers;
};

/// What gradients may differ by: a part of their own tensor's magnitude, or of the largest tensor's, where some are
/// sums of large numbers that are 0.
enum class gradients_compared { by_tensor, by_largest };

inline void check_equal(const trained& given, const trained& expected, double tolerance, gradients_compared by) {
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    CHECK(is_close(given.losses[i], expected.losses[i], {.relative = tolerance}));
  double largest = 0;
  for (const auto& each : expected.gradients) largest = std::max(largest, largest_magnitude(each));
  REQUIRE(given.gradients.size() == expected.gradients.size());
  for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
    INFO("gradient " << p);
    if (by == gradients_compared::by_largest)
      CHECK(largest_difference(given.gradients[p], expected.gradients[p]) <= tolerance * largest);
    else
      CHECK(relative_difference(given.gradients[p], expected.gradients[p]) <= tolerance);
  }
  const auto check_values = [&](const auto& all, const auto& all_expected, const char* kind) {
    REQUIRE(all.size() == all_expected.size());
    for (std::size_t p = 0; p < all_expected.size(); ++p) {
      INFO(kind << " " << p);
      CHECK(largest_difference(all[p], all_expected[p]) <=
            tolerance * std::max(1e-2, largest_magnitude(all_expected[p])));
    }
  };
  check_values(given.parameters, expected.parameters, "parameter");
  check_values(given.buffers, expected.buffers, "buffer");
}

}  // namespace lockstep_test
