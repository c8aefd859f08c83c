// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"
#include "models/autoencoder.hpp"
#include "models/unet_small.hpp"
#include "nn/support.hpp"
#include "support/tap_layer.hpp"

// Layers that change the extents of pictures and signals, and models of them, against PyTorch's, which
// generate_pictures.py has run.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using arriving = tap<2>;
using leaving = tap<3>;

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

const ls::safetensors_file& golden() {
  static const auto file = golden_file("pictures");
  return file;
}

// A layer without change learns in front, so that a gradient comes that far.
template <ls::dims In, class Layer>
struct case_model;
template <ls::dims In, class Layer>
  requires(In.rank == 3)
struct case_model<In, Layer> {
  using type =
      ls::model<ls::sequential<ls::named<"first", ls::conv2d<In[0], 1>>, arriving, ls::named<"layer", Layer>, leaving>,
                ls::input<In[0], In[1], In[2]>, ls::mean_squared_error>;
};
template <ls::dims In, class Layer>
  requires(In.rank == 2)
struct case_model<In, Layer> {
  using type =
      ls::model<ls::sequential<ls::named<"first", ls::conv1d<In[0], 1>>, arriving, ls::named<"layer", Layer>, leaving>,
                ls::input<In[0], In[1]>, ls::mean_squared_error>;
};

template <ls::dims In, class Layer, class B>
void check_layer(const std::string& name, std::uint64_t stream, std::int64_t samples, double tolerance) {
  using model = typename case_model<In, Layer>::type;
  INFO(name << " on " << B::name);
  doubles parameters(static_cast<std::size_t>(In[0] * In[0] + In[0]));  // the first layer's weight and bias
  for (std::int64_t c = 0; c < In[0]; ++c) parameters[static_cast<std::size_t>(c * In[0] + c)] = 1;
  constexpr ls::parameter_list own = Layer::parameters(In);
  for (int i = 0; i < own.count; ++i) {
    const auto values = golden_symmetric(stream + 1 + static_cast<std::uint64_t>(i), own.items[i].shape.size());
    parameters.insert(parameters.end(), values.begin(), values.end());
  }
  runner<model, B> run({}, as<double>(golden_symmetric(stream, samples * In.size())),
                       as<double>(golden_symmetric(stream + 10, samples * model::output_dims.size())),
                       {.samples = samples});
  arriving::forget();
  leaving::forget();
  doubles gradients(parameters.size());
  static_cast<void>(run.train(parameters, gradients, false));
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64(name + "/" + what)) <= tolerance);
  };
  check("output", leaving::values);
  check("output", run.forward(parameters));
  check("grad_x", arriving::gradients);
  auto from = gradients.begin() + (In[0] * In[0] + In[0]);
  for (int i = 0; i < own.count; ++i) {
    const auto to = from + own.items[i].shape.size();
    check("grad_" + std::string(own.items[i].name), doubles(from, to));
    from = to;
  }
  CHECK(from == gradients.end());
  const auto stored = std::count_if(golden().names().begin(), golden().names().end(),
                                    [&](const std::string& each) { return each.starts_with(name + "/grad_"); });
  CHECK(stored == 1 + own.count);
}

/// The layers of the file, each at its position there.
struct cases {
  std::uint64_t stream = 95000;

  template <ls::dims In, class Layer>
  void check(const std::string& name, std::int64_t samples) {
    check_layer<In, Layer, ls::reference<double>>(name, stream, samples, 1e-10);
    check_layer<In, Layer, ls::cpu>(name, stream, samples, 1e-5);
    stream += 100;
  }
};

template <class Trainer>
void check_training(const std::string& name, std::int64_t batch, double tolerance) {
  using model = typename Trainer::model_type;
  using value = typename Trainer::value_type;
  INFO(name << ", " << Trainer::replicas << " replicas");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  start_as_golden(trainer);
  const auto x = as<value>(golden_symmetric(1, batch * model::input_dims.size()));
  const auto targets = as<value>(golden_symmetric(3, batch * model::output_dims.size()));
  const typename Trainer::input_view view(x.data(), batch);
  const auto losses = golden().values_f64(name + "/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(view, targets), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients())
      check_golden_gradient(golden(), name + "/grad/" + std::string(gradient.name()), gradient.values(), tolerance);
  }
  for (const auto& each : trainer.state())
    if (const std::string trained = name + "/trained/" + std::string(each.name());
        golden().contains(trained) || golden().contains(trained + "/norm"))
      check_golden_gradient(golden(), trained, each.values(), tolerance);
  CHECK(relative_difference(trainer.forward(view), golden().values_f64(name + "/inferred")) <= tolerance);
}

template <class Model>
void check_model(const std::string& name, std::int64_t batch) {
  check_training<ls::data_parallel<Model, 1, ls::reference<double>>>(name, batch, 1e-10);
  check_training<ls::data_parallel<Model, 1>>(name, batch, 1e-5);
  check_training<ls::data_parallel<Model, 3>>(name, batch, 1e-5);
}

using unet = ls::model<models::unet_small<3, 4>, ls::input<2, 8, 16>, ls::mean_squared_error>;
using autoencoder = ls::model<models::autoencoder<12>, ls::input<1, 28, 28>, ls::mean_squared_error>;

template <class Layers>
using unnamed = ls::named<"", Layers>;
using signals = ls::model<
    ls::sequential<
        ls::named<"first", ls::conv1d<8, 5, ls::padding<2>>>, ls::relu, ls::max_pool1d<2>,
        unnamed<ls::residual<ls::named<"body", ls::conv1d<8, 3, ls::padding<1>>>>>, ls::relu,
        unnamed<ls::concat<
            unnamed<ls::sequential<ls::named<"left", ls::conv1d<4, 3, ls::padding<1>>>, ls::relu>>,
            unnamed<ls::sequential<ls::named<"right", ls::conv1d<6, 3, ls::padding<2>, ls::dilation<2>>>, ls::relu>>>>,
        ls::avg_pool1d<2>, ls::flatten, ls::named<"fc", ls::linear<4>>>,
    ls::input<3, 20>, ls::mean_squared_error>;

}  // namespace

TEST_CASE("layers that change the extents of pictures and signals compute what PyTorch's do", "[golden][pictures]") {
  using ls::dims;
  using ls::extent2;
  cases all;
  all.check<dims{3, 4, 5}, ls::conv_transpose2d<4, 3>>("conv_transpose2d/plain", 3);
  all.check<dims{8, 4, 3}, ls::conv_transpose2d<16, 2, ls::stride<2>>>("conv_transpose2d/stride", 3);
  all.check<dims{16, 5, 5}, ls::conv_transpose2d<5, 3, ls::padding<1>>>("conv_transpose2d/padding", 2);
  all.check<dims{4, 4, 4}, ls::conv_transpose2d<3, 3, ls::stride<2>, ls::padding<1>, ls::output_padding<1>>>(
      "conv_transpose2d/output_padding", 3);
  all.check<dims{3, 4, 3}, ls::conv_transpose2d<4, 3, ls::dilation<extent2{2, 3}>>>("conv_transpose2d/dilation", 2);
  all.check<dims{6, 4, 4}, ls::conv_transpose2d<4, 3, ls::groups<2>>>("conv_transpose2d/groups", 2);
  all.check<dims{8, 3, 3}, ls::conv_transpose2d<8, 2, ls::stride<2>, ls::groups<8>>>("conv_transpose2d/depthwise", 2);
  all.check<dims{3, 4, 4}, ls::conv_transpose2d<4, 3, ls::no_bias>>("conv_transpose2d/no_bias", 2);
  all.check<dims{4, 4, 3}, ls::conv_transpose2d<6, extent2{3, 2}, ls::stride<extent2{3, 2}>, ls::padding<extent2{1, 0}>,
                                                ls::output_padding<extent2{2, 1}>, ls::dilation<extent2{1, 2}>,
                                                ls::groups<2>, ls::no_bias>>("conv_transpose2d/all", 3);
  all.check<dims{3, 9}, ls::conv1d<4, 3>>("conv1d/plain", 3);
  all.check<dims{3, 12}, ls::conv1d<16, 5, ls::stride<2>, ls::padding<2>>>("conv1d/stride_padding", 3);
  all.check<dims{16, 11}, ls::conv1d<8, 3, ls::dilation<3>>>("conv1d/dilation", 2);
  all.check<dims{6, 9}, ls::conv1d<4, 3, ls::groups<2>>>("conv1d/groups", 2);
  all.check<dims{3, 7}, ls::conv1d<4, 2, ls::no_bias>>("conv1d/no_bias", 2);
  all.check<dims{4, 9}, ls::max_pool1d<2>>("max_pool1d/plain", 3);
  all.check<dims{8, 10}, ls::max_pool1d<3, ls::stride<2>, ls::padding<1>>>("max_pool1d/stride_padding", 3);
  all.check<dims{4, 10}, ls::avg_pool1d<3>>("avg_pool1d/plain", 3);
  all.check<dims{8, 9}, ls::avg_pool1d<3, ls::stride<2>, ls::padding<1>>>("avg_pool1d/padding", 3);
  all.check<dims{4, 9}, ls::avg_pool1d<3, ls::stride<2>, ls::padding<1>, ls::exclude_padding>>(
      "avg_pool1d/exclude_padding", 3);
  all.check<dims{16, 7, 5}, ls::adaptive_avg_pool2d<1>>("adaptive_avg_pool2d/global", 3);
  all.check<dims{5, 7, 9}, ls::adaptive_avg_pool2d<3, 4>>("adaptive_avg_pool2d/shared", 3);
  all.check<dims{8, 3, 10}, ls::adaptive_avg_pool2d<7>>("adaptive_avg_pool2d/wide", 2);
  all.check<dims{4, 3, 5}, ls::upsample<2>>("upsample/nearest", 3);
  all.check<dims{16, 3, 5}, ls::upsample<2, ls::bilinear>>("upsample/bilinear", 3);
  all.check<dims{5, 4, 3}, ls::upsample<extent2{1, 3}, ls::bilinear>>("upsample/bilinear_uneven", 3);
  all.check<dims{8, 3, 4}, ls::upsample<3, ls::bilinear, ls::align_corners>>("upsample/bilinear_corners", 3);
  all.check<dims{4, 8, 7}, ls::upsample_to<extent2{5, 12}>>("upsample_to/nearest", 3);
  all.check<dims{4, 8, 7}, ls::upsample_to<extent2{5, 12}, ls::bilinear>>("upsample_to/bilinear", 3);
  all.check<dims{4, 8, 7}, ls::upsample_to<extent2{5, 12}, ls::bilinear, ls::align_corners>>(
      "upsample_to/bilinear_corners", 3);
  all.check<dims{5, 2, 3}, ls::pixel_rows>("pixel_rows", 3);
  all.check<dims{7, 19}, ls::mean_rows>("mean_rows", 3);
}

TEST_CASE("a U-Net trains as in PyTorch", "[golden][pictures]") { check_model<unet>("unet_small", 7); }
TEST_CASE("an autoencoder trains as in PyTorch", "[golden][pictures]") { check_model<autoencoder>("autoencoder", 5); }
TEST_CASE("a network of signals trains as in PyTorch", "[golden][pictures]") { check_model<signals>("signals", 7); }
