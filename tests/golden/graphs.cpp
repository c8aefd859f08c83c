// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

// Networks that are no chains, as PyTorch's modules of the same names compute and train them.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

template <int Channels, int Stride = 1>
using conv3 = ls::conv2d<Channels, 3, ls::stride<Stride>, ls::padding<1>>;

template <int Channels, int Stride, class Shortcut>
using block = ls::sequential<ls::named<"", ls::residual<ls::sequential<ls::named<"conv1", conv3<Channels, Stride>>,
                                                                       ls::relu, ls::named<"conv2", conv3<Channels>>>,
                                                        Shortcut>>,
                             ls::relu>;
using downsample = ls::named<"downsample", ls::sequential<ls::conv2d<6, 1, ls::stride<2>>>>;
using residual_net = ls::model<ls::sequential<ls::named<"conv1", conv3<4>>, ls::relu,
                                              ls::named<"layer1", ls::repeat<2, block<4, 1, ls::identity>>>,
                                              ls::named<"layer2", ls::sequential<block<6, 2, downsample>>>,
                                              ls::avg_pool2d<3>, ls::flatten, ls::named<"fc", ls::linear<6, 5>>>,
                               ls::input<3, 6, 6>, ls::mean_squared_error>;

template <class Layers>
using unnamed = ls::named<"", Layers>;
using bottom =
    unnamed<ls::sequential<ls::named<"bottom", ls::conv2d<5, 3, ls::padding<2>, ls::dilation<2>>>, ls::relu>>;
using inner =
    unnamed<ls::sequential<ls::max_pool2d<3, ls::stride<1>, ls::padding<1>>, ls::named<"down", conv3<6>>, ls::relu,
                           unnamed<ls::concat<ls::identity, bottom>>, ls::named<"up", conv3<4>>, ls::relu>>;
using unet = ls::model<ls::sequential<ls::named<"first", conv3<4>>, ls::relu, unnamed<ls::concat<ls::identity, inner>>,
                                      ls::named<"last", ls::conv2d<2, 1>>>,
                       ls::input<2, 6, 8>, ls::mean_squared_error>;

using shared = ls::tied<"shared", ls::linear<6>>;
using tied = ls::model<ls::sequential<ls::named<"first", ls::linear<6>>, shared, ls::relu, shared, ls::residual<shared>,
                                      ls::relu, ls::named<"last", ls::linear<3>>>,
                       ls::input<5>, ls::mean_squared_error>;

constexpr std::int64_t batch = 7;

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

template <class Trainer>
void check_trainer(const std::string& name, double tolerance) {
  using model = typename Trainer::model_type;
  using value = typename Trainer::value_type;
  INFO(name << ", " << Trainer::replicas << " replicas");
  static const auto golden = golden_file("graphs");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  std::uint64_t stream = 100;
  float bound = 0;
  for (const auto& parameter : trainer.parameters()) {
    REQUIRE(golden.contains(name + "/grad/" + std::string(parameter.name())));
    if (parameter.name().ends_with("weight")) bound = fan_in_bound(parameter.size() / parameter.shape()[0]);
    parameter.assign(as<value>(golden_symmetric(stream++, parameter.size(), bound)));
  }
  const auto x = as<value>(golden_symmetric(1, batch * model::input_dims.size()));
  const auto targets = as<value>(golden_symmetric(3, batch * model::output_dims.size()));
  const typename Trainer::input_view view(x.data(), batch);

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

template <class Model>
void check_model(const std::string& name) {
  check_trainer<ls::data_parallel<Model, 1, ls::reference<double>>>(name, 1e-10);
  check_trainer<ls::data_parallel<Model, 1>>(name, 1e-5);
  check_trainer<ls::data_parallel<Model, 3>>(name, 1e-5);
}

}  // namespace

TEST_CASE("a residual network trains as in PyTorch", "[golden][graph]") { check_model<residual_net>("residual"); }
TEST_CASE("a network of nested concats trains as in PyTorch", "[golden][graph]") { check_model<unet>("unet"); }
TEST_CASE("a network of tied layers trains as in PyTorch", "[golden][graph]") { check_model<tied>("tied"); }
