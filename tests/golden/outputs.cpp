// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/graphs.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using kind_head = unnamed<ls::sequential<ls::flatten, ls::named<"kind", ls::linear<4>>>>;
using box_head =
    ls::named<"box",
              ls::sequential<ls::named<"pool", ls::max_pool2d<2>>, ls::named<"flat", ls::flatten>,
                             ls::named<"0", ls::linear<5>>, ls::named<"1", ls::relu>, ls::named<"2", ls::linear<4>>>>;
using mask_head = ls::named<"mask", golden_conv<1>>;
using detector = ls::model<
    ls::sequential<ls::named<"conv1", golden_conv<4>>, ls::relu, unnamed<ls::outputs<kind_head, box_head, mask_head>>>,
    ls::input<2, 4, 6>,
    ls::losses<ls::cross_entropy, ls::weighted<0.5, ls::mean_squared_error>, ls::weighted<3, ls::mean_squared_error>>>;

template <class Trainer>
void check_detector(double tolerance) {
  using value = typename Trainer::value_type;
  INFO(Trainer::replicas << " replicas");
  static const auto golden = golden_file("outputs");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F},
                  typename detector::arguments::loss{{.label_smoothing = 0.125F}, {}, {}});
  for (const auto& parameter : trainer.parameters()) REQUIRE(golden.contains("grad/" + std::string(parameter.name())));
  CHECK(start_as_golden(trainer) == 110);
  const auto x = as<value>(golden_symmetric(1, graph_batch * detector::input_dims.size()));
  const std::vector<int> kinds{0, 3, -100, 1, 2, -100, 3};
  const auto boxes = as<value>(golden_symmetric(3, graph_batch * 4));
  const auto masks = as<value>(golden_symmetric(4, graph_batch * 24));

  const auto [kind, box, mask] = trainer.forward(x);
  CHECK(relative_difference(kind, golden.values_f64("output/kind")) <= tolerance);
  CHECK(relative_difference(box, golden.values_f64("output/box")) <= tolerance);
  CHECK(relative_difference(mask, golden.values_f64("output/mask")) <= tolerance);

  const auto losses = golden.values_f64("losses");  // of each step: the sum, then its parts
  REQUIRE(losses.size() == 5 * 4);
  for (std::size_t step = 0; step < 5; ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(x, std::tie(kinds, boxes, masks)), losses[4 * step], tolerance));
    for (std::size_t k = 0; k < 3; ++k) CHECK(same_loss(trainer.losses()[k], losses[4 * step + 1 + k], tolerance));
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

TEST_CASE("a network with several outputs trains as in PyTorch", "[golden][outputs]") {
  check_detector<ls::data_parallel<detector, 1, ls::reference<double>>>(1e-10);
  check_detector<ls::data_parallel<detector, 1>>(1e-5);
  check_detector<ls::data_parallel<detector, 3>>(1e-5);
}
