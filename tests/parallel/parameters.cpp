// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parallel/parallel_support.hpp"

namespace ls = lockstep;
using lockstep_test::all_values;
using lockstep_test::draws;

namespace {

using net = ls::sequential<ls::named<"conv1", ls::conv2d<4, 3>>, ls::relu, ls::flatten, ls::named<"fc", ls::linear<3>>>;
using classifier = ls::model<net, ls::input<2, 6, 5>, ls::cross_entropy>;
using trainer = ls::data_parallel<classifier, 2>;

}  // namespace

TEST_CASE("parameters have PyTorch's names, shapes and order", "[parameters]") {
  const trainer t;
  std::vector<std::string> names;
  std::vector<ls::dims> shapes;
  for (const auto& p : t.parameters()) {
    names.emplace_back(p.name());
    shapes.push_back(p.shape());
    CHECK(p.size() == p.shape().size());
    CHECK(static_cast<std::int64_t>(p.values().size()) == p.size());
  }
  CHECK(names == std::vector<std::string>{"conv1.weight", "conv1.bias", "fc.weight", "fc.bias"});
  CHECK(shapes == std::vector<ls::dims>{ls::dims{4, 2, 3, 3}, ls::dims{4}, ls::dims{3, 48}, ls::dims{3}});
  CHECK(t.parameters().size() == 4);
  CHECK(t.gradients().at("fc.weight").shape() == ls::dims{3, 48});
}

TEST_CASE("assigned values are read back, and a forward pass uses them in PyTorch's order", "[parameters]") {
  trainer t;
  const auto conv_weight = draws<float>(1, 72);
  const auto conv_bias = draws<float>(2, 4);
  const auto fc_weight = draws<float>(3, 144);
  const auto fc_bias = draws<float>(4, 3);
  t.parameters().at("conv1.weight").assign(conv_weight);
  t.parameters().at("conv1.bias").assign(conv_bias);
  t.parameters().at("fc.weight").assign(fc_weight);
  t.parameters().at("fc.bias").assign(fc_bias);
  CHECK(all_values(t.parameters()) == std::vector<std::vector<float>>{conv_weight, conv_bias, fc_weight, fc_bias});
  CHECK(all_values(std::as_const(t).parameters()) == all_values(t.parameters()));

  // The definition of the network, in PyTorch's order of everything.
  const auto x = draws<float>(5, 3 * 60);
  const auto y = t.forward(lockstep_test::batch<classifier>(x));
  for (std::size_t s = 0; s < 3; ++s) {
    std::vector<double> features;
    for (std::size_t oc = 0; oc < 4; ++oc)
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t j = 0; j < 3; ++j) {
          double sum = conv_bias[oc];
          for (std::size_t ic = 0; ic < 2; ++ic)
            for (std::size_t ki = 0; ki < 3; ++ki)
              for (std::size_t kj = 0; kj < 3; ++kj)
                sum += double{x[s * 60 + ic * 30 + (i + ki) * 5 + j + kj]} *
                       double{conv_weight[oc * 18 + ic * 9 + ki * 3 + kj]};
          features.push_back(sum > 0 ? sum : 0);
        }
    for (std::size_t o = 0; o < 3; ++o) {
      double sum = fc_bias[o];
      for (std::size_t i = 0; i < 48; ++i) sum += features[i] * double{fc_weight[o * 48 + i]};
      CHECK(y(s, o) == Approx(sum).epsilon(1e-4).margin(1e-5));
    }
  }
}

TEST_CASE("a wrong number of values or an unknown name changes nothing and says what is there", "[parameters]") {
  trainer t;
  const auto before = all_values(t.parameters());
  const std::vector<float> few(47);
  const auto assign = [&] { t.parameters().at("fc.weight").assign(few); };
  CHECK_THROWS_AS(assign(), ls::shape_error);
  CHECK_THROWS_WITH(assign(),
                    Catch::Contains("fc.weight") && Catch::Contains("144 values (3x48)") && Catch::Contains("got 47"));
  const auto unknown = [&] { static_cast<void>(t.parameters().at("fc.weigth")); };
  CHECK_THROWS_AS(unknown(), ls::value_error);
  CHECK_THROWS_WITH(
      unknown(), Catch::Contains("conv1.weight, conv1.bias, fc.weight, fc.bias") && Catch::Contains("got fc.weigth"));
  CHECK(all_values(t.parameters()) == before);
}
