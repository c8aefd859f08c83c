// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/divergence.hpp>

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// What is said of a run with these losses.
std::string told(const std::vector<double>& losses, ls::divergence_facts facts = {}) {
  facts.losses = losses;
  const auto found = ls::find_divergence(facts);
  return found ? found->text() : "nothing";
}

}  // namespace

TEST_CASE("losses that are finite have not diverged", "[divergence]") {
  CHECK(told({}) == "nothing");
  CHECK(told({2.3, 1e300, 0, -1}) == "nothing");
}

TEST_CASE("a loss that rose tells of the learning rate", "[divergence]") {
  const std::vector<double> losses{2.5, 2.25, 1e6, 4e20, no_number, infinity};
  CHECK(told(losses, {.learning_rate = 10}) ==
        "The loss is not a number in step 5. It rose from 2.25 in step 2 to 4e+20 in step 4: the learning rate of 10 "
        "is too high. Try a learning rate of 0.1 or less instead of 10, or clip gradients to a largest norm of 1.");
  CHECK(told(losses, {.first_step = 101, .learning_rate = 10, .clipped = true}) ==
        "The loss is not a number in step 105. It rose from 2.25 in step 102 to 4e+20 in step 104: the learning rate "
        "of 10 is too high. Try a learning rate of 0.1 or less instead of 10.");
  CHECK(told(losses) ==
        "The loss is not a number in step 5. It rose from 2.25 in step 2 to 4e+20 in step 4: the learning rate is too "
        "high. Try a smaller learning rate, or clip gradients to a largest norm of 1.");
  CHECK(told({2.5, infinity}, {.learning_rate = 1000}) ==
        "The loss is infinite in step 2. One update led there from 2.5: the learning rate of 1000 is too high. Try a "
        "learning rate of 0.1 or less instead of 1000, or clip gradients to a largest norm of 1.");
  CHECK(told(losses, {.learning_rate = 0.1, .momentum = 1.5}) ==
        "The loss is not a number in step 5. A momentum of 1.5 lets steps grow without end. Try a momentum below 1.");
}

TEST_CASE("a loss that had not risen tells of one large update", "[divergence]") {
  const std::string text = told({2.5, 2.25, 2.0, no_number}, {.learning_rate = 0.5});
  CHECK(text ==
        "The loss is not a number in step 4. It was 2 in step 3 and had not risen: one update was too large, as a "
        "batch of unusual samples or the learning rate of 0.5 brings about. Try a learning rate of 0.05 or less "
        "instead of 0.5, or clip gradients to a largest norm of 1.");
}

TEST_CASE("a value that is not finite is the cause before all others", "[divergence]") {
  const std::vector<double> losses{2, 50, no_number};
  CHECK(told(losses, {.learning_rate = 1, .inputs = {.broken = 25, .largest = 1}, .sample_size = 10}) ==
        "The loss is not a number in step 3. Value 5 of sample 2 of its batch (counted from 0) is not finite. Leave "
        "such samples out, or replace the value.");
  CHECK(told(losses, {.targets = {.broken = 3}}) ==
        "The loss is not a number in step 3. Value 3 of its batch's targets (counted from 0) is not finite. Leave such "
        "samples out, or replace the value.");
  CHECK(told({no_number}, {.broken_start = "start.safetensors"}) ==
        "The loss is not a number in step 1. The parameters in start.safetensors are not all finite. Begin with other "
        "parameters.");
}

TEST_CASE("inputs that are not scaled are named", "[divergence]") {
  CHECK(told({no_number}, {.inputs = {.largest = 1e30}}) ==
        "The loss is not a number in step 1. Its inputs reach 1e+30: they may not be scaled. Scale inputs to about 1.");
  const std::string both = told({2, 5e8, no_number}, {.learning_rate = 0.1, .inputs = {.largest = 255}});
  CHECK(both ==
        "The loss is not a number in step 3. It rose from 2 in step 1 to 5e+08 in step 2: the learning rate of 0.1 is "
        "too high. Its inputs reach 255: they may not be scaled. Scale inputs to about 1. Try a learning rate of 0.01 "
        "or less instead of 0.1, or clip gradients to a largest norm of 1.");
  CHECK(told({no_number}, {.inputs = {.largest = 1}}).find("before anything was learnt") != std::string::npos);
}

TEST_CASE("values are looked at up to the first that is not finite", "[divergence]") {
  const float broken = std::numeric_limits<float>::infinity();
  const std::vector<float> values{1, -7, 2, broken, 100};
  const auto found = ls::check_values(values);
  CHECK(found.broken == 3);
  CHECK(found.largest == 7);
  CHECK(ls::check_values(std::vector<float>{0.5F}).broken == -1);
  CHECK(ls::check_values({}).largest == 0);
}

TEST_CASE("losses that stay finite and grow have diverged too", "[divergence]") {
  const auto grew = [](const std::vector<double>& losses) {
    return ls::find_growth({.losses = losses, .learning_rate = 1}).has_value();
  };
  CHECK(grew({1, 11}));
  CHECK_FALSE(grew({1, 10}));
  CHECK_FALSE(grew({1}));
  CHECK_FALSE(grew({0, 11}));
  CHECK_FALSE(grew({1, no_number}));
  std::vector<double> peak(100, 1.0);
  peak[50] = 1e9;
  CHECK_FALSE(grew(peak));
  for (std::size_t i = 90; i < 100; ++i) peak[i] = 20;
  CHECK(grew(peak));
  peak[95] = 5;
  CHECK_FALSE(grew(peak));
  CHECK(
      ls::find_growth({.losses = std::vector<double>{2, 40}, .learning_rate = 1})->text() ==
      "The loss grew from 2 to 40. Most often the learning rate is too high, or inputs are not scaled. Try a learning "
      "rate of 0.1 or less instead of 1, or clip gradients to a largest norm of 1.");
}

TEST_CASE("a test loss alone that is not finite tells of the last update", "[divergence]") {
  const std::vector<double> losses{2};
  const auto found = ls::find_test_divergence({.losses = losses, .learning_rate = 1e30}, 1, no_number);
  CHECK(found.step == 1);
  CHECK(found.text() ==
        "The test loss is not a number after step 1. The last update was too large: the learning rate of 1e+30 is too "
        "high. Try a learning rate of 0.1 or less instead of 1e+30, or clip gradients to a largest norm of 1.");
  CHECK(ls::find_test_divergence({.inputs = {.broken = 3}, .sample_size = 2}, 1, no_number).cause ==
        "Value 1 of sample 1 of its batch (counted from 0) is not finite.");
}
