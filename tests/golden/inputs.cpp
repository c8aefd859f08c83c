// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/graphs.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using image_branch = ls::named<
    "image",
    ls::from<"image", ls::sequential<golden_conv<4>, ls::relu, ls::max_pool2d<2>, ls::flatten, ls::linear<6>>>>;
using word_branch = ls::named<"words", ls::from<"words", ls::sequential<ls::linear<6>, ls::relu>>>;
using body = ls::sequential<unnamed<ls::sum<image_branch, word_branch>>, ls::relu, ls::named<"body", ls::linear<4>>>;
using reader =
    ls::model<ls::sequential<
                  unnamed<ls::concat<unnamed<body>, ls::from<"words">, ls::sequential<ls::from<"image">, ls::flatten>>>,
                  ls::named<"head", ls::linear<3>>>,
              ls::inputs<ls::named<"image", ls::input<2, 4, 6>>, ls::named<"words", ls::input<5>>>,
              ls::mean_squared_error>;

template <class Trainer>
void check_reader(double tolerance) {
  using value = typename Trainer::value_type;
  INFO(Trainer::replicas << " replicas");
  static const auto golden = golden_file("inputs");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  for (const auto& parameter : trainer.parameters()) REQUIRE(golden.contains("grad/" + std::string(parameter.name())));
  CHECK(start_as_golden(trainer) == 110);
  const auto image = as<value>(golden_symmetric(1, graph_batch * 48));
  const auto words = as<value>(golden_symmetric(2, graph_batch * 5));
  const auto targets = as<value>(golden_symmetric(3, graph_batch * 3));
  const auto batch = std::tie(image, words);

  CHECK(relative_difference(trainer.forward(batch), golden.values_f64("output")) <= tolerance);
  const auto losses = golden.values_f64("losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(batch, targets), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients()) {
      INFO(gradient.name());
      CHECK(relative_difference(gradient.values(), golden.values_f64("grad/" + std::string(gradient.name()))) <=
            tolerance);
    }
  }
  for (const auto& parameter : trainer.parameters()) {
    INFO(parameter.name());
    CHECK(relative_difference(parameter.values(), golden.values_f64("trained/" + std::string(parameter.name()))) <=
          tolerance);
  }
}

}  // namespace

TEST_CASE("a network with several inputs trains as in PyTorch", "[golden][inputs]") {
  check_reader<ls::data_parallel<reader, 1, ls::reference<double>>>(1e-10);
  check_reader<ls::data_parallel<reader, 1>>(1e-5);
  check_reader<ls::data_parallel<reader, 3>>(1e-5);
}
