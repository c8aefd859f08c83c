// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"
#include "golden/tokens.hpp"
#include "models/vit.hpp"

// A small vision transformer against PyTorch's, which generate_vit.py has run.

namespace golden_vit {

namespace ls = lockstep;
using namespace lockstep_test;

using vit = ls::model<models::vit<4, 6, 2, 2, 16, 5>, ls::input<3, 8, 12>, ls::cross_entropy>;

template <class Trainer>
void check_vit(double tolerance, double trained) {
  using value = typename Trainer::value_type;
  constexpr std::int64_t batch = 5;
  INFO(Trainer::replicas << " replicas");
  const auto golden = golden_file("vit");
  Trainer trainer(tokens_adamw);
  std::vector<std::string> names;  // streams are in their order
  for (const auto& parameter : trainer.parameters()) names.emplace_back(parameter.name());
  std::sort(names.begin(), names.end());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& parameter = trainer.parameters().at(names[i]);
    const ls::dims shape = parameter.shape();
    const auto values =
        golden_symmetric(100 + i, parameter.size(), fan_in_bound(shape.rank > 1 ? parameter.size() / shape[0] : 4));
    parameter.assign(std::vector<value>(values.begin(), values.end()));
  }
  const auto drawn = golden_symmetric(1, batch * vit::input_dims.size());
  const std::vector<value> pictures(drawn.begin(), drawn.end());
  const typename Trainer::input_view x(pictures.data(), batch);
  const auto labels = golden_labels(2, batch, 5);
  CHECK(relative_difference(trainer.forward(x), golden.values_f64("vit/output")) <= tolerance);
  const auto losses = golden.values_f64("vit/losses");
  REQUIRE(losses.size() == 20);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(x, labels), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients())
      check_golden_gradient(golden, "vit/grad/" + std::string(gradient.name()), gradient.values(), tolerance);
  }
  for (const auto& parameter : trainer.parameters())
    check_golden_gradient(golden, "vit/trained/" + std::string(parameter.name()), parameter.values(), trained);
}

TEST_CASE("a vision transformer trains under adamw as in PyTorch", "[golden][vit]") {
  check_vit<ls::data_parallel<vit, 1, ls::reference<double>, ls::adamw>>(1e-10, 1e-10);
  check_vit<ls::data_parallel<vit, 1, ls::adamw>>(1e-5, 1e-5);
  check_vit<ls::data_parallel<vit, 2, ls::adamw>>(1e-5, 1e-5);
  check_vit<ls::data_parallel<vit, 3, ls::adamw>>(1e-5, 1e-5);
  check_vit<ls::data_parallel<vit, 4, ls::adamw>>(1e-5, 1e-5);
}

// Pictures lie channels-last on the CPU, so that no element moves between the convolution and the first layer.
TEST_CASE("a vision transformer changes no order but that of its input", "[vit]") {
  using tiny = ls::model<models::vit_tiny<10>, ls::input<3, 32, 32>, ls::cross_entropy>;
  STATIC_REQUIRE(tiny::output_dims == ls::dims{10});
  const auto& plan = tiny::plan<ls::cpu>;
  REQUIRE(plan.node(1).leaf == 0);
  for (int i = 1; i < plan.node_count; ++i) {
    CHECK(plan.node(i).kind != ls::node_kind::to_plain);
    CHECK(plan.node(i).kind != ls::node_kind::to_channels_last);
  }
}

}  // namespace golden_vit
