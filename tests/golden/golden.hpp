// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/io/safetensors_file.hpp>

#include "support/catch.hpp"

/// \file
/// The inputs of the golden values, made again as README.md says, and how a result is held against them.

namespace lockstep_test {

namespace ls = lockstep;

inline ls::safetensors_file golden_file(std::string_view name) {
  return ls::safetensors_file::read(std::string(LOCKSTEP_TEST_DATA_DIR) + "/golden/" + std::string(name) +
                                    ".safetensors");
}

inline ls::random_stream golden_stream(std::uint64_t stream) {
  return {ls::seed{2024}, ls::random_purpose::synthetic_data, stream, 0};
}

inline std::vector<float> golden_unit(std::uint64_t stream, std::int64_t n) {
  const auto random = golden_stream(stream);
  std::vector<float> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = random.uniform(i);
  return all;
}

inline std::vector<float> golden_symmetric(std::uint64_t stream, std::int64_t n, float bound = 1.F) {
  auto all = golden_unit(stream, n);
  for (float& v : all) v = (2.F * v - 1.F) * bound;
  return all;
}

inline std::vector<std::int64_t> golden_labels(std::uint64_t stream, std::int64_t n, std::uint32_t classes) {
  const auto random = golden_stream(stream);
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = random.bits(i) % classes;
  return all;
}

inline float fan_in_bound(std::int64_t fan_in) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(fan_in)));
}

/// The largest difference over the largest magnitude of `expected`; infinite for what is no number.
inline double relative_difference(const std::vector<float>& given, const std::vector<double>& expected) {
  REQUIRE(given.size() == expected.size());
  double top = 0;
  double worst = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const double difference = std::abs(double{given[i]} - expected[i]);
    if (std::isnan(difference)) return INFINITY;
    worst = std::max(worst, difference);
    top = std::max(top, std::abs(expected[i]));
  }
  return worst == 0 ? 0 : worst / top;
}

}  // namespace lockstep_test
