// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/parallel/predictor.hpp>

#include "parallel/parallel_support.hpp"

// Tokens at the doors of a trainer and of a predictor: every type of integer, and what is refused before anything
// changes. What networks compute from tokens is in golden/tokens.cpp.

namespace ls = lockstep;
using namespace lockstep_test;

namespace tokens_at_doors {

constexpr std::int64_t length = 5;
using embedded = ls::named<"words", ls::embedding<300, 8, ls::padding_index<2>>>;
using text = ls::model<ls::sequential<embedded, ls::learned_positions<length>, ls::relu, ls::linear<300>>,
                       ls::tokens<length>, ls::cross_entropy>;
// Two layers with vocabularies of their own read the words; a picture is beside them.
using both = ls::model<ls::sequential<ls::concat<ls::from<"words", ls::sequential<ls::embedding<300, 4>, ls::flatten>>,
                                                 ls::from<"words", ls::sequential<ls::embedding<200, 2>, ls::flatten>>,
                                                 ls::from<"image", ls::flatten>>,
                                      ls::linear<3>>,
                       ls::inputs<ls::named<"image", ls::input<2, 3>>, ls::named<"words", ls::tokens<length>>>,
                       ls::cross_entropy>;

template <class T>
std::vector<T> tokens_of(const std::vector<std::int64_t>& from) {
  return {from.begin(), from.end()};
}

inline std::vector<float> outputs_of(const auto& y) { return {y.begin(), y.end()}; }

TEST_CASE("a vocabulary is the smallest of the layers that read an input", "[tokens]") {
  STATIC_REQUIRE(text::takes_tokens[0]);
  STATIC_REQUIRE(text::graph.inputs[0].vocabulary == 300);
  STATIC_REQUIRE(!both::takes_tokens[0]);
  STATIC_REQUIRE(both::graph.inputs[1].vocabulary == 200);
  STATIC_REQUIRE(text::output_dims == ls::dims{length, 300});
}

TEST_CASE("tokens are integers of any type", "[tokens]") {
  ls::data_parallel<text, 2> trainer;
  const auto wide = class_draws(1, 3 * length, 127);
  const auto expected = outputs_of(trainer.forward(wide));
  CHECK(outputs_of(trainer.forward(tokens_of<std::int32_t>(wide))) == expected);
  CHECK(outputs_of(trainer.forward(tokens_of<std::uint8_t>(wide))) == expected);
  CHECK(outputs_of(trainer.forward(tokens_of<signed char>(wide))) == expected);
  CHECK(outputs_of(trainer.forward(tokens_of<std::uint64_t>(wide))) == expected);
  const auto narrow = tokens_of<std::int32_t>(wide);
  CHECK(outputs_of(trainer.forward(ls::view<length>(narrow))) == expected);
  ls::batch_of<std::uint16_t, length> owned(3);
  std::copy(wide.begin(), wide.end(), owned.data());
  CHECK(outputs_of(trainer.forward(owned)) == expected);

  const ls::predictor<text, 1> server(trainer, {.max_batch = 4});
  CHECK(outputs_of(server.predict(owned)) == expected);
  CHECK(outputs_of(server.submit(narrow).get()) == expected);
}

TEST_CASE("a token outside the vocabulary is named before anything changes", "[tokens]") {
  ls::data_parallel<text, 2> trainer(ls::sgd{.learning_rate = 0.5F});
  auto x = class_draws(1, 3 * length, 300);
  const auto targets = class_draws(2, 3 * length, 300);
  trainer.step(x, targets);
  const auto before = all_values(trainer.parameters());
  x[7] = 300;
  const std::string message = "data_parallel: expected tokens in 0..299, got 300 at position 2 of sample 1";
  CHECK(message_of<ls::value_error>([&] { trainer.step(x, targets); }).find(message) != std::string::npos);
  CHECK(message_of<ls::value_error>([&] { trainer.accumulate(x, targets); }).find(message) != std::string::npos);
  CHECK(message_of<ls::value_error>([&] { (void)trainer.evaluate(x, targets); }).find(message) != std::string::npos);
  CHECK(message_of<ls::value_error>([&] { (void)trainer.forward(x); }).find(message) != std::string::npos);
  x[7] = -1;
  CHECK_THROWS_AS(trainer.step(tokens_of<std::int32_t>(x), targets), ls::value_error);
  auto huge = tokens_of<std::uint64_t>(class_draws(1, 3 * length, 300));
  huge[14] = std::uint64_t{1} << 63U;
  CHECK(message_of<ls::value_error>([&] { trainer.step(huge, targets); }).find("position 4 of sample 2") !=
        std::string::npos);
  const ls::predictor<text, 1> server(trainer);
  CHECK_THROWS_AS(server.predict(x), ls::value_error);
  CHECK_THROWS_AS(trainer.step(std::vector<int>(7), targets), ls::shape_error);
  CHECK(all_values(trainer.parameters()) == before);
  CHECK(trainer.steps() == 1);
}

TEST_CASE("an input of tokens stands beside one of values", "[tokens]") {
  ls::data_parallel<both, 2> two(ls::sgd{.learning_rate = 0.5F});
  ls::data_parallel<both, 1, ls::reference<double>> one(ls::sgd{.learning_rate = 0.5F});
  const auto words = class_draws(1, 7 * length, 200);
  const auto targets = class_draws(2, 7, 3);
  const auto image = draws<float>(3, 7 * 6);
  const std::vector<double> precise(image.begin(), image.end());
  for (int step = 0; step < 3; ++step) {
    const double loss = one.step(std::tie(precise, words), targets);
    CHECK(is_close(two.step(std::tie(image, words), targets), loss, {.relative = 1e-5}));
  }
  auto given = two.parameters().begin();
  for (const auto& expected : one.parameters()) {
    INFO(expected.name());
    CHECK(relative_difference((*given).values(), expected.values()) <= 1e-5);
    ++given;
  }
  auto wrong = words;
  wrong[6] = 200;
  CHECK(message_of<ls::value_error>([&] {
          two.step(std::tie(image, wrong), targets);
        }).find("input words: expected tokens in 0..199, got 200 at position 1 of sample 1") != std::string::npos);
}

TEST_CASE("an embedding begins with normal numbers, and zeros for padding", "[tokens]") {
  ls::data_parallel<text, 1> trainer;
  trainer.initialize(ls::seed{3});
  const auto weight = (*trainer.parameters().begin()).values();
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    if (i / 8 == 2) CHECK(weight[i] == 0);
    sum += double{weight[i]};
    squares += double{weight[i]} * double{weight[i]};
  }
  const auto count = static_cast<double>(weight.size());
  // Five standard errors of 2,400 draws.
  CHECK(std::abs(sum / count) < 0.1);
  CHECK(std::abs(squares / count - 1) < 0.15);
}

TEST_CASE("networks that read tokens have the same bits for any number of replicas", "[tokens]") {
  using tied =
      ls::model<ls::sequential<ls::tied<"wte", ls::embedding<40, 8>>, ls::learned_positions<length>, ls::dropout<0.25>,
                               ls::linear<8>, ls::tanh, ls::tied<"wte", ls::linear_without_bias<40>>>,
                ls::tokens<length>, ls::cross_entropy>;
  const auto train = [&]<int N>() {
    ls::data_parallel<tied, N, ls::reduce::reproducible> trainer(ls::sgd{.learning_rate = 0.5F});
    trainer.initialize(ls::seed{7});
    std::vector<double> losses;
    for (const std::int64_t samples : {11, 8, 3})
      losses.push_back(trainer.step(class_draws(static_cast<std::uint64_t>(samples), samples * length, 40),
                                    class_draws(2, samples * length, 40)));
    return std::pair(losses, all_values(trainer.parameters()));
  };
  const auto expected = train.operator()<1>();
  CHECK(train.operator()<2>() == expected);
  CHECK(train.operator()<8>() == expected);
}

}  // namespace tokens_at_doors
