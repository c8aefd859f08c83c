// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using linear_model =
    ls::model<ls::sequential<ls::named<"fc", ls::linear<10, 10>>>, ls::input<10>, ls::mean_squared_error>;
using cnn = ls::model<ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                                     ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>,
                      ls::input<3, 32, 32>, ls::cross_entropy>;
using mlp = ls::model<ls::sequential<ls::linear<784, 512>, ls::relu, ls::linear<256>, ls::relu, ls::linear<10>>,
                      ls::input<784>, ls::cross_entropy>;

constexpr double tolerance = 1e-5;

// Relative to the loss itself, with a floor for losses that have fallen to practically nothing: such a loss is the
// difference of a logit and a logarithm of about 10, which float32 knows to 1e-6.
bool same_loss(double given, double expected) {
  return std::abs(given - expected) <= std::max(tolerance * std::abs(expected), 1e-6);
}

void check_gradient(const ls::safetensors_file& golden, const std::string& name, const std::vector<float>& given) {
  INFO(name);
  if (golden.contains(name)) {
    CHECK(relative_difference(given, golden.values_f64(name)) <= tolerance);
    return;
  }
  const std::size_t stride = (given.size() + 1023) / 1024;
  std::vector<float> sample;
  for (std::size_t i = 0; i < given.size(); i += stride) sample.push_back(given[i]);
  CHECK(relative_difference(sample, golden.values_f64(name + "/sample")) <= tolerance);

  // Every element takes part in these two.
  double squares = 0;
  for (const float g : given) squares += double{g} * double{g};
  const double norm = golden.values_f64(name + "/norm")[0];
  CHECK(std::abs(std::sqrt(squares) - norm) <= tolerance * norm);
  const auto projections = golden.values_f64(name + "/projection");
  REQUIRE(projections.size() == 4);
  for (std::uint64_t j = 0; j < 4; ++j) {
    const auto vector = golden_symmetric(1000 + j, static_cast<std::int64_t>(given.size()));
    double product = 0;
    for (std::size_t i = 0; i < given.size(); ++i) product += double{given[i]} * double{vector[i]};
    CHECK(std::abs(product - projections[j]) <= tolerance * norm);
  }
}

template <class Model, int N>
void check_batch(const ls::safetensors_file& golden, const std::string& prefix, std::int64_t samples,
                 const ls::sgd& optimizer) {
  INFO(prefix << ", " << N << " replicas");
  ls::data_parallel<Model, N> trainer(optimizer);
  std::uint64_t stream = 100;
  for (const auto& parameter : trainer.parameters()) {
    // A bias is drawn with the bound of its weight, which stands before it.
    static_assert(Model::template plan<ls::cpu>.parameter_tensors % 2 == 0);
    const auto& spec = Model::template plan<ls::cpu>.parameters[static_cast<std::size_t>(stream - 100) / 2 * 2];
    const std::int64_t fan_in = spec.shape.size() / spec.shape[0];
    parameter.assign(golden_symmetric(stream++, parameter.size(), fan_in_bound(fan_in)));
  }

  const auto values = golden_unit(1, samples * Model::input_dims.size());
  const typename decltype(trainer)::input_view x(values.data(), samples);
  const auto targets = [&] {
    if constexpr (std::is_same_v<typename Model::loss_type, ls::cross_entropy>)
      return golden_labels(2, samples, 10);
    else
      return golden_symmetric(3, samples * 10);
  }();

  const auto y = trainer.forward(x);
  CHECK(relative_difference({y.begin(), y.end()}, golden.values_f64(prefix + "/output")) <= tolerance);

  const auto losses = golden.values_f64(prefix + "/losses");
  REQUIRE(losses.size() == 20);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const double loss = trainer.step(x, targets);
    INFO("step " << step << ": " << loss << ", expected " << losses[step]);
    CHECK(same_loss(loss, losses[step]));
    if (step == 0)
      for (const auto& gradient : trainer.gradients())
        check_gradient(golden, prefix + "/grad/" + std::string(gradient.name()), gradient.values());
  }
}

template <class Model>
void check_model(const std::string& name, const ls::sgd& optimizer) {
  const auto golden = golden_file(name);
  for (const int replicas : {1, 2, 3, 4, 8})
    ls::with_replicas<1, 2, 3, 4, 8>(replicas, [&]<int N> {
      for (const int samples : {1, 2, 63, 64, 100})
        check_batch<Model, N>(golden, name + "/b" + std::to_string(samples), samples, optimizer);
    });
}

}  // namespace

TEST_CASE("the inputs are those that PyTorch was given", "[golden]") {
  const auto golden = golden_file("streams");
  for (const std::uint64_t stream : {std::uint64_t{1}, std::uint64_t{100}, std::uint64_t{10000}}) {
    const auto expected = golden.values_f64("uniform/" + std::to_string(stream));
    REQUIRE(expected.size() == 64);
    CHECK(relative_difference(golden_unit(stream, 64), expected) == 0);
  }
  CHECK(relative_difference(golden_symmetric(100, 64, fan_in_bound(10)), golden.values_f64("symmetric/100")) == 0);
  const auto& labels = golden.at("labels/2");
  REQUIRE(labels.dtype == "I64");
  CHECK(golden_labels(2, 64, 10) == golden.values_i64("labels/2"));
}

TEST_CASE("linear trains as in PyTorch on any number of replicas", "[golden]") {
  check_model<linear_model>("linear", {.learning_rate = 0.01F});
}

TEST_CASE("cnn trains as in PyTorch on any number of replicas", "[golden]") {
  check_model<cnn>("cnn", {.learning_rate = 0.01F});
}

TEST_CASE("mlp trains as in PyTorch on any number of replicas", "[golden]") {
  check_model<mlp>("mlp", {.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 1e-4F});
}
