// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/batch_norm.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"
#include "golden/residual_net.hpp"
#include "support/tap_layer.hpp"

// Batch normalisation against PyTorch's, which generate_norms.py has run, and a state dict that PyTorch has saved.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using arriving = tap<0>;
using leaving = tap<1>;

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

const ls::safetensors_file& golden() {
  static const auto file = golden_file("norms");
  return file;
}

// A layer without change learns in front, so that a gradient comes that far.
template <ls::dims In, class Norm>
struct case_model;
template <ls::dims In, class Norm>
  requires(In.rank == 3)
struct case_model<In, Norm> {
  using type =
      ls::model<ls::sequential<ls::named<"first", ls::conv2d<In[0], 1>>, arriving, ls::named<"norm", Norm>, leaving>,
                ls::input<In[0], In[1], In[2]>, ls::mean_squared_error>;
};
template <ls::dims In, class Norm>
  requires(In.rank == 1)
struct case_model<In, Norm> {
  using type =
      ls::model<ls::sequential<ls::named<"first", ls::linear<In[0]>>, arriving, ls::named<"norm", Norm>, leaving>,
                ls::input<In[0]>, ls::mean_squared_error>;
};

template <ls::dims In, class Norm, class B>
void check_layer(const std::string& name, std::uint64_t stream, std::int64_t samples, double tolerance) {
  using model = typename case_model<In, Norm>::type;
  using value = typename B::value_type;
  INFO(name << " on " << B::name);
  ls::data_parallel<model, 1, B> trainer({.learning_rate = 0});
  const std::int64_t channels = In[0];
  for (const auto& parameter : trainer.parameters()) {
    std::vector<value> values(static_cast<std::size_t>(parameter.size()));
    if (parameter.name() == "first.weight")
      for (std::int64_t c = 0; c < channels; ++c) values[static_cast<std::size_t>(c * channels + c)] = 1;
    if (parameter.name() == "norm.weight") values = as<value>(golden_symmetric(stream + 20, channels));
    if (parameter.name() == "norm.bias") values = as<value>(golden_symmetric(stream + 21, channels));
    parameter.assign(values);
  }
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64(name + "/" + what)) <= tolerance);
  };
  for (std::uint64_t number = 0; number < 4; ++number) {
    auto x = as<value>(golden_symmetric(stream + number, samples * In.size()));
    for (value& v : x) v += static_cast<value>(number);
    const typename decltype(trainer)::input_view view(x.data(), samples);
    const std::string at = std::to_string(number) + "/";
    if (number == 3) {
      check(at + "output", trainer.forward(view));
      continue;
    }
    arriving::forget();
    leaving::forget();
    static_cast<void>(trainer.step(view, as<value>(golden_symmetric(stream + 10 + number, samples * In.size()))));
    check(at + "output", leaving::values);
    check(at + "grad_x", arriving::gradients);
    check(at + "running_mean", trainer.buffers().at("norm.running_mean").values());
    check(at + "running_var", trainer.buffers().at("norm.running_var").values());
    if (golden().contains(name + "/" + at + "grad_weight")) {
      check(at + "grad_weight", trainer.gradients().at("norm.weight").values());
      check(at + "grad_bias", trainer.gradients().at("norm.bias").values());
    }
  }
  CHECK(trainer.buffers().at("norm.num_batches_tracked").values() == std::vector<value>{3});
}

template <ls::dims In, class Norm>
void check_layers(const std::string& name, std::uint64_t stream, std::int64_t samples) {
  check_layer<In, Norm, ls::reference<double>>(name, stream, samples, 1e-10);
  check_layer<In, Norm, ls::cpu>(name, stream, samples, 1e-5);
}

using residual_net = ls::model<residual_layers, ls::input<3, 8, 8>, ls::mean_squared_error>;
constexpr std::int64_t batch = 11;

template <class Trainer>
void check_training(double tolerance) {
  using value = typename Trainer::value_type;
  INFO(Trainer::replicas << " replicas");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  for (const auto& parameter : trainer.parameters())
    REQUIRE(golden().contains("model/grad/" + std::string(parameter.name())));
  start_as_golden(trainer);
  const auto x = as<value>(golden_symmetric(1, batch * residual_net::input_dims.size()));
  const auto targets = as<value>(golden_symmetric(3, batch * 5));
  const typename Trainer::input_view view(x.data(), batch);
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64("model/" + what)) <= tolerance);
  };
  const auto losses = golden().values_f64("model/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(view, targets), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients()) check("grad/" + std::string(gradient.name()), gradient.values());
  }
  std::size_t tensors = 0;
  for (const auto& each : trainer.state()) {
    check("trained/" + std::string(each.name()), each.values());
    ++tensors;
  }
  CHECK(tensors == static_cast<std::size_t>(
                       std::count_if(golden().names().begin(), golden().names().end(),
                                     [](const std::string& name) { return name.starts_with("model/trained/"); })));
  check("inferred", trainer.forward(view));
}

}  // namespace

TEST_CASE("batch_norm2d computes what BatchNorm2d does", "[golden][batch_norm]") {
  constexpr ls::dims in{5, 4, 3};
  check_layers<in, ls::batch_norm2d<>>("bn2d/plain", 90000, 6);
  check_layers<in, ls::batch_norm2d<ls::epsilon<0.125>>>("bn2d/eps", 90100, 6);
  check_layers<in, ls::batch_norm2d<ls::momentum<0.25>>>("bn2d/momentum", 90200, 6);
  check_layers<in, ls::batch_norm2d<ls::cumulative>>("bn2d/cumulative", 90300, 6);
  check_layers<in, ls::batch_norm2d<ls::no_affine>>("bn2d/no_affine", 90400, 6);
  check_layers<ls::dims{24, 3, 3}, ls::batch_norm2d<ls::epsilon<0.001>>>("bn2d/wide", 90500, 5);
  check_layers<ls::dims{32, 5, 2}, ls::batch_norm2d<ls::no_affine, ls::cumulative>>("bn2d/widest", 90600, 3);
}

TEST_CASE("batch_norm1d computes what BatchNorm1d does", "[golden][batch_norm]") {
  check_layers<ls::dims{6}, ls::batch_norm1d<>>("bn1d/plain", 91000, 9);
  check_layers<ls::dims{6}, ls::batch_norm1d<ls::momentum<0.5>, ls::epsilon<0.5>>>("bn1d/eps_momentum", 91100, 9);
  check_layers<ls::dims{16}, ls::batch_norm1d<ls::cumulative, ls::no_affine>>("bn1d/cumulative_no_affine", 91200, 9);
}

TEST_CASE("a residual network with batch normalisation trains as in PyTorch", "[golden][batch_norm]") {
  check_training<ls::data_parallel<residual_net, 1, ls::reference<double>>>(1e-10);
  check_training<ls::data_parallel<residual_net, 3, ls::reference<double>>>(1e-10);
  check_training<ls::data_parallel<residual_net, 1>>(1e-5);
  check_training<ls::data_parallel<residual_net, 3>>(1e-5);
}

TEST_CASE("a state dict that PyTorch has saved is loaded, running statistics included", "[golden][batch_norm]") {
  ls::data_parallel<residual_net, 2> trainer;
  ls::load_safetensors(trainer, std::string(LOCKSTEP_TEST_DATA_DIR) + "/golden/norms_model.safetensors");
  for (const auto& each : trainer.state()) {
    INFO(each.name());
    CHECK(largest_difference(each.values(), golden().values_f64("model/trained/" + std::string(each.name()))) <= 1e-7);
  }
  CHECK(trainer.buffers().at("bn1.num_batches_tracked").values() == std::vector<float>{5});
  const auto x = golden_symmetric(1, batch * residual_net::input_dims.size());
  const decltype(trainer)::input_view view(x.data(), batch);
  CHECK(relative_difference(trainer.forward(view), golden().values_f64("model/inferred")) <= 1e-5);
}
