// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "nn/support.hpp"

// Networks with several inputs: which value a layer reads, and what backward makes of values that several layers read.

using namespace lockstep_test;

namespace {

using B = oracle;
using rows = ls::inputs<ls::named<"left", ls::input<3>>, ls::named<"right", ls::input<4>>>;
using pictures = ls::inputs<ls::named<"image", ls::input<2, 3, 4>>, ls::named<"mask", ls::input<1, 3, 4>>,
                            ls::named<"words", ls::input<5>>>;

/// Reads the picture twice, the mask at the end of the trunk, and the words in a branch of their own.
using trunk =
    ls::sequential<ls::concat<ls::from<"image", ls::conv2d<3, 3, ls::padding<1>>>, ls::from<"image">>, ls::relu,
                   ls::concat<ls::identity, ls::from<"mask">>, ls::conv2d<2, 2>, ls::relu, ls::flatten, ls::linear<4>>;
using reader =
    ls::model<ls::sequential<ls::sum<ls::named<"trunk", trunk>, ls::named<"words", ls::from<"words", ls::linear<4>>>>,
                             ls::batch_norm1d<>, ls::relu, ls::named<"head", ls::linear<3>>>,
              pictures, ls::mean_squared_error>;

constexpr std::int64_t samples = 5;

struct outcome {
  double loss = 0;
  doubles gradients = filled(reader::parameter_count, poison);
};

outcome train(const doubles& parameters, const std::array<doubles, 3>& x, const doubles& targets) {
  ls::executor<reader, B> device;
  doubles values = parameters;
  values.resize(static_cast<std::size_t>(reader::plan<B>.value_count));
  outcome result;
  const double denominator = samples * 3;
  result.loss = device.train(values.data(), result.gradients.data(), {{x[0].data(), x[1].data(), x[2].data()}},
                             targets.data(), samples, ls::step_values{.scale = 1 / denominator}) /
                denominator;
  return result;
}

std::string row_of(const std::string& table, const std::string& beginning) {
  const std::size_t at = table.find(beginning);
  return at == std::string::npos ? "" : table.substr(at, table.find('\n', at) - at);
}

}  // namespace

TEST_CASE("a model finds its inputs by name", "[inputs]") {
  STATIC_REQUIRE(reader::input_count == 3);
  STATIC_REQUIRE(reader::input<"image"> == 0);
  STATIC_REQUIRE(reader::input<"words"> == 2);
  STATIC_REQUIRE(reader::input_extents[1] == ls::dims{1, 3, 4});
  STATIC_REQUIRE(reader::input_dims.rank == 0);
  STATIC_REQUIRE(ls::model<ls::linear<2>, ls::input<3>>::input_count == 1);
}

TEST_CASE("from adds nothing to the paths of parameters, and takes a place in a sequential", "[inputs]") {
  using inside = ls::model<ls::sum<ls::named<"a", ls::from<"left", ls::linear<2>>>,
                                   ls::from<"right", ls::named<"b", ls::sequential<ls::relu, ls::linear<2>>>>>,
                           rows, ls::mean_squared_error>;
  CHECK(std::string(inside::paths[0].view()) == "a");
  CHECK(std::string(inside::paths[2].view()) == "b.1");
  using behind =
      ls::model<ls::sum<ls::sequential<ls::from<"left">, ls::linear<2>>, ls::frozen<ls::from<"right", ls::linear<2>>>>,
                rows>;
  CHECK(std::string(behind::paths[0].view()) == "0.1");
  CHECK(std::string(behind::paths[1].view()) == "1");
  STATIC_REQUIRE(behind::trainable_count == 3 * 2 + 2);
}

TEST_CASE("each layer reads the input that it names", "[inputs]") {
  using model = ls::model<ls::sum<ls::from<"right", ls::linear<2>>, ls::from<"left", ls::linear<2>>>, rows>;
  const doubles parameters = uniform(model::parameter_count, 1);
  const doubles left = uniform(samples * 3, 2);
  const doubles right = uniform(samples * 4, 3);
  doubles given = filled(samples * 2, poison);
  ls::executor<model, B>().forward(parameters.data(), {{left.data(), right.data()}}, samples, given.data());
  // The reference backend keeps parameters in PyTorch's order: weight 2x4, bias, weight 2x3, bias.
  doubles expected;
  const double* const of_right = parameters.data();
  const double* const of_left = of_right + 10;
  for (std::size_t s = 0; s < samples; ++s)
    for (std::size_t o = 0; o < 2; ++o) {
      double y = of_right[8 + o] + of_left[6 + o];
      for (std::size_t i = 0; i < 4; ++i) y += of_right[o * 4 + i] * right[s * 4 + i];
      for (std::size_t i = 0; i < 3; ++i) y += of_left[o * 3 + i] * left[s * 3 + i];
      expected.push_back(y);
    }
  check_close(given, expected, 1e-13);
}

TEST_CASE("an input, under a new name too, may be an output", "[inputs]") {
  using model =
      ls::model<ls::outputs<ls::from<"words">, ls::from<"image", ls::flatten>, ls::from<"mask", ls::relu>>, pictures>;
  const doubles image = uniform(samples * 24, 1);
  const doubles mask = uniform(samples * 12, 2);
  const doubles words = uniform(samples * 5, 3);
  std::array<doubles, 3> given{filled(samples * 5, poison), filled(samples * 24, poison), filled(samples * 12, poison)};
  ls::executor<model, B>().forward(nullptr, {{image.data(), mask.data(), words.data()}}, samples,
                                   {{given[0].data(), given[1].data(), given[2].data()}});
  CHECK(given[0] == words);
  CHECK(given[1] == image);
  doubles positive = mask;
  for (double& v : positive) v = std::max(v, 0.0);
  CHECK(given[2] == positive);
}

TEST_CASE("gradients of a network with several inputs are the slopes of its loss", "[inputs]") {
  const std::array<doubles, 3> x{uniform(samples * 24, 1), uniform(samples * 12, 2), uniform(samples * 5, 3)};
  const doubles targets = uniform(samples * 3, 4);
  constexpr double h = 1e-5;
  doubles moved = uniform(reader::parameter_count, 5);
  const doubles gradients = train(moved, x, targets).gradients;
  doubles differences;
  for (double& p : moved) {
    const double before = p;
    p = before + h;
    const double up = train(moved, x, targets).loss;
    p = before - h;
    const double down = train(moved, x, targets).loss;
    p = before;
    differences.push_back((up - down) / (2 * h));
  }
  check_close(gradients, differences, 1e-8 * std::max(1.0, largest_magnitude(differences)));
}

TEST_CASE("a plan's table names the inputs", "[inputs]") {
  const std::string table = ls::plan_table<reader, B>(2, 8);
  CHECK(row_of(table, "image") == "image  2x3x4         2");
  CHECK(row_of(table, "words") == "words  5             1");
  CHECK(row_of(table, "0  ").find("conv2d") != std::string::npos);
  CHECK(row_of(table, "0  ").find("  image  ") != std::string::npos);
  CHECK(row_of(table, "1  ").find("  0, image  ") != std::string::npos);
  CHECK(ls::plan_table<ls::model<ls::linear<2>, ls::input<3>>, B>(1, 1).find("readers") == std::string::npos);
}
