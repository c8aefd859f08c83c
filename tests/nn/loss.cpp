// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/loss.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/linear.hpp>

#include "nn/support.hpp"

namespace {

using namespace lockstep_test;
using ls::cross_entropy;
using ls::input;
using ls::linear;
using ls::mean_squared_error;

using classifier = ls::model<ls::sequential<linear<4>>, input<5>, cross_entropy>;

}  // namespace

TEST_CASE("cross_entropy: gradients with every option") {
  const settings s{.samples = 6};
  for (const bool weighted : {false, true})
    for (const float smoothing : {0.F, 0.1F, 1.F})
      for (const std::int64_t ignored : {std::int64_t{-100}, std::int64_t{1}}) {
        CAPTURE(weighted, smoothing, ignored);
        const cross_entropy loss{
            .class_weights = weighted ? std::vector<float>{0.5F, 2.F, 0.F, 1.25F} : std::vector<float>{},
            .label_smoothing = smoothing,
            .ignore_index = ignored};
        check_gradients<classifier>(loss, s);
      }
}

TEST_CASE("cross_entropy: two classes, and many") {
  check_gradients<ls::model<ls::sequential<linear<2>>, input<3>, cross_entropy>>();
  check_gradients<ls::model<ls::sequential<linear<3>, linear<20>>, input<3>, cross_entropy>>();
}

TEST_CASE("mean_squared_error: gradients of vectors and of pictures") {
  check_gradients<ls::model<ls::sequential<linear<4>>, input<5>, mean_squared_error>>({}, {.samples = 4});
  check_gradients<ls::model<ls::sequential<ls::conv2d<2, 2>>, input<2, 3, 4>, mean_squared_error>>();
}

TEST_CASE("cross_entropy: the denominator is the weight of the targets that count") {
  const ls::dims four{4};
  const std::vector<std::int64_t> targets{0, 3, -100, 1};
  CHECK(cross_entropy{}.denominator(targets.data(), 4, four) == 3);
  const cross_entropy weighted{.class_weights = {0.5F, 2.F, 7.F, 1.25F}};
  CHECK(weighted.denominator(targets.data(), 4, four) == 3.75);
  const cross_entropy other{.class_weights = {0.5F, 2.F, 7.F, 1.25F}, .label_smoothing = 0.F, .ignore_index = 3};
  const std::vector<std::int64_t> valid{0, 3, 3, 1};
  CHECK(other.denominator(valid.data(), 4, four) == 2.5);
  CHECK(cross_entropy{}.counted(4, four, targets.data()) == 3);
}

TEST_CASE("cross_entropy: a target that is no class is named") {
  const ls::dims four{4};
  const std::vector<std::int64_t> high{0, 4};
  const std::vector<std::int64_t> low{0, 1, -1};
  CHECK_THROWS_AS(cross_entropy{}.denominator(high.data(), 2, four), ls::value_error);
  CHECK_THROWS_WITH(cross_entropy{}.denominator(low.data(), 3, four),
                    "lockstep: cross_entropy: expected a target in 0..3 or -100 (ignored), got -1 for sample 2");
}

TEST_CASE("cross_entropy: hits are rows whose largest logit is the target's") {
  const std::vector<double> logits{0, 1, 2, 5, 1, 2, 0, 3, 1};
  const std::vector<std::int64_t> targets{2, 1, 1};
  CHECK(cross_entropy{}.correct(3, ls::dims{3}, logits.data(), targets.data()) == 2);
  const std::vector<std::int64_t> ignored{2, 0, -100};
  CHECK(cross_entropy{}.correct(3, ls::dims{3}, logits.data(), ignored.data()) == 2);
  CHECK(cross_entropy{}.counted(3, ls::dims{3}, ignored.data()) == 2);
  // What is ignored may be a class: the largest logit of rows 0 and 2.
  const std::vector<double> rows{0, 1, 2, 5, 1, 2, 0, 0, 1};
  const std::vector<std::int64_t> class_ignored{2, 0, 2};
  const cross_entropy without{.ignore_index = 2};
  CHECK(without.correct(3, ls::dims{3}, rows.data(), class_ignored.data()) == 1);
  CHECK(without.counted(3, ls::dims{3}, class_ignored.data()) == 1);
}

TEST_CASE("cross_entropy: options out of their domain are refused") {
  const ls::dims four{4};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_NOTHROW(cross_entropy{}.check_options(four));
  CHECK_NOTHROW((cross_entropy{.class_weights = {1, 2, 0, 3}, .label_smoothing = 1.F}.check_options(four)));
  CHECK_THROWS_AS((cross_entropy{.class_weights = {1, 2, 3}}.check_options(four)), ls::value_error);
  CHECK_THROWS_AS((cross_entropy{.class_weights = {1, 2, 3, 4, 5}}.check_options(four)), ls::value_error);
  CHECK_THROWS_AS((cross_entropy{.class_weights = {1, 2, 3, -1}}.check_options(four)), ls::value_error);
  CHECK_THROWS_AS((cross_entropy{.class_weights = {1, 2, 3, nan}}.check_options(four)), ls::value_error);
  CHECK_THROWS_AS((cross_entropy{.label_smoothing = -0.1F}.check_options(four)), ls::value_error);
  CHECK_THROWS_AS((cross_entropy{.label_smoothing = 1.1F}.check_options(four)), ls::value_error);
  CHECK_THROWS_AS((cross_entropy{.label_smoothing = nan}.check_options(four)), ls::value_error);
}

TEST_CASE("mean_squared_error: the denominator is the number of elements") {
  const std::vector<float> targets(12);
  CHECK(mean_squared_error::denominator(targets.data(), 12, ls::dims{4}) == 12);
  CHECK(mean_squared_error::target_size(ls::dims{4, 2}) == 8);
}
