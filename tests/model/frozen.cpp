// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "model/networks.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using plain_order = ls::reference<double>;

// Frozen in front, the usual case.
template <class First>
using small_cnn = ls::model<ls::sequential<First, ls::relu, ls::flatten, ls::named<"fc", ls::linear<3>>>,
                            ls::input<2, 6, 5>, ls::cross_entropy>;
using conv1 = ls::named<"conv1", ls::conv2d<4, 3>>;
using learning = small_cnn<conv1>;
using front = small_cnn<ls::frozen<conv1>>;

// Frozen in the middle.
template <class Middle>
using small_mlp = ls::model<ls::sequential<ls::linear<10, 8>, ls::relu, Middle, ls::relu, ls::linear<4>>, ls::input<10>,
                            ls::cross_entropy>;
using middle = small_mlp<ls::frozen<ls::linear<6>>>;
using middle_learns = small_mlp<ls::linear<6>>;

using all =
    ls::model<ls::frozen<ls::sequential<ls::linear<5>, ls::relu, ls::linear<2>>>, ls::input<4>, ls::mean_squared_error>;

/// The node of a layer, by its index in the flat list.
template <class Model, class B>
constexpr ls::plan_node node_of(int leaf) {
  for (const ls::plan_node& node : Model::template plan<B>.nodes)
    if (node.leaf == leaf) return node;
  return {};
}

/// Learning parameters, then frozen ones, each in the model's order and without gaps.
template <class Model, class B>
void check_layout() {
  const auto& plan = Model::template plan<B>;
  std::int64_t next = 0;
  for (const bool frozen : {false, true}) {
    for (int p = 0; p < plan.parameter_tensors; ++p) {
      const auto& parameter = plan.parameters[static_cast<std::size_t>(p)];
      const auto& node = plan.nodes[static_cast<std::size_t>(parameter.node)];
      if (node.frozen != frozen) continue;
      CHECK(parameter.offset == next);
      if (parameter.index == 0) CHECK(node.parameter_offset == next);
      next += parameter.shape.size();
    }
    CHECK(next == (frozen ? plan.parameter_count : plan.trainable_count));
  }
  CHECK(plan.parameter_count == Model::parameter_count);
  CHECK(plan.trainable_count == Model::trainable_count);
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The rest of the line that begins with `name`, without blanks around it.
std::string line_of(const std::string& text, const std::string& name) {
  const auto at = text.find("\n" + name + "  ");
  REQUIRE(at != std::string::npos);
  const auto begin = text.find_first_not_of(' ', at + 1 + name.size());
  return text.substr(begin, text.find('\n', begin) - begin);
}

template <class Model, class B>
std::vector<std::vector<double>> initial_values() {
  ls::aligned_buffer<typename B::value_type> parameters(Model::parameter_count);
  ls::initialize_parameters<Model, B>(parameters.data(), ls::seed{9});
  std::vector<std::vector<double>> values;
  for (const auto& each : ls::named_values_range<Model, B, 1, false>({parameters.data()})) {
    const auto own = each.values();
    values.emplace_back(own.begin(), own.end());
  }
  return values;
}

}  // namespace

TEST_CASE("frozen parameters lie behind those that learn", "[plan][frozen]") {
  constexpr std::int64_t conv = 4 * 2 * 9 + 4;
  constexpr std::int64_t fc = 3 * 48 + 3;
  STATIC_REQUIRE(learning::trainable_count == conv + fc);
  STATIC_REQUIRE(front::parameter_count == conv + fc);
  STATIC_REQUIRE(front::trainable_count == fc);
  STATIC_REQUIRE(front::plan<ls::cpu>.trainable_count == fc);
  // The model's order of names stays: conv1.weight, conv1.bias, fc.weight, fc.bias.
  STATIC_REQUIRE(front::plan<ls::cpu>.parameters[0].shape == ls::dims{4, 2, 3, 3});
  STATIC_REQUIRE(front::plan<ls::cpu>.parameters[0].offset == fc);
  STATIC_REQUIRE(front::plan<ls::cpu>.parameters[1].offset == fc + 72);
  STATIC_REQUIRE(front::plan<ls::cpu>.parameters[2].offset == 0);
  STATIC_REQUIRE(front::plan<ls::cpu>.parameters[3].offset == 144);
  STATIC_REQUIRE(middle::trainable_count == 88 + 28);
  STATIC_REQUIRE(middle::plan<ls::cpu>.parameters[2].offset == 88 + 28);
  STATIC_REQUIRE(middle::plan<ls::cpu>.parameters[4].offset == 88);
  STATIC_REQUIRE(all::trainable_count == 0);
  STATIC_REQUIRE(all::plan<ls::cpu>.parameter_count == 25 + 12);
  check_layout<learning, ls::cpu>();
  check_layout<front, ls::cpu>();
  check_layout<front, plain_order>();
  check_layout<middle, ls::cpu>();
  check_layout<all, ls::cpu>();
}

TEST_CASE("backward stops at the first layer that learns", "[plan][frozen]") {
  const auto& plan = front::plan<ls::cpu>;  // to_channels_last, conv2d+relu, alias, linear
  REQUIRE(plan.node_count == 4);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK_FALSE(plan.nodes[i].runs_backward);
    CHECK_FALSE(plan.nodes[i].input_gradient);
    CHECK(plan.nodes[i].gradient_buffer == ls::no_buffer);
  }
  CHECK(plan.nodes[1].frozen);
  CHECK_FALSE(plan.nodes[1].learns());
  CHECK(plan.nodes[3].learns());
  CHECK(plan.nodes[3].runs_backward);
  CHECK_FALSE(plan.nodes[3].input_gradient);
  CHECK(learning::plan<ls::cpu>.nodes[3].input_gradient);
  CHECK(plan.arena_size < learning::plan<ls::cpu>.arena_size);

  // Nobody asks for a gradient of the whole model's output either.
  for (int i = 0; i < all::plan<ls::cpu>.node_count; ++i)
    CHECK_FALSE(all::plan<ls::cpu>.nodes[static_cast<std::size_t>(i)].runs_backward);
}

TEST_CASE("backward passes through a frozen layer behind one that learns", "[plan][frozen]") {
  constexpr auto node = node_of<middle, ls::cpu>(2);
  STATIC_REQUIRE(node.frozen);
  STATIC_REQUIRE(node.runs_backward);
  STATIC_REQUIRE(node.input_gradient);
  STATIC_REQUIRE(node.mask_input);
  STATIC_REQUIRE(node_of<middle, ls::cpu>(0).learns());
  STATIC_REQUIRE_FALSE(node_of<middle, ls::cpu>(0).input_gradient);
}

TEST_CASE("work on gradients that nobody reads is not counted", "[plan][frozen]") {
  constexpr std::int64_t convolution = std::int64_t{2} * 4 * 12 * 18 + 48;  // with its relu
  constexpr std::int64_t product = std::int64_t{2} * 48 * 3;
  const auto& plan = front::plan<ls::cpu>;
  CHECK(plan.forward_flops == convolution + product);
  CHECK(plan.forward_flops == learning::plan<ls::cpu>.forward_flops);
  CHECK(learning::plan<ls::cpu>.training_flops == 2 * convolution + 3 * product);
  CHECK(plan.training_flops == convolution + 2 * product);
  CHECK(middle_learns::plan<ls::cpu>.training_flops - middle::plan<ls::cpu>.training_flops == 2 * 8 * 6 + 6);
  CHECK(all::plan<ls::cpu>.training_flops == all::plan<ls::cpu>.forward_flops);
}

TEST_CASE("a relu becomes part of a frozen layer as of any other", "[plan][frozen]") {
  STATIC_REQUIRE(node_of<front, ls::cpu>(0).fused_leaf == 1);
  STATIC_REQUIRE(node_of<middle, ls::cpu>(2).fused_leaf == 3);
  // The same when the relu is frozen with it.
  using both =
      ls::model<ls::sequential<ls::frozen<ls::sequential<ls::conv2d<4, 3>, ls::relu>>, ls::flatten, ls::linear<3>>,
                ls::input<2, 6, 5>, ls::cross_entropy>;
  STATIC_REQUIRE(node_of<both, ls::cpu>(0).fused_leaf == 1);
  STATIC_REQUIRE(both::plan<ls::cpu>.node_count == front::plan<ls::cpu>.node_count);
  STATIC_REQUIRE(std::is_same_v<front::leaf<0>, learning::leaf<0>>);
}

TEST_CASE("frozen parameters get the initial values that they would get without", "[frozen]") {
  CHECK(initial_values<front, ls::cpu>() == initial_values<learning, ls::cpu>());
  CHECK(initial_values<middle, plain_order>() == initial_values<middle_learns, plain_order>());
}

TEST_CASE("a pass without samples clears the gradients of what learns and nothing else", "[executor][frozen]") {
  std::vector<float> parameters(static_cast<std::size_t>(front::parameter_count));
  std::vector<float> gradients(parameters.size(), 7.0F);
  const std::vector<std::int64_t> none;
  ls::executor<front, ls::cpu> device;
  CHECK(device.train(parameters.data(), gradients.data(), parameters.data(), none.data(), 0, {}) == 0);
  for (std::size_t i = 0; i < gradients.size(); ++i)
    CHECK(gradients[i] == (i < static_cast<std::size_t>(front::trainable_count) ? 0.0F : 7.0F));
}

TEST_CASE("a plan's table marks what is frozen, and counts what learns", "[frozen]") {
  const std::string table = ls::plan_table<front, ls::cpu>(2, 8);
  CHECK(holds(table, "conv2d+relu, frozen"));
  CHECK_FALSE(holds(table, "linear, frozen"));
  CHECK(line_of(table, "conv1.weight") == "4x2x3x3, frozen        72     147");
  CHECK(line_of(table, "fc.weight") == "3x48                  144       0");
  CHECK(line_of(table, "parameters") == "223");
  CHECK(line_of(table, "trainable parameters") == "147");
  CHECK(line_of(table, "parameter bytes") == "892");
  CHECK(line_of(table, "gradient bytes a replica") == "588");
  CHECK(line_of(table, "gradient bytes") == "1,176");

  const std::string plain = ls::plan_table<learning, ls::cpu>(2, 8);
  CHECK_FALSE(holds(plain, "frozen"));
  CHECK_FALSE(holds(plain, "trainable"));
}
