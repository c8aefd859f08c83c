// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "parallel/reproducible.hpp"
#include "parallel/trained.hpp"

/// \file
/// A few steps of a classifier of three classes on any number of replicas, against one device in double precision.

namespace lockstep_test::short_runs {

namespace ls = lockstep;

/// Cuts every shard into micro-shards of two samples.
struct small_passes : ls::cpu {
  static constexpr std::int64_t largest_pass = 2;
};

/// Steps on batches of the given sizes, and the gradients of the first.
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

/// N replicas on B, for each N, train as one device does that computes in double precision.
template <class Model, class B, int... N>
void check_replicas(const ls::sgd& optimizer, std::initializer_list<std::int64_t> sizes, double tolerance,
                    gradients_compared by = gradients_compared::by_tensor) {
  ls::data_parallel<Model, 1, ls::reference<double>> one(optimizer);
  const trained expected = train<Model>(one, sizes);
  const auto check = [&]<int Count> {
    INFO(Count << " replicas");
    ls::data_parallel<Model, Count, B> trainer(optimizer, {}, {.pin = false});
    check_equal(train<Model>(trainer, sizes), expected, tolerance, by);
  };
  (check.template operator()<N>(), ...);
}

}  // namespace lockstep_test::short_runs
