// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "parallel/parallel_support.hpp"

/// \file
/// N replicas held against one device: a single executor that takes the whole batch, a plain sum, a plain update.

namespace lockstep_test {

template <class T>
struct step_result {
  double loss = 0;
  std::vector<std::vector<T>> gradients, parameters;
};

constexpr float step_size = 0.125F;  // exact, so that the update below rounds as the optimizer's does
constexpr lockstep::seed step_seed{5};

/// Runs the batch on one executor. `denominator` is what the sum of the losses is divided by, counted by the caller.
template <class Model, class B, class Target, class T = typename B::value_type>
step_result<T> step_on_one_device(const typename Model::loss_type& loss, const std::vector<T>& x,
                                  const std::vector<Target>& targets, double denominator) {
  constexpr std::int64_t count = Model::parameter_count;
  lockstep::aligned_buffer<T> parameters(count);
  lockstep::aligned_buffer<T> gradients(count);
  lockstep::initialize_parameters<Model, B>(parameters.data(), step_seed);
  lockstep::executor<Model, B> device({}, loss);
  const double scale = denominator > 0 ? 1 / denominator : 0;
  const std::int64_t samples = static_cast<std::int64_t>(x.size()) / Model::input_dims.size();
  const double sum = device.train(parameters.data(), gradients.data(), x.data(), targets.data(), samples,
                                  lockstep::step_values{.scale = scale, .seed = step_seed.value});
  using range = lockstep::named_values_range<Model, B, 1, false>;
  step_result<T> result{.loss = sum / denominator, .gradients = {}, .parameters = {}};
  result.gradients = all_values(range({gradients.data()}));
  for (std::int64_t i = 0; i < count; ++i) parameters.data()[i] -= static_cast<T>(step_size) * gradients.data()[i];
  result.parameters = all_values(range({parameters.data()}));
  return result;
}

template <class Model, class B, int N, class Target, class T = typename B::value_type>
step_result<T> step_on_replicas(const typename Model::loss_type& loss, const std::vector<T>& x,
                                const std::vector<Target>& targets) {
  lockstep::data_parallel<Model, N, B> trainer({.learning_rate = step_size}, loss);
  trainer.initialize(step_seed);
  step_result<T> result;
  result.loss = trainer.step(batch<Model>(x), targets);
  result.gradients = all_values(trainer.gradients());
  result.parameters = all_values(trainer.parameters());
  return result;
}

template <class T>
void check_same_step(const step_result<T>& given, const step_result<T>& expected) {
  if (std::isnan(expected.loss))
    CHECK(std::isnan(given.loss));
  else
    CHECK(is_close(given.loss, expected.loss, {.relative = tolerance<T>}));
  check_close(given.gradients, expected.gradients);
  check_close(given.parameters, expected.parameters);
}

/// What a batch of class indices may hold, each by its name.
struct classification_case {
  std::string name;
  std::int64_t samples;
  bool weights = false;
  float smoothing = 0;
  std::vector<std::int64_t> ignored{};
};

inline std::vector<classification_case> classification_cases() {
  const auto up_to = [](std::int64_t n) {
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < n; ++i) all.push_back(i);
    return all;
  };
  return {{.name = "64 samples", .samples = 64},
          {.name = "2 samples", .samples = 2},
          {.name = "1 sample", .samples = 1},
          {.name = "class weights", .samples = 13, .weights = true},
          {.name = "ignored targets in some shards", .samples = 13, .ignored = {0, 2, 3}},
          {.name = "the first shards all ignored", .samples = 16, .ignored = up_to(8)},
          {.name = "all ignored", .samples = 9, .ignored = up_to(9)},
          {.name = "label smoothing", .samples = 13, .smoothing = 0.1F},
          {.name = "weights, smoothing and ignored",
           .samples = 21,
           .weights = true,
           .smoothing = 0.2F,
           .ignored = {1, 5, 20}}};
}

/// Every case for each N of `Counts`. Model classifies into 5 classes.
template <class Model, class B, int... Counts>
void check_classification() {
  using value = typename B::value_type;
  std::uint64_t stream = 100;
  for (const auto& c : classification_cases()) {
    const auto x = draws<value>(stream++, c.samples * Model::input_dims.size());
    auto targets = class_draws(stream++, c.samples, 5);
    for (const std::int64_t i : c.ignored) targets[static_cast<std::size_t>(i)] = -100;
    lockstep::cross_entropy loss{.label_smoothing = c.smoothing};
    if (c.weights) loss.class_weights = {0.5F, 2.F, 1.F, 0.25F, 3.F};

    double denominator = 0;
    for (const std::int64_t t : targets)
      if (t != -100) denominator += c.weights ? double{loss.class_weights[static_cast<std::size_t>(t)]} : 1.0;
    const auto expected = step_on_one_device<Model, B>(loss, x, targets, denominator);
    const auto check = [&]<int N> {
      INFO(c.name << ", " << N << " replicas");
      const auto given = step_on_replicas<Model, B, N>(loss, x, targets);
      check_same_step(given, expected);
      if (c.ignored.size() != targets.size()) return;
      CHECK(std::isnan(given.loss));
      lockstep::data_parallel<Model, N, B> untouched;
      untouched.initialize(step_seed);
      CHECK(given.parameters == all_values(untouched.parameters()));
      for (const auto& gradient : given.gradients) CHECK(gradient == std::vector<value>(gradient.size()));
    };
    (check.template operator()<Counts>(), ...);
  }
}

/// Regression batches of several sizes for each N of `Counts`.
template <class Model, class B, int... Counts>
void check_regression() {
  using value = typename B::value_type;
  std::uint64_t stream = 300;
  for (const std::int64_t samples : {64, 5, 2, 1}) {
    const auto x = draws<value>(stream++, samples * Model::input_dims.size());
    const auto targets = draws<value>(stream++, samples * Model::output_dims.size());
    const auto expected =
        step_on_one_device<Model, B>({}, x, targets, static_cast<double>(samples * Model::output_dims.size()));
    const auto check = [&]<int N> {
      INFO(samples << " samples, " << N << " replicas");
      check_same_step(step_on_replicas<Model, B, N>({}, x, targets), expected);
    };
    (check.template operator()<Counts>(), ...);
  }
}

using classifier_net =
    lockstep::sequential<lockstep::conv2d<4, 3, lockstep::padding<1>>, lockstep::relu, lockstep::max_pool2d<2>,
                         lockstep::flatten, lockstep::linear<20>, lockstep::relu, lockstep::linear<5>>;
using small_classifier = lockstep::model<classifier_net, lockstep::input<2, 6, 6>, lockstep::cross_entropy>;

using regression_net = lockstep::sequential<lockstep::linear<7>, lockstep::relu, lockstep::linear<3>>;
using small_regression = lockstep::model<regression_net, lockstep::input<6>, lockstep::mean_squared_error>;

}  // namespace lockstep_test
