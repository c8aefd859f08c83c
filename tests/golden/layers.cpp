// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

constexpr double tolerance = 1e-5;

const ls::safetensors_file& golden() {
  static const auto file = golden_file("layers");
  return file;
}

void check_values(const std::string& name, const std::vector<float>& given) {
  INFO(name);
  CHECK(relative_difference(given, golden().values_f64(name)) <= tolerance);
}

/// One layer of the CPU backend between PyTorch's orders: results of forward and backward for the inputs of a case.
template <class Layer, ls::dims In>
void check_layer(const std::string& name, std::uint64_t stream, std::int64_t samples) {
  constexpr ls::dims out = Layer::output(In);
  constexpr ls::node_traits traits{.in = In, .out = out, .picture = {}};
  using op = typename Layer::template op<ls::cpu, traits>;
  constexpr ls::parameter_list list = Layer::parameters(In);
  const auto count = [&](const ls::dims& d) { return static_cast<std::size_t>(samples * d.size()); };

  ls::cpu::context context(1);
  const auto to_backend = [&](const ls::dims& d, const std::vector<float>& from) {
    auto to = from;
    if (d.rank == 3) ls::cpu::to_channels_last(context, samples, d, from.data(), to.data());
    return to;
  };
  const auto to_user = [&](const ls::dims& d, const std::vector<float>& from) {
    auto to = from;
    if (d.rank == 3) ls::cpu::to_plain(context, samples, d, from.data(), to.data());
    return to;
  };
  const auto place = [](int parameter, std::int64_t index) {
    if constexpr (requires { op::physical(0, index); })
      return static_cast<std::size_t>(op::physical(parameter, index));
    else
      return static_cast<std::size_t>(index + 0 * parameter);
  };

  std::vector<float> parameters(static_cast<std::size_t>(list.size()));
  std::size_t offset = 0;
  for (int p = 0; p < list.count; ++p) {
    const auto& weight = list.items[0].shape;
    const std::int64_t size = list.items[p].shape.size();
    const auto values =
        golden_symmetric(stream + 1 + static_cast<std::uint64_t>(p), size, fan_in_bound(weight.size() / weight[0]));
    for (std::int64_t i = 0; i < size; ++i) parameters[offset + place(p, i)] = values[static_cast<std::size_t>(i)];
    offset += static_cast<std::size_t>(size);
  }

  const auto x = to_backend(In, golden_symmetric(stream, samples * In.size()));
  auto dy = to_backend(out, golden_symmetric(stream + 3, samples * out.size()));
  std::vector<float> y(count(out), NAN);
  std::vector<float> dx(count(In), NAN);
  std::vector<float> gradients(parameters.size(), NAN);
  const auto entered = context.enter();
  op layer(context, samples);
  layer.forward(context, {}, x.data(), parameters.data(), y.data());
  check_values(name + "/output", to_user(out, y));
  layer.backward(context, {},
                 {.x = x.data(),
                  .y = y.data(),
                  .dy = dy.data(),
                  .parameters = parameters.data(),
                  .dx = dx.data(),
                  .gradients = gradients.data(),
                  .accumulate = false});
  check_values(name + "/grad_x", to_user(In, dx));
  offset = 0;
  for (int p = 0; p < list.count; ++p) {
    const std::int64_t size = list.items[p].shape.size();
    std::vector<float> values;
    for (std::int64_t i = 0; i < size; ++i) values.push_back(gradients[offset + place(p, i)]);
    check_values(name + "/grad_" + std::string(list.items[p].name), values);
    offset += static_cast<std::size_t>(size);
  }
}

template <std::int64_t Out, ls::extent2 Kernel, class... Options>
void check_convolution(const std::string& name, std::uint64_t stream, std::int64_t samples = 3) {
  check_layer<ls::conv2d<Out, Kernel, Options...>, ls::dims{4, 9, 8}>("conv2d/" + name, stream, samples);
}

template <class Layer>
void check_pooling(const std::string& name, std::uint64_t stream) {
  check_layer<Layer, ls::dims{4, 9, 8}>(name, stream, 3);
}

struct entropy_case {
  std::string name;
  std::uint64_t stream;
  bool weights = false;
  float smoothing = 0;
  std::vector<std::size_t> ignored{};
  std::int64_t ignore_index = -100;
};

void check_entropy(const entropy_case& c) {
  constexpr std::int64_t rows = 9;
  constexpr ls::dims classes{7};
  const auto x = golden_symmetric(c.stream, rows * 7, 4.F);
  auto targets = golden_labels(c.stream + 4, rows, 7);
  for (const std::size_t i : c.ignored) targets[i] = c.ignore_index;
  ls::cross_entropy loss{.label_smoothing = c.smoothing, .ignore_index = c.ignore_index};
  if (c.weights) loss.class_weights = golden_unit(c.stream + 5, 7);
  loss.check_options(classes);

  ls::cpu::context context(1);
  const double denominator = loss.denominator(targets.data(), rows, classes);
  std::vector<float> dx(x.size(), NAN);
  const ls::cross_entropy::op<ls::cpu> op(context, loss);
  const ls::step_values now{.scale = 1 / denominator};
  double sum = 0;
  op.forward_backward(context, rows, classes, x.data(), targets.data(), dx.data(), &now, &sum);
  const std::string name = "cross_entropy/" + c.name;
  INFO(name);
  CHECK(sum / denominator == Approx(golden().values_f64(name + "/loss")[0]).epsilon(tolerance));
  check_values(name + "/grad_x", dx);
  double again = 0;
  op.forward_backward(context, rows, classes, x.data(), targets.data(), nullptr, nullptr, &again);
  CHECK(again == Approx(sum).epsilon(1e-6));
}

void check_sgd(const std::string& name, std::uint64_t stream, ls::sgd optimizer) {
  optimizer.learning_rate = 0.1F;
  optimizer.check_options();
  auto parameters = golden_symmetric(stream, 16);
  std::array<std::vector<float>, 1> state{std::vector<float>(16)};
  std::vector<float> after;
  ls::cpu::context context(1);
  for (std::int64_t step = 0; step < 5; ++step) {
    const auto gradient = golden_symmetric(stream + 10 + static_cast<std::uint64_t>(step), 16);
    optimizer.rule<float>(step, [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
      REQUIRE(States == optimizer.states());
      std::array<float*, States> states{};
      for (std::size_t s = 0; s < States; ++s) states[s] = state[s].data();
      ls::cpu::reduce_and_update<1, States>(context, 0, 16, {gradient.data()}, parameters.data(), states, rule);
    });
    after.insert(after.end(), parameters.begin(), parameters.end());
  }
  check_values("sgd/" + name + "/parameters", after);
}

}  // namespace

TEST_CASE("conv2d computes what PyTorch computes", "[golden]") {
  check_convolution<6, 3>("plain", 10000);
  check_convolution<6, 3, ls::padding<ls::extent2{1, 2}>>("padding", 10100);
  check_convolution<6, 3, ls::stride<ls::extent2{1, 2}>, ls::padding<1>>("stride", 10200);
  check_convolution<6, ls::extent2{2, 3}, ls::stride<2>>("stride_drops_border", 10300);
  check_convolution<6, 3, ls::dilation<ls::extent2{2, 3}>, ls::padding<ls::extent2{2, 1}>>("dilation", 10400);
  check_convolution<6, 3, ls::groups<2>, ls::padding<1>>("groups", 10500);
  check_convolution<4, 3, ls::groups<4>, ls::padding<1>>("depthwise", 10600);
  check_convolution<8, 3, ls::groups<4>, ls::padding<1>>("depthwise_multiplier", 10700);
  check_convolution<6, 3, ls::no_bias, ls::padding<1>>("no_bias", 10800);
  check_convolution<6, 1>("pointwise", 10900);
  check_convolution<6, ls::extent2{3, 2}, ls::stride<ls::extent2{1, 2}>, ls::padding<ls::extent2{1, 2}>,
                    ls::dilation<ls::extent2{2, 1}>, ls::groups<2>, ls::no_bias>("all", 11000);
  check_convolution<6, 3, ls::padding<1>>("batch_of_one", 11100, 1);
}

TEST_CASE("pooling computes what PyTorch computes", "[golden]") {
  check_pooling<ls::max_pool2d<2>>("max_pool2d/k2s2", 20000);
  check_pooling<ls::max_pool2d<3, ls::stride<2>, ls::padding<1>>>("max_pool2d/k3s2p1", 20100);
  check_pooling<ls::avg_pool2d<2>>("avg_pool2d/k2s2", 20200);
  check_pooling<ls::avg_pool2d<3, ls::stride<2>, ls::padding<1>>>("avg_pool2d/k3s2p1_count_pad", 20300);
  check_pooling<ls::avg_pool2d<3, ls::stride<2>, ls::padding<1>, ls::exclude_padding>>("avg_pool2d/k3s2p1_ignore_pad",
                                                                                       20400);
}

TEST_CASE("linear and relu compute what PyTorch computes", "[golden]") {
  check_layer<ls::linear<7>, ls::dims{12}>("linear/bias", 30000, 5);
  check_layer<ls::linear_without_bias<7>, ls::dims{12}>("linear/no_bias", 30100, 5);
  check_layer<ls::relu, ls::dims{24}>("relu", 40000, 5);
}

TEST_CASE("cross entropy computes what PyTorch computes", "[golden]") {
  check_entropy({.name = "plain", .stream = 50000});
  check_entropy({.name = "weights", .stream = 50100, .weights = true});
  check_entropy({.name = "smoothing", .stream = 50200, .smoothing = 0.1F});
  check_entropy({.name = "smoothing_weights", .stream = 50300, .weights = true, .smoothing = 0.1F});
  check_entropy({.name = "ignore_some", .stream = 50400, .ignored = {1, 4, 7}});
  check_entropy({.name = "ignore_all_but_one", .stream = 50500, .ignored = {0, 1, 2, 3, 4, 6, 7, 8}});
  check_entropy({.name = "ignore_weights", .stream = 50600, .weights = true, .ignored = {1, 4, 7}});
  check_entropy(
      {.name = "ignore_smoothing_weights", .stream = 50700, .weights = true, .smoothing = 0.2F, .ignored = {0, 5}});
  check_entropy({.name = "ignore_smoothing", .stream = 50800, .smoothing = 0.2F, .ignored = {0, 5}});
  check_entropy({.name = "ignore_a_class", .stream = 50900, .ignored = {3}, .ignore_index = 2});
}

TEST_CASE("mean squared error computes what PyTorch computes", "[golden]") {
  const auto x = golden_symmetric(60000, 30);
  const auto targets = golden_symmetric(60006, 30);
  const ls::mean_squared_error loss;
  constexpr ls::dims output{6};
  ls::cpu::context context(1);
  const double denominator = loss.denominator(targets.data(), 30, output);
  std::vector<float> dx(30, NAN);
  const ls::mean_squared_error::op<ls::cpu> op(context, loss);
  const ls::step_values now{.scale = 1 / denominator};
  double sum = 0;
  op.forward_backward(context, 5, output, x.data(), targets.data(), dx.data(), &now, &sum);
  CHECK(sum / denominator == Approx(golden().values_f64("mse/loss")[0]).epsilon(tolerance));
  check_values("mse/grad_x", dx);
}

TEST_CASE("sgd updates as PyTorch's", "[golden]") {
  check_sgd("plain", 70000, {});
  check_sgd("momentum", 70100, {.momentum = 0.9F});
  check_sgd("dampening", 70200, {.momentum = 0.9F, .dampening = 0.3F});
  check_sgd("nesterov", 70300, {.momentum = 0.9F, .nesterov = true});
  check_sgd("weight_decay", 70400, {.weight_decay = 0.05F});
  check_sgd("momentum_weight_decay", 70500, {.momentum = 0.9F, .weight_decay = 0.05F});
  check_sgd("dampening_weight_decay", 70600, {.momentum = 0.9F, .dampening = 0.3F, .weight_decay = 0.05F});
  check_sgd("nesterov_weight_decay", 70700, {.momentum = 0.9F, .weight_decay = 0.05F, .nesterov = true});
}

TEST_CASE("no golden case is left out", "[golden]") {
  // 12 convolutions (2 without a bias), 5 poolings, 2 products, relu, 10 cross entropies, mse, 8 optimizers.
  CHECK(golden().names().size() == 12 * 4 - 2 + 5 * 2 + 4 + 3 + 2 + 10 * 2 + 2 + 8);
}
