// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "parallel/parallel_support.hpp"

/// \file
/// Trains the same model on 1, 2, 4 and 8 replicas and compares every bit.

namespace lockstep_test {

/// All that a run leaves behind.
struct trained_bits {
  std::vector<double> losses, norms;
  std::vector<std::vector<float>> parameters, gradients, outputs;
  double evaluated = 0;
};

template <class Model, int N, class... Policies>
trained_bits train_reproducibly(const lockstep::sgd& optimizer, double max_norm, std::span<const std::int64_t> batches,
                                const std::vector<int>& devices = {}) {
  lockstep::data_parallel<Model, N, lockstep::reduce::reproducible, Policies...> trainer(
      optimizer, {}, {.devices = devices, .max_norm = max_norm});
  trainer.initialize(lockstep::seed{7});
  trained_bits bits;
  std::uint32_t stream = 100;
  for (const std::int64_t samples : batches) {
    const auto x = draws<float>(stream++, samples * Model::input_dims.size());
    const auto targets = class_draws(stream++, samples, static_cast<int>(Model::output_dims.size()));
    bits.losses.push_back(trainer.step(batch<Model>(x), targets));
    bits.norms.push_back(trainer.gradient_norm());
    bits.gradients = all_values(trainer.gradients());
    bits.evaluated = trainer.evaluate(batch<Model>(x), targets).loss_sum;
    const auto y = trainer.forward(batch<Model>(x));
    bits.outputs.emplace_back(y.begin(), y.end());
  }
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
template <class T>
bool same_bits(const std::vector<std::vector<T>>& a, const std::vector<std::vector<T>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return same_bits(x, y); });
}

inline void check_same_bits(const trained_bits& given, const trained_bits& expected) {
  CHECK(same_bits(given.losses, expected.losses));
  CHECK(same_bits(given.norms, expected.norms));
  CHECK(same_bits(given.gradients, expected.gradients));
  CHECK(same_bits(given.parameters, expected.parameters));
  CHECK(same_bits(given.outputs, expected.outputs));
  CHECK(std::memcmp(&given.evaluated, &expected.evaluated, sizeof(double)) == 0);
}

/// 1, 2, 4 and 8 replicas, and 8 again: threads meet in another order.
template <class Model, class... Policies>
void check_replicas_agree(const lockstep::sgd& optimizer, double max_norm, std::span<const std::int64_t> batches) {
  const auto one = train_reproducibly<Model, 1, Policies...>(optimizer, max_norm, batches);
  REQUIRE(one.losses.size() == batches.size());
  for (const double loss : one.losses) REQUIRE(std::isfinite(loss));
  check_same_bits(train_reproducibly<Model, 2, Policies...>(optimizer, max_norm, batches), one);
  check_same_bits(train_reproducibly<Model, 4, Policies...>(optimizer, max_norm, batches), one);
  check_same_bits(train_reproducibly<Model, 8, Policies...>(optimizer, max_norm, batches), one);
  check_same_bits(train_reproducibly<Model, 8, Policies...>(optimizer, max_norm, batches), one);
}

}  // namespace lockstep_test
