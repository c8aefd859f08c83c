// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/sequential.hpp>

#include <string>
#include <vector>

#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/pool2d.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::conv2d;
using ls::flatten;
using ls::input;
using ls::linear;
using ls::named;
using ls::relu;
using ls::sequential;

static_assert(ls::layer<flatten>);
static_assert(flatten::output(ls::dims{3, 4, 5}) == ls::dims{60});

template <class Model>
std::vector<std::string> names() {
  constexpr const auto& plan = Model::template plan<oracle>;
  std::vector<std::string> all;
  for (int p = 0; p < plan.parameter_tensors; ++p)
    all.push_back(Model::template parameter_name<oracle>(plan.parameters[static_cast<std::size_t>(p)]));
  return all;
}

}  // namespace

TEST_CASE("flatten at the beginning, in the middle and at the end") {
  check_gradients<regression<input<2, 2, 3>, flatten, linear<4>>>();
  check_gradients<regression<input<2, 3, 4>, conv2d<3, 2>, flatten, linear<4>>>();
  check_gradients<regression<input<2, 3, 4>, conv2d<3, 2>, flatten>>();
  check_gradients<regression<input<2, 3, 4>, conv2d<3, 2>, relu, flatten>>();
  check_gradients<regression<input<1, 3, 4>, conv2d<1, 2>, flatten, linear<2>>>();
}

TEST_CASE("flatten twice is flatten") {
  check_gradients<regression<input<2, 3, 4>, conv2d<3, 2>, flatten, flatten, linear<2>>>();
}

TEST_CASE("a convolutional classifier, every kind of layer in it") {
  using net = sequential<conv2d<4, 3, ls::padding<1>>, relu, ls::max_pool2d<2>, conv2d<6, 3, ls::padding<1>>, relu,
                         ls::avg_pool2d<2>, flatten, linear<18>, relu, linear<4>>;
  check_gradients<ls::model<net, input<2, 8, 8>, ls::cross_entropy>>({}, {.samples = 4});
}

TEST_CASE("nested sequentials compute what the flat one computes") {
  using flat = regression<input<2, 4, 4>, conv2d<3, 3>, relu, flatten, linear<5>, relu, linear<2>>;
  using nested = regression<input<2, 4, 4>, sequential<conv2d<3, 3>, relu>,
                            named<"head", sequential<flatten, sequential<linear<5>, relu>, named<"out", linear<2>>>>>;
  check_gradients<nested>();
  const settings s;
  const doubles parameters = uniform(flat::parameter_count, 1);
  const doubles x = uniform(s.samples * 32, 2);
  const doubles targets = uniform(s.samples * 2, 3);
  runner<flat, ls::cpu> one({}, x, targets, s);
  runner<nested, ls::cpu> other({}, x, targets, s);
  CHECK(one.forward(parameters) == other.forward(parameters));

  CHECK(names<flat>() == std::vector<std::string>{"0.weight", "0.bias", "3.weight", "3.bias", "5.weight", "5.bias"});
  CHECK(names<nested>() == std::vector<std::string>{"0.0.weight", "0.0.bias", "head.1.0.weight", "head.1.0.bias",
                                                    "head.out.weight", "head.out.bias"});
}
