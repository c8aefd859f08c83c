// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"
#include "support/difference.hpp"
#include "support/message_of.hpp"

namespace lockstep_test {

/// n numbers in [-bound, bound).
template <class T>
std::vector<T> draws(std::uint64_t stream, std::int64_t n, T bound = 1) {
  const lockstep::random_stream random(lockstep::seed{77}, lockstep::random_purpose::synthetic_data, stream);
  std::vector<T> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = (T{2} * static_cast<T>(random.uniform(i)) - T{1}) * bound;
  return all;
}

inline std::vector<std::int64_t> class_draws(std::uint64_t stream, std::int64_t n, std::uint32_t classes) {
  const lockstep::random_stream random(lockstep::seed{77}, lockstep::random_purpose::synthetic_data, stream);
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = random.below(classes, i);
  return all;
}

/// The view of a model's batch over contiguous samples.
template <class Model, class T>
auto batch(const std::vector<T>& values) {
  using view = lockstep::tensor_view<const T, lockstep::batch_shape<Model::input_dims>>;
  return view(values.data(), static_cast<std::int64_t>(values.size()) / Model::input_dims.size());
}

/// Every tensor of a range of named values.
template <class Range>
auto all_values(const Range& range) {
  std::vector<decltype((*range.begin()).values())> all;
  for (const auto& each : range) all.push_back(each.values());
  return all;
}

/// What lockstep promises for a sum in another order: 1e-12 in double, 1e-5 in float.
template <class T>
constexpr double tolerance = sizeof(T) == sizeof(double) ? 1e-12 : 1e-5;

template <class T>
void check_close(const std::vector<std::vector<T>>& given, const std::vector<std::vector<T>>& expected) {
  REQUIRE(given.size() == expected.size());
  for (std::size_t p = 0; p < given.size(); ++p) {
    INFO("parameter " << p);
    CHECK(relative_difference(given[p], expected[p]) <= tolerance<T>);
  }
}

/// The values of named tensors, in double precision.
template <class Range>
std::vector<std::vector<double>> as_doubles(const Range& range) {
  std::vector<std::vector<double>> all;
  for (const auto& each : range) {
    const auto values = each.values();
    all.emplace_back(values.begin(), values.end());
  }
  return all;
}

/// Gives a trainer parameters that float and double hold alike.
template <class Trainer>
void start_alike(Trainer& trainer) {
  using value = typename Trainer::value_type;
  lockstep::data_parallel<typename Trainer::model_type, 1, lockstep::reference<float>> start;
  start.initialize(lockstep::seed{3});
  trainer.initialize(lockstep::seed{3});
  for (const auto& parameter : start.parameters()) {
    const auto values = parameter.values();
    trainer.parameters().at(parameter.name()).assign(std::vector<value>(values.begin(), values.end()));
  }
}

}  // namespace lockstep_test
