// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/trainer_options.hpp>

#include "networks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

/// \file
/// Training runs that a trainer of any backend can make, and how what they leave behind is compared. The runs make no
/// assertions, so that several threads may be in them.

namespace lockstep_test {

using floats = std::vector<float>;

/// n numbers in [-bound, bound).
inline floats draws(std::uint64_t stream, std::int64_t n, float bound = 1) {
  const ls::random_stream random(ls::seed{77}, ls::random_purpose::synthetic_data, stream);
  floats all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = (2.F * random.uniform(i) - 1.F) * bound;
  return all;
}

inline std::vector<std::int64_t> class_draws(std::uint64_t stream, std::int64_t n, std::uint32_t classes) {
  const ls::random_stream random(ls::seed{77}, ls::random_purpose::synthetic_data, stream);
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = random.below(classes, i);
  return all;
}

/// The view of a model's batch over contiguous samples.
template <class Model>
auto batch(const floats& values) {
  using view = ls::tensor_view<const float, ls::batch_shape<Model::input_dims>>;
  return view(values.data(), static_cast<std::int64_t>(values.size()) / Model::input_dims.size());
}

/// Every tensor of a range of named values.
template <class Range>
std::vector<floats> all_values(const Range& range) {
  std::vector<floats> all;
  for (const auto& each : range) all.push_back(each.values());
  return all;
}

/// All that a run leaves behind. Gradients are those of the last step, the norm of a step that takes none is -1.
struct trained {
  std::vector<double> losses, norms;
  std::vector<floats> initial, parameters, gradients, outputs;
  double evaluated = 0;
  std::int64_t correct = 0;
};

inline constexpr ls::sgd with_momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

/// Sizes that come again, so that work is replayed, and a larger one in between, for which buffers move.
inline constexpr std::array<std::int64_t, 11> sizes{12, 7, 12, 12, 7, 7, 12, 24, 12, 12, 24};

/// From parameters that are assigned: steps and accumulations in turn, with targets of which some are ignored and a
/// learning rate that is another one in each step; then what the trained model says.
template <class Trainer>
trained train_classifier(const ls::sgd& optimizer, const ls::trainer_options& options) {
  using model = typename Trainer::model_type;
  const ls::cross_entropy loss{
      .class_weights = {1.F, 2.F, 0.5F, 1.5F, 1.F}, .label_smoothing = 0.1F, .ignore_index = 3};
  Trainer trainer(optimizer, loss, options);
  trainer.initialize(ls::seed{11});
  trained result;
  result.initial = all_values(trainer.parameters());
  std::uint64_t stream = 900;
  for (const auto& each : trainer.parameters()) each.assign(draws(stream++, each.size(), 0.2F));
  stream = 400;
  for (std::size_t i = 0; i < 2 * sizes.size(); ++i) {
    const std::int64_t samples = sizes[i % sizes.size()];
    const floats x = draws(stream++, samples * model::input_dims.size());
    const auto targets = class_draws(stream++, samples, 5);
    trainer.optimizer().learning_rate = optimizer.learning_rate / static_cast<float>(1 + i % 4);
    result.losses.push_back(i % 5 == 2 ? trainer.accumulate(batch<model>(x), targets)
                                       : trainer.step(batch<model>(x), targets));
    result.norms.push_back(std::isnan(trainer.gradient_norm()) ? -1 : trainer.gradient_norm());
  }
  result.gradients = all_values(trainer.gradients());
  result.parameters = all_values(trainer.parameters());
  for (const std::int64_t samples : {2, 33}) {
    const floats x = draws(stream++, samples * model::input_dims.size());
    const auto targets = class_draws(stream++, samples, 5);
    const auto y = trainer.forward(batch<model>(x));
    result.outputs.emplace_back(y.begin(), y.end());
    const auto e = trainer.evaluate(batch<model>(x), targets);
    result.evaluated += e.loss();
    result.correct += e.correct;
  }
  return result;
}

/// Steps on batches of which some have fewer samples than a trainer has replicas.
template <class Trainer>
trained train_regression(const ls::sgd& optimizer, const ls::trainer_options& options) {
  using model = typename Trainer::model_type;
  Trainer trainer(optimizer, {}, options);
  trained result;
  result.initial = all_values(trainer.parameters());
  std::uint64_t stream = 500;
  for (const std::int64_t samples : {2, 9, 2, 2, 1, 1, 1, 9, 9, 3}) {
    const floats x = draws(stream++, samples * model::input_dims.size());
    const floats t = draws(stream++, samples * model::output_dims.size());
    result.losses.push_back(trainer.step(batch<model>(x), t));
    result.evaluated += trainer.evaluate(batch<model>(x), t).loss();
  }
  result.gradients = all_values(trainer.gradients());
  result.parameters = all_values(trainer.parameters());
  return result;
}

inline bool same_bits(const floats& a, const floats& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}
inline bool same_bits(const std::vector<floats>& a, const std::vector<floats>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const floats& x, const floats& y) { return same_bits(x, y); });
}

inline void check_same_bits(const trained& given, const trained& expected) {
  CHECK(same_bits(given.initial, expected.initial));
  CHECK(same_bits(given.losses, expected.losses));
  CHECK(same_bits(given.norms, expected.norms));
  CHECK(same_bits(given.gradients, expected.gradients));
  CHECK(same_bits(given.parameters, expected.parameters));
  CHECK(same_bits(given.outputs, expected.outputs));
  CHECK(same_bits(std::vector<double>{given.evaluated}, std::vector<double>{expected.evaluated}));
  CHECK(given.correct == expected.correct);
}

inline void check_close(const std::vector<floats>& given, const std::vector<floats>& expected, double tolerance) {
  REQUIRE(given.size() == expected.size());
  for (std::size_t p = 0; p < given.size(); ++p) {
    INFO("tensor " << p);
    CHECK(relative_difference(given[p], expected[p]) <= tolerance);
  }
}

/// Up to `tolerance` of the largest value of each tensor and of the losses; gradients, which are small differences by
/// the end of a run, up to ten times as much.
inline void check_close(const trained& given, const trained& expected, double tolerance) {
  CHECK(same_bits(given.initial, expected.initial));
  CHECK(relative_difference(given.losses, expected.losses) <= tolerance);
  CHECK(relative_difference(given.norms, expected.norms) <= 10 * tolerance);
  {
    INFO("gradients");
    check_close(given.gradients, expected.gradients, 10 * tolerance);
  }
  {
    INFO("parameters");
    check_close(given.parameters, expected.parameters, tolerance);
  }
  {
    INFO("outputs");
    check_close(given.outputs, expected.outputs, tolerance);
  }
  CHECK(given.evaluated == Approx(expected.evaluated).epsilon(tolerance));
  CHECK(given.correct == expected.correct);
}

/// What a run leaves behind whose inputs or outputs are several: losses in order, then outputs and parameters.
struct losses_and_values {
  std::vector<double> losses;
  std::vector<floats> values;
};

inline void check_close(const losses_and_values& given, const losses_and_values& expected, double tolerance) {
  REQUIRE(given.losses.size() == expected.losses.size());
  for (std::size_t i = 0; i < given.losses.size(); ++i)
    CHECK(given.losses[i] == Approx(expected.losses[i]).epsilon(tolerance));
  check_close(given.values, expected.values, tolerance);
}

}  // namespace lockstep_test
