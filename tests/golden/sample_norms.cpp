// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"
#include "support/tap_layer.hpp"

// Normalisation of samples, and linear on rows, against PyTorch's, which generate_sample_norms.py has run.

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
  static const auto file = golden_file("sample_norms");
  return file;
}

template <ls::dims In>
using input_of = std::conditional_t<
    In.rank == 1, ls::input<In.extent[0]>,
    std::conditional_t<In.rank == 2, ls::input<In.extent[0], (In.rank > 1 ? In.extent[1] : 1)>,
                       ls::input<In.extent[0], (In.rank > 1 ? In.extent[1] : 1), (In.rank > 2 ? In.extent[2] : 1)>>>;

/// A layer that learns and changes nothing.
template <ls::dims In>
using same = std::conditional_t<In.rank == 3, ls::conv2d<In.extent[0], 1>,
                                ls::linear<(In.rank == 2 ? In.extent[1] : In.extent[0])>>;

/// What learns in front makes a gradient go through `arriving`. A picture gets to the layer as `arriving` hands it on,
/// in the user's order, or through a convolution, in the backend's.
template <ls::dims In, class Norm, bool ThroughSame>
using case_model = ls::model<
    std::conditional_t<ThroughSame,
                       ls::sequential<ls::named<"first", same<In>>, arriving, ls::named<"second", same<In>>,
                                      ls::named<"norm", Norm>, leaving>,
                       ls::sequential<ls::named<"first", same<In>>, arriving, ls::named<"norm", Norm>, leaving>>,
    input_of<In>, ls::mean_squared_error>;

template <ls::dims In, class Norm, bool ThroughSame, class B>
void check_layer_on(const std::string& name, std::uint64_t stream, std::int64_t samples, double tolerance) {
  using value = typename B::value_type;
  INFO(name << " on " << B::name << (ThroughSame ? " behind a layer" : ""));
  ls::data_parallel<case_model<In, Norm, ThroughSame>, 1, B> trainer({.learning_rate = 0});
  int parameters = 0;
  for (const auto& parameter : trainer.parameters()) {
    std::vector<value> values(static_cast<std::size_t>(parameter.size()));
    const auto features = static_cast<std::size_t>(parameter.shape()[0]);
    if (parameter.name() == "first.weight" || parameter.name() == "second.weight")
      for (std::size_t c = 0; c < features; ++c) values[c * features + c] = 1;
    if (parameter.name() == "norm.weight") values = as<value>(golden_symmetric(stream + 20, parameter.size()));
    if (parameter.name() == "norm.bias") values = as<value>(golden_symmetric(stream + 21, parameter.size()));
    parameter.assign(values);
    if (!parameter.name().starts_with("norm")) continue;
    ++parameters;
    // Extents as PyTorch has them.
    const auto& extents = golden().at(name + "/grad_" + std::string(parameter.name().substr(5))).shape;
    const ls::dims own = parameter.shape();
    CHECK(std::equal(extents.begin(), extents.end(), own.extent, own.extent + own.rank));
  }
  CHECK(parameters == golden().contains(name + "/grad_weight") + golden().contains(name + "/grad_bias"));
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64(name + "/" + what)) <= tolerance);
  };
  const auto x = as<value>(golden_symmetric(stream, samples * In.size()));
  const typename decltype(trainer)::input_view view(x.data(), samples);
  check("output", trainer.forward(view));
  arriving::forget();
  leaving::forget();
  static_cast<void>(trainer.step(view, as<value>(golden_symmetric(stream + 10, samples * In.size()))));
  check("output", leaving::values);
  check("grad_x", arriving::gradients);
  for (const auto& gradient : trainer.gradients())
    if (gradient.name().starts_with("norm")) check("grad_" + std::string(gradient.name().substr(5)), gradient.values());
}

template <ls::dims In, class Norm>
void check_layer(const std::string& name, std::uint64_t stream, std::int64_t samples) {
  check_layer_on<In, Norm, false, ls::reference<double>>(name, stream, samples, 1e-10);
  check_layer_on<In, Norm, false, ls::cpu>(name, stream, samples, 1e-5);
  if constexpr (In.rank == 3) check_layer_on<In, Norm, true, ls::cpu>(name, stream, samples, 1e-5);
}

using row_net = ls::model<ls::sequential<ls::named<"fc1", ls::linear<5, 24>>, ls::named<"norm1", ls::layer_norm<>>,
                                         ls::relu, ls::named<"fc2", ls::linear<24, 12>>, ls::relu,
                                         ls::named<"norm2", ls::rms_norm<>>, ls::named<"fc3", ls::linear<12, 4>>>,
                          ls::input<6, 5>, ls::mean_squared_error>;
static_assert(row_net::output_dims == ls::dims{6, 4});

template <class Trainer>
void check_training(double tolerance) {
  using value = typename Trainer::value_type;
  constexpr std::int64_t batch = 5;
  INFO(Trainer::replicas << " replicas");
  Trainer trainer(ls::sgd{.learning_rate = 0.0625F, .momentum = 0.875F, .weight_decay = 0x1p-10F});
  for (const auto& parameter : trainer.parameters())
    REQUIRE(golden().contains("rows/grad/" + std::string(parameter.name())));
  start_as_golden(trainer);
  const auto x = as<value>(golden_symmetric(1, batch * row_net::input_dims.size()));
  const auto targets = as<value>(golden_symmetric(3, batch * row_net::output_dims.size()));
  const typename Trainer::input_view view(x.data(), batch);
  const auto check = [&](const std::string& what, const auto& given) {
    INFO(what);
    CHECK(relative_difference(given, golden().values_f64("rows/" + what)) <= tolerance);
  };
  check("output", trainer.forward(view));
  const auto losses = golden().values_f64("rows/losses");
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    CHECK(same_loss(trainer.step(view, targets), losses[step], tolerance));
    if (step > 0) continue;
    for (const auto& gradient : trainer.gradients()) check("grad/" + std::string(gradient.name()), gradient.values());
  }
  for (const auto& parameter : trainer.parameters())
    check("trained/" + std::string(parameter.name()), parameter.values());
}

}  // namespace

TEST_CASE("layer_norm computes what LayerNorm does", "[golden][sample_norm]") {
  constexpr ls::dims row{19};
  check_layer<row, ls::layer_norm<>>("layer_norm/row", 92000, 7);
  check_layer<row, ls::layer_norm<ls::epsilon<0.125>>>("layer_norm/eps", 92100, 7);
  check_layer<row, ls::layer_norm<ls::no_affine>>("layer_norm/no_affine", 92200, 7);
  check_layer<row, ls::layer_norm<ls::no_bias>>("layer_norm/no_bias", 92300, 7);
  check_layer<ls::dims{100}, ls::layer_norm<>>("layer_norm/wide", 92400, 5);
  check_layer<ls::dims{4, 37}, ls::layer_norm<>>("layer_norm/rows", 92500, 3);
  check_layer<ls::dims{5, 3, 4}, ls::layer_norm<>>("layer_norm/picture", 92600, 4);
  check_layer<ls::dims{8, 3, 3}, ls::layer_norm<ls::no_bias>>("layer_norm/picture_no_bias", 92700, 4);
}

TEST_CASE("rms_norm computes what RMSNorm does", "[golden][sample_norm]") {
  constexpr ls::dims row{19};
  check_layer<row, ls::rms_norm<>>("rms_norm/row", 93000, 7);
  check_layer<row, ls::rms_norm<ls::epsilon<0.125>>>("rms_norm/eps", 93100, 7);
  check_layer<row, ls::rms_norm<ls::no_affine>>("rms_norm/no_affine", 93200, 7);
  check_layer<ls::dims{4, 37}, ls::rms_norm<>>("rms_norm/rows", 93300, 3);
  check_layer<ls::dims{5, 3, 4}, ls::rms_norm<>>("rms_norm/picture", 93400, 4);
}

TEST_CASE("group_norm computes what GroupNorm does", "[golden][sample_norm]") {
  constexpr ls::dims picture{6, 3, 4};
  check_layer<picture, ls::group_norm<3>>("group_norm/picture", 94000, 5);
  check_layer<picture, ls::group_norm<3, ls::epsilon<0.125>>>("group_norm/eps", 94100, 5);
  check_layer<picture, ls::group_norm<2, ls::no_affine>>("group_norm/no_affine", 94200, 5);
  check_layer<ls::dims{8, 3, 4}, ls::group_norm<2, ls::no_bias>>("group_norm/no_bias", 94300, 5);
  check_layer<ls::dims{24, 5, 4}, ls::group_norm<6>>("group_norm/wide", 94400, 3);
  check_layer<ls::dims{32, 5, 7}, ls::group_norm<4>>("group_norm/widest", 94500, 3);
  check_layer<ls::dims{16, 3, 3}, ls::group_norm<1>>("group_norm/one", 94600, 3);
  check_layer<ls::dims{16, 3, 3}, ls::group_norm<16>>("group_norm/each", 94700, 3);
  check_layer<ls::dims{24}, ls::group_norm<4>>("group_norm/row", 94800, 7);
  check_layer<ls::dims{6, 21}, ls::group_norm<2>>("group_norm/line", 94900, 5);
}

TEST_CASE("a network on rows trains as in PyTorch", "[golden][sample_norm]") {
  check_training<ls::data_parallel<row_net, 1, ls::reference<double>>>(1e-10);
  check_training<ls::data_parallel<row_net, 3, ls::reference<double>>>(1e-10);
  check_training<ls::data_parallel<row_net, 1>>(1e-5);
  check_training<ls::data_parallel<row_net, 3>>(1e-5);
}
