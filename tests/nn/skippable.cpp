// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::conv2d;
using ls::flatten;
using ls::input;
using ls::linear;
using ls::padding;
using ls::relu;
using ls::skippable;

using same_conv = conv2d<3, 3, padding<1>>;

template <class Model>
struct passed {
  doubles output, gradients;
  double loss = 0;
};

/// A pass over a model, with the layers skipped that `flags` say.
template <class Model, class B>
passed<Model> run(const std::array<bool, Model::leaf_count + Model::skippable_parts.size()>& flags,
                  std::uint64_t seed = 3) {
  using value = typename B::value_type;
  constexpr std::int64_t samples = 4;
  std::vector<value> parameters(static_cast<std::size_t>(Model::parameter_count));
  std::vector<value> gradients(parameters.size(), value{99});
  ls::initialize_parameters<Model, B>(parameters.data(), ls::seed{seed});
  const auto draw = [](std::int64_t n, std::uint64_t key) {
    const doubles all = uniform(n, key);
    return std::vector<value>(all.begin(), all.end());
  };
  const auto x = draw(samples * Model::input_dims.size(), 1);
  const auto t = draw(samples * Model::output_dims.size(), 2);
  std::vector<value> y(t.size());
  ls::executor<Model, B> device;
  device.skip(flags.data());
  passed<Model> all;
  device.forward(parameters.data(), x.data(), samples, y.data());
  all.output.assign(y.begin(), y.end());
  all.loss = device.train(parameters.data(), gradients.data(), x.data(), t.data(), samples, {.scale = 0.25});
  for (const auto& each : ls::named_values_range<Model, B, 1, false>({gradients.data()})) {
    const auto values = each.values();
    all.gradients.insert(all.gradients.end(), values.begin(), values.end());
  }
  return all;
}

/// A model of which layer `Leaf` may be skipped, against the same without that layer: outputs and loss alike, zero
/// gradients for its parameters and those of the other model for all others.
template <class Whole, class Without, std::size_t Leaf, class B>
void check_skipped(std::int64_t before, std::int64_t size) {
  std::array<bool, Whole::leaf_count + Whole::skippable_parts.size()> flags{};
  flags[Leaf] = true;
  // Parameter p draws from a stream of its own number: only those before the layer agree in both, so it comes last
  // among those with parameters.
  const auto given = run<Whole, B>(flags);
  const auto expected = run<Without, B>({});
  check_close(given.output, expected.output, 0);
  CHECK(given.loss == expected.loss);
  const auto begin = given.gradients.begin();
  check_close(doubles(begin, begin + before), doubles(expected.gradients.begin(), expected.gradients.begin() + before),
              0);
  check_close(doubles(begin + before, begin + before + size), doubles(static_cast<std::size_t>(size), 0.0), 0);
}

}  // namespace

TEST_CASE("a skippable layer that runs is the layer itself", "[skippable]") {
  check_gradients<regression<input<5>, linear<6>, skippable<linear<6>>, relu, linear<3>>>();
  check_gradients<regression<input<2, 5, 4>, conv2d<3, 3>, relu, skippable<same_conv>, flatten, linear<3>>>();
  check_gradients<regression<input<3, 4, 4>, same_conv, flatten, skippable<linear<48>>, linear<2>>>();
  check_gradients<regression<input<4>, linear<6>, skippable<ls::dropout<0.5>>, linear<3>>>();
  check_gradients<regression<input<4>, linear<6>, skippable<ls::residual<linear<6>>>, linear<3>>>();
  check_gradients<regression<input<2, 5, 4>, skippable<ls::sequential<conv2d<4, 3>, conv2d<2, 3, padding<2>>, relu>>,
                             flatten, linear<3>>>();
}

TEMPLATE_TEST_CASE("a skipped layer hands on what arrives", "[skippable]", ls::cpu, ls::reference<double>) {
  using flat = regression<input<5>, linear<6>, relu, skippable<linear<6>>>;
  using flat_without = regression<input<5>, linear<6>, relu>;
  check_skipped<flat, flat_without, 2, TestType>(36, 42);

  using pictures = regression<input<2, 5, 4>, conv2d<3, 3>, relu, skippable<same_conv>, relu>;
  using pictures_without = regression<input<2, 5, 4>, conv2d<3, 3>, relu, relu>;
  check_skipped<pictures, pictures_without, 2, TestType>(57, 84);

  // Behind a flattened picture the elements lie in the backend's order, behind the layer in plain order.
  using turned = regression<input<3, 4, 4>, same_conv, flatten, skippable<linear<48>>>;
  using turned_without = regression<input<3, 4, 4>, same_conv, flatten>;
  check_skipped<turned, turned_without, 2, TestType>(84, 48 * 49);

  using first = regression<input<4>, skippable<linear<4>>, ls::frozen<linear<3>>>;
  std::array<bool, 2> flags{true, false};
  const auto skipped = run<first, TestType>(flags);
  check_close(doubles(skipped.gradients.begin(), skipped.gradients.begin() + 20), doubles(20, 0.0), 0);
}

TEMPLATE_TEST_CASE("a skipped composite hands on what arrives", "[skippable]", ls::cpu, ls::reference<double>) {
  // The flag of a composite comes after those of the layers.
  using rows = regression<input<5>, linear<6>, relu, skippable<ls::residual<linear<6>>>>;
  check_skipped<rows, regression<input<5>, linear<6>, relu>, 3, TestType>(36, 42);
  using pictures = regression<input<2, 5, 4>, conv2d<3, 3>, relu, skippable<ls::sequential<same_conv, relu>>>;
  check_skipped<pictures, regression<input<2, 5, 4>, conv2d<3, 3>, relu>, 4, TestType>(57, 84);
  // A composite reads what is flat in plain order.
  using flat = regression<input<3, 4, 4>, same_conv, flatten, skippable<ls::sequential<linear<48>, relu>>>;
  check_skipped<flat, regression<input<3, 4, 4>, same_conv, flatten>, 4, TestType>(84, 48 * 49);
  // One that changes nothing.
  using empty = regression<input<5>, linear<6>, skippable<ls::sequential<flatten>>>;
  check_skipped<empty, regression<input<5>, linear<6>>, 2, TestType>(36, 0);
}

TEST_CASE("a plan says which layers may be skipped", "[skippable]") {
  using model = regression<input<5>, ls::named<"block", skippable<linear<5>>>, linear<2>>;
  static_assert(model::skippable_leaves == std::array{true, false});
  const std::string table = ls::plan_table<model, ls::cpu>(1, 4);
  CHECK(table.find("linear, skippable") != std::string::npos);
  CHECK(table.find("block.weight") != std::string::npos);

  using composite = regression<input<5>, ls::named<"block", skippable<ls::residual<linear<5>>>>, linear<2>>;
  static_assert(composite::skippable_leaves == std::array{false, false});
  static_assert(composite::skippable_parts.size() == 1 && composite::skippable_paths[0].view() == "block");
  const std::string bounds = ls::plan_table<composite, ls::cpu>(1, 4);
  CHECK(bounds.find("skippable begins") < bounds.find("skippable ends"));
}
