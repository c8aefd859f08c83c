// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/sgd.hpp>

#include "golden/golden.hpp"

/// \file
/// How a trainer of any backend is held against a network in PyTorch that reads tokens; generate_tokens.py has run it.

namespace lockstep_test {

inline constexpr ls::sgd tokens_sgd{.learning_rate = 0.0625, .momentum = 0.875, .weight_decay = 0x1p-10};
inline constexpr ls::adamw tokens_adamw{
    .learning_rate = 0x1p-8, .betas = {0.875, 0.96875}, .eps = 0x1p-16, .weight_decay = 0x1p-4};

/// Outputs and first gradients, then a step for each loss of the file, and the parameters after the last. `trained` is
/// what these may differ by, and `tolerance` is for all before.
template <class Trainer, class Optimizer>
void check_golden_tokens(const ls::safetensors_file& golden, const std::string& name, const Optimizer& optimizer,
                         std::uint32_t vocabulary, double tolerance, double trained) {
  constexpr std::int64_t batch = 7;
  constexpr std::int64_t length = Trainer::model_type::input_dims.size();
  INFO(name << ", " << Trainer::replicas << " replicas");
  Trainer trainer(optimizer);
  for (const auto& parameter : trainer.parameters())
    REQUIRE(golden.contains(name + "/grad/" + std::string(parameter.name())));
  start_as_golden(trainer);
  const auto tokens = golden_labels(1, batch * length, vocabulary);
  auto targets = golden_labels(2, batch * length, vocabulary + 1);
  for (auto& target : targets)
    if (target == vocabulary) target = -100;

  CHECK(relative_difference(trainer.forward(tokens), golden.values_f64(name + "/output")) <= tolerance);
  const auto losses = golden.values_f64(name + "/losses");
  REQUIRE(losses.size() >= 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(tokens, targets), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients()) {
      INFO(gradient.name());
      CHECK(relative_difference(gradient.values(), golden.values_f64(name + "/grad/" + std::string(gradient.name()))) <=
            tolerance);
    }
  }
  for (const auto& parameter : trainer.parameters()) {
    INFO(parameter.name());
    CHECK(relative_difference(parameter.values(),
                              golden.values_f64(name + "/trained/" + std::string(parameter.name()))) <= trained);
  }
}

}  // namespace lockstep_test
