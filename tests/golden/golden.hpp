// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/io/safetensors_file.hpp>

#include "support/catch.hpp"
#include "support/difference.hpp"

/// \file
/// The inputs of the golden values, made again as README.md says, and how a result, or a trainer of any backend, is
/// held against them.

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

/// Gives the parameters the values that generate.py's `initialize` does: streams from 100 on, in order; a bias has the
/// bound of the weight before it. Returns the stream after the last.
template <class Trainer>
std::uint64_t start_as_golden(Trainer& trainer) {
  std::uint64_t stream = 100;
  float bound = 0;
  for (const auto& parameter : trainer.parameters()) {
    if (parameter.name().ends_with("weight")) bound = fan_in_bound(parameter.size() / parameter.shape()[0]);
    const auto values = golden_symmetric(stream++, parameter.size(), bound);
    parameter.assign(std::vector<typename Trainer::value_type>(values.begin(), values.end()));
  }
  return stream;
}

/// Relative to the loss itself, with a floor for losses that have fallen to practically nothing: such a loss is the
/// difference of a logit and a logarithm of about 10, which float32 knows to 1e-6.
inline bool same_loss(double given, double expected, double tolerance) {
  return is_close(given, expected, {.absolute = tolerance * std::max(std::abs(expected), 0.1)});
}

/// A gradient of a model's file, in full or by what README.md says is stored of a large one.
template <class T>
void check_golden_gradient(const ls::safetensors_file& golden, const std::string& name, const std::vector<T>& given,
                           double tolerance) {
  INFO(name);
  if (golden.contains(name)) {
    CHECK(relative_difference(given, golden.values_f64(name)) <= tolerance);
    return;
  }
  const std::size_t stride = (given.size() + 1023) / 1024;
  std::vector<T> sample;
  for (std::size_t i = 0; i < given.size(); i += stride) sample.push_back(given[i]);
  CHECK(relative_difference(sample, golden.values_f64(name + "/sample")) <= tolerance);

  // Every element takes part in these two.
  double squares = 0;
  for (const T g : given) squares += double{g} * double{g};
  const double norm = golden.values_f64(name + "/norm")[0];
  CHECK(is_close(std::sqrt(squares), norm, {.relative = tolerance}));
  const auto projections = golden.values_f64(name + "/projection");
  REQUIRE(projections.size() == 4);
  for (std::uint64_t j = 0; j < 4; ++j) {
    const auto vector = golden_symmetric(1000 + j, static_cast<std::int64_t>(given.size()));
    double product = 0;
    for (std::size_t i = 0; i < given.size(); ++i) product += double{given[i]} * double{vector[i]};
    CHECK(is_close(product, projections[j], {.absolute = tolerance * norm}));
  }
}

/// How far what a trainer computes may lie from a model's file.
struct golden_tolerance {
  double outputs, gradients, losses;
};

/// A data_parallel trainer on one batch of a model's file: its outputs, its first gradients and 20 losses.
template <class Trainer, class Optimizer>
void check_golden_batch(const ls::safetensors_file& golden, const std::string& prefix, std::int64_t samples,
                        const Optimizer& optimizer, const golden_tolerance& tolerance) {
  INFO(prefix << ", " << Trainer::replicas << " replicas");
  Trainer trainer(optimizer);
  start_as_golden(trainer);

  const auto values = golden_unit(1, samples * Trainer::model_type::input_dims.size());
  const typename Trainer::input_view x(values.data(), samples);
  const auto targets = [&] {
    if constexpr (std::is_same_v<typename Trainer::target_type, std::int64_t>)
      return golden_labels(2, samples, 10);
    else
      return golden_symmetric(3, samples * 10);
  }();

  const auto y = trainer.forward(x);
  CHECK(relative_difference(y, golden.values_f64(prefix + "/output")) <= tolerance.outputs);

  const auto losses = golden.values_f64(prefix + "/losses");
  REQUIRE(losses.size() == 20);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const double loss = trainer.step(x, targets);
    INFO("step " << step << ": " << loss << ", expected " << losses[step]);
    CHECK(same_loss(loss, losses[step], tolerance.losses));
    if (step == 0)
      for (const auto& gradient : trainer.gradients())
        check_golden_gradient(golden, prefix + "/grad/" + std::string(gradient.name()), gradient.values(),
                              tolerance.gradients);
  }
}

/// The same for every batch of the file.
template <class Trainer, class Optimizer>
void check_golden_batches(const std::string& name, const Optimizer& optimizer, double tolerance) {
  const auto golden = golden_file(name);
  for (const int samples : {1, 2, 63, 64, 100})
    check_golden_batch<Trainer>(golden, name + "/b" + std::to_string(samples), samples, optimizer,
                                {tolerance, tolerance, tolerance});
}

}  // namespace lockstep_test
