// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A trainer takes the batches of texts as a loader gives them.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/data/text.hpp>
#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;

constexpr std::int64_t length = 6;
constexpr std::int64_t vocabulary = 256;
using net = ls::sequential<ls::embedding<vocabulary, 8>, ls::linear<vocabulary>>;
using next_byte = ls::model<net, ls::tokens<length>, ls::cross_entropy>;

}  // namespace

TEST_CASE("text: a trainer learns what follows from windows", "[data]") {
  std::string text;
  while (text.size() < 400) text += "abcde";
  const auto samples =
      data::windows<length>(data::token_sequence(std::vector<std::uint8_t>(text.begin(), text.end())), {.stride = 1});
  ls::data_parallel<next_byte, 2> trainer{ls::sgd{.learning_rate = 2.0F}};
  trainer.initialize(ls::seed{1});
  data::loader batches{samples, {.batch = 16}, data::window_sampler{samples}};
  double loss = 0;
  for (int epoch = 0; epoch < 40; ++epoch)
    for (auto&& [tokens, targets] : batches) loss = trainer.step(tokens, targets);
  CHECK(loss < 0.05);  // from log 256
}

TEST_CASE("text: the loss of documents is the mean over the targets that they have", "[data]") {
  const std::vector<std::string> texts{"to be", "or", "not to be, that is the question"};
  const auto samples = data::documents<length>(texts, {.padding = ' '});
  ls::data_parallel<next_byte, 2> trainer;
  trainer.initialize(ls::seed{3});
  data::loader batches{samples, {.batch = 3}};
  const auto batch = *batches.begin();
  const auto& [tokens, targets, lengths] = batch;
  const auto logits = trainer.forward(tokens);
  const float* const y = logits.data();
  double sum = 0;
  int count = 0;
  for (std::size_t row = 0; row < texts.size(); ++row)
    for (std::size_t t = 0; t < length && t + 1 < texts[row].size(); ++t) {
      const float* const scores = y + (row * length + t) * vocabulary;
      double total = 0;
      for (std::int64_t k = 0; k < vocabulary; ++k) total += std::exp(double{scores[k]});
      sum += std::log(total) - double{scores[static_cast<std::uint8_t>(texts[row][t + 1])]};
      ++count;
    }
  CHECK(count == 4 + 1 + 6);
  CHECK(trainer.step(tokens, targets) == Approx(sum / count).epsilon(1e-5));
}
