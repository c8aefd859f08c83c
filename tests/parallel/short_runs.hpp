// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "parallel/reproducible.hpp"

/// \file
/// A few steps of a classifier of three classes on any number of replicas, against one device in double precision.

namespace lockstep_test::short_runs {

namespace ls = lockstep;

/// Cuts every shard into micro-shards of two samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 2;
};

/// What gradients may differ by: a part of their own tensor's magnitude, or of the largest tensor's, where some are
/// sums of large numbers that are 0.
enum class gradients { by_tensor, by_largest };

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters;  // gradients: of the first step
};

/// Steps on batches of the given sizes.
template <class Model, class Trainer>
trained train(Trainer& trainer, std::initializer_list<std::int64_t> sizes) {
  using value = typename Trainer::value_type;
  start_alike(trainer);
  trained result;
  std::uint64_t stream = 10;
  for (const std::int64_t samples : sizes) {
    const auto drawn = draws<float>(stream++, samples * Model::input_dims.size());
    const std::vector<value> x(drawn.begin(), drawn.end());
    result.losses.push_back(trainer.step(batch<Model>(x), class_draws(stream++, samples, 3)));
    if (result.gradients.empty()) result.gradients = as_doubles(trainer.gradients());
  }
  result.parameters = as_doubles(trainer.parameters());
  return result;
}

inline void check_equal(const trained& given, const trained& expected, double tolerance, gradients compared) {
  for (std::size_t i = 0; i < expected.losses.size(); ++i)
    CHECK(is_close(given.losses[i], expected.losses[i], {.relative = tolerance}));
  double largest = 0;
  for (const auto& each : expected.gradients) largest = std::max(largest, largest_magnitude(each));
  REQUIRE(given.gradients.size() == expected.gradients.size());
  for (std::size_t p = 0; p < expected.gradients.size(); ++p) {
    INFO("tensor " << p);
    if (compared == gradients::by_largest)
      CHECK(largest_difference(given.gradients[p], expected.gradients[p]) <= tolerance * largest);
    else
      CHECK(relative_difference(given.gradients[p], expected.gradients[p]) <= tolerance);
    CHECK(largest_difference(given.parameters[p], expected.parameters[p]) <=
          tolerance * std::max(1e-2, largest_magnitude(expected.parameters[p])));
  }
}

/// N replicas on B, for each N, train as one device does that computes in double precision.
template <class Model, class B, int... N>
void check_replicas(const ls::sgd& optimizer, std::initializer_list<std::int64_t> sizes, double tolerance,
                    gradients compared = gradients::by_tensor) {
  ls::data_parallel<Model, 1, ls::reference<double>> one(optimizer);
  const trained expected = train<Model>(one, sizes);
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    ls::data_parallel<Model, Count, B> trainer(optimizer, {}, {.pin = false});
    check_equal(train<Model>(trainer, sizes), expected, tolerance, compared);
  };
  (check.template operator()<N>(), ...);
}

}  // namespace lockstep_test::short_runs
