// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/model/model.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/repeat.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/tied.hpp>
#include <lockstep/optim/sgd.hpp>

#include "golden/golden.hpp"

/// \file
/// Networks that are no chains, and how a trainer of any backend is held against PyTorch's modules of the same names.

namespace lockstep_test {

template <int Channels, int Stride = 1>
using golden_conv = ls::conv2d<Channels, 3, ls::stride<Stride>, ls::padding<1>>;

template <int Channels, int Stride, class Shortcut>
using golden_block =
    ls::sequential<ls::named<"", ls::residual<ls::sequential<ls::named<"conv1", golden_conv<Channels, Stride>>,
                                                             ls::relu, ls::named<"conv2", golden_conv<Channels>>>,
                                              Shortcut>>,
                   ls::relu>;
using downsample = ls::named<"downsample", ls::sequential<ls::conv2d<6, 1, ls::stride<2>>>>;
using golden_residual = ls::model<ls::sequential<ls::named<"conv1", golden_conv<4>>, ls::relu,
                                                 ls::named<"layer1", ls::repeat<2, golden_block<4, 1, ls::identity>>>,
                                                 ls::named<"layer2", ls::sequential<golden_block<6, 2, downsample>>>,
                                                 ls::avg_pool2d<3>, ls::flatten, ls::named<"fc", ls::linear<6, 5>>>,
                                  ls::input<3, 6, 6>, ls::mean_squared_error>;

template <class Layers>
using unnamed = ls::named<"", Layers>;
using golden_bottom =
    unnamed<ls::sequential<ls::named<"bottom", ls::conv2d<5, 3, ls::padding<2>, ls::dilation<2>>>, ls::relu>>;
using golden_inner = unnamed<
    ls::sequential<ls::max_pool2d<3, ls::stride<1>, ls::padding<1>>, ls::named<"down", golden_conv<6>>, ls::relu,
                   unnamed<ls::concat<ls::identity, golden_bottom>>, ls::named<"up", golden_conv<4>>, ls::relu>>;
using golden_unet =
    ls::model<ls::sequential<ls::named<"first", golden_conv<4>>, ls::relu,
                             unnamed<ls::concat<ls::identity, golden_inner>>, ls::named<"last", ls::conv2d<2, 1>>>,
              ls::input<2, 6, 8>, ls::mean_squared_error>;

using golden_shared = ls::tied<"shared", ls::linear<6>>;
using golden_tied = ls::model<ls::sequential<ls::named<"first", ls::linear<6>>, golden_shared, ls::relu, golden_shared,
                                             ls::residual<golden_shared>, ls::relu, ls::named<"last", ls::linear<3>>>,
                              ls::input<5>, ls::mean_squared_error>;

inline constexpr std::int64_t graph_batch = 7;

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

template <class Trainer>
void check_golden_graph(const std::string& name, double tolerance) {
  using model = typename Trainer::model_type;
  using value = typename Trainer::value_type;
  INFO(name << ", " << Trainer::replicas << " replicas");
  static const auto golden = golden_file("graphs");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  for (const auto& parameter : trainer.parameters())
    REQUIRE(golden.contains(name + "/grad/" + std::string(parameter.name())));
  start_as_golden(trainer);
  const auto x = as<value>(golden_symmetric(1, graph_batch * model::input_dims.size()));
  const auto targets = as<value>(golden_symmetric(3, graph_batch * model::output_dims.size()));
  const typename Trainer::input_view view(x.data(), graph_batch);

  CHECK(relative_difference(trainer.forward(view), golden.values_f64(name + "/output")) <= tolerance);
  const auto losses = golden.values_f64(name + "/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(view, targets), losses[step], tolerance));
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

}  // namespace lockstep_test
