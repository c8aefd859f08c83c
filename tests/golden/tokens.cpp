// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/graphs.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace golden_tokens {

constexpr std::uint32_t vocabulary = 11;
constexpr std::int64_t length = 5;

using learned = ls::model<ls::sequential<ls::tied<"wte", ls::embedding<vocabulary, 6, ls::padding_index<3>>>,
                                         ls::named<"wpe", ls::learned_positions<7>>, ls::named<"body", ls::linear<6>>,
                                         ls::tanh, ls::tied<"wte", ls::linear_without_bias<vocabulary>>>,
                          ls::tokens<length>, ls::cross_entropy>;
using waves = ls::model<ls::sequential<ls::named<"embedding", ls::embedding<vocabulary, 6>>, ls::sinusoidal_positions,
                                       ls::tanh, ls::named<"head", ls::linear<vocabulary>>>,
                        ls::tokens<length>, ls::cross_entropy>;

template <class Trainer>
void check_tokens(const std::string& name, double tolerance) {
  INFO(name << ", " << Trainer::replicas << " replicas");
  static const auto golden = golden_file("tokens");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  for (const auto& parameter : trainer.parameters())
    REQUIRE(golden.contains(name + "/grad/" + std::string(parameter.name())));
  start_as_golden(trainer);
  const auto tokens = golden_labels(1, graph_batch * length, vocabulary);
  auto targets = golden_labels(2, graph_batch * length, vocabulary + 1);
  for (auto& target : targets)
    if (target == vocabulary) target = -100;

  CHECK(relative_difference(trainer.forward(tokens), golden.values_f64(name + "/output")) <= tolerance);
  const auto losses = golden.values_f64(name + "/losses");
  REQUIRE(losses.size() == 5);
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
                              golden.values_f64(name + "/trained/" + std::string(parameter.name()))) <= tolerance);
  }
}

TEST_CASE("networks that read tokens train as in PyTorch", "[golden][tokens]") {
  check_tokens<ls::data_parallel<learned, 1, ls::reference<double>>>("learned", 1e-10);
  check_tokens<ls::data_parallel<learned, 1>>("learned", 1e-5);
  check_tokens<ls::data_parallel<learned, 3>>("learned", 1e-5);
  check_tokens<ls::data_parallel<waves, 2>>("waves", 1e-5);
}

}  // namespace golden_tokens
