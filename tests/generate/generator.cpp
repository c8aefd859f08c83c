// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lockstep/generate/generator.hpp>
#include <lockstep/lockstep.hpp>

#include "support/catch.hpp"
#include "support/difference.hpp"
#include "support/message_of.hpp"

// Tokens one by one, held against forward passes over all of them at once.

namespace ls = lockstep;
using namespace lockstep_test;

namespace generating {

constexpr std::int64_t vocabulary = 24;
constexpr std::int64_t length = 512;
using tokens = std::vector<ls::token_id>;

template <class Positions, class Head>
using net = ls::sequential<
    ls::tied<"wte", ls::embedding<vocabulary, 12>>, Positions,
    ls::repeat<2, ls::sequential<ls::residual<ls::sequential<ls::layer_norm<>, ls::causal_self_attention<3>>>,
                                 ls::residual<ls::sequential<ls::rms_norm<>, ls::linear<20>, ls::gelu<>, ls::dropout<>,
                                                             ls::linear<12>>>>>,
    ls::layer_norm<>, Head>;
using learned = ls::model<net<ls::learned_positions<length>, ls::tied<"wte", ls::linear_without_bias<vocabulary>>>,
                          ls::tokens<length>, ls::cross_entropy>;
using recurrent = ls::model<ls::sequential<ls::embedding<vocabulary, 12>, ls::lstm<20, ls::layers<2>>, ls::gru<14>,
                                           ls::rnn<10>, ls::linear<vocabulary>>,
                            ls::tokens<length>, ls::cross_entropy>;
using waves = ls::model<net<ls::sinusoidal_positions, ls::linear<vocabulary>>, ls::tokens<length>, ls::cross_entropy>;

/// A trainer whose parameters are not those that it begins with.
template <class Model>
struct trained {
  trained() {
    trainer.initialize(ls::seed{5});
    const ls::random_stream draws(ls::seed{9}, ls::random_purpose::synthetic_data);
    std::uint64_t next = 0;
    for (const auto& parameter : trainer.parameters()) {
      auto values = parameter.values();
      for (float& v : values) v += 0.2F * draws.normal(next++);
      parameter.assign(values);
    }
  }
  ls::data_parallel<Model, 1> trainer;
};

/// The most likely token after each of a sequence, by one forward pass over all; what lies beyond is not seen.
template <class Trainer>
tokens most_likely(Trainer& trainer, tokens all) {
  const std::size_t count = all.size();
  all.resize(length);
  const auto logits = trainer.forward(all);
  tokens next;
  for (std::size_t t = 0; t < count; ++t) {
    const float* const row = logits.data() + t * vocabulary;
    next.push_back(static_cast<ls::token_id>(std::max_element(row, row + vocabulary) - row));
  }
  return next;
}

template <class Model>
void check_against_forward() {
  trained<Model> of;
  ls::generator<Model> writer(of.trainer);
  const tokens prompt{3, 1, 4, 1, 5, 9, 2, 6};
  tokens all = prompt;
  const tokens written = writer.generate(prompt, 500);
  REQUIRE(written.size() == 500);
  all.insert(all.end(), written.begin(), written.end());
  const tokens expected = most_likely(of.trainer, all);
  CHECK(std::equal(written.begin(), written.end(), expected.begin() + static_cast<std::ptrdiff_t>(prompt.size()) - 1));
  // A sequence that ends in one token for ever would show nothing.
  CHECK(std::count(written.begin(), written.end(), written.back()) < 400);
}

/// The logits of two sequences of 40 tokens.
template <class Model>
void check_logits() {
  trained<Model> of;
  ls::generator<Model> writer(of.trainer, {.batch = 2});
  tokens x(2 * length);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<ls::token_id>((i * i + i / 7) % vocabulary);
  const auto expected = of.trainer.forward(x);
  double worst = 0;
  double largest = 0;
  for (std::size_t t = 0; t < 40; ++t) {
    const auto logits = writer.append(tokens{x[t], x[length + t]});
    REQUIRE(logits.size() == 2 * vocabulary);
    for (std::size_t s = 0; s < 2; ++s)
      for (std::size_t v = 0; v < vocabulary; ++v) {
        const float want = expected.data()[(s * length + t) * vocabulary + v];
        worst = std::max(worst, difference_of(logits[s * vocabulary + v], want));
        largest = std::max(largest, difference_of(want, 0));
      }
  }
  CHECK(writer.position() == 40);
  CHECK(worst <= 1e-5 * largest);
}

}  // namespace generating

using namespace generating;

TEST_CASE("500 tokens one by one are those of a forward pass", "[generate]") {
  SECTION("learned positions") { check_against_forward<learned>(); }
  SECTION("waves") { check_against_forward<waves>(); }
}

TEST_CASE("logits one by one are those of a forward pass", "[generate]") {
  SECTION("attention") { check_logits<learned>(); }
  SECTION("recurrent layers") { check_logits<recurrent>(); }
}

TEST_CASE("prompts of different lengths in a batch get what each gets alone", "[generate]") {
  trained<learned> of;
  ls::generator<learned> one(of.trainer);
  ls::generator<learned> three(of.trainer, {.batch = 3});
  const std::vector<tokens> prompts{{7}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {20, 3, 20}};
  const auto greedy = three.generate(prompts, 30);
  for (std::size_t i = 0; i < 3; ++i) CHECK(greedy[i] == one.generate(prompts[i], 30));
  CHECK(three.generate(prompts, 0) == std::vector<tokens>(3));
  CHECK(three.generate(std::vector<tokens>{}, 5).empty());
}

TEST_CASE("what is drawn depends on the seed alone", "[generate]") {
  trained<learned> of;
  ls::generator<learned> writer(of.trainer);
  const ls::sampling how{.temperature = 1.5, .top_k = 20, .top_p = 0.95, .seed = ls::seed{4}};
  const auto first = writer.generate({1, 2}, 60, how);
  CHECK(writer.generate({1, 2}, 60, how) == first);
  auto other = how;
  other.seed = ls::seed{5};
  CHECK(writer.generate({1, 2}, 60, other) != first);
  CHECK(first != writer.generate({1, 2}, 60));
}

TEST_CASE("a full context forgets its oldest tokens", "[generate]") {
  trained<learned> of;
  ls::generator<learned> writer(of.trainer, {.context = 16, .forget = 6});
  const tokens prompt{3, 1, 4, 1};
  const tokens written = writer.generate(prompt, 40);
  tokens all = prompt;
  all.insert(all.end(), written.begin(), written.end());
  // After 16 tokens a window begins at 6, after 22 at 12, and so on.
  for (std::size_t t = prompt.size(); t < all.size(); ++t) {
    const std::size_t begin = t <= 16 ? 0 : (t - 17) / 6 * 6 + 6;
    const tokens window(all.begin() + static_cast<std::ptrdiff_t>(begin), all.begin() + static_cast<std::ptrdiff_t>(t));
    INFO("token " << t << ", a window from " << begin);
    CHECK(all[t] == most_likely(of.trainer, window).back());
  }
}

TEST_CASE("a generator takes the parameters of others, and refuses what does not fit", "[generate]") {
  trained<learned> of;
  ls::generator<learned> writer;
  const auto before = writer.generate({1, 2, 3}, 20);
  writer.update_from(of.trainer);
  CHECK(writer.generate({1, 2, 3}, 20) != before);

  ls::data_parallel<waves, 1> other;
  CHECK(message_of<ls::value_error>([&] { writer.update_from(other); }).find("give a trainer of the same model") !=
        std::string::npos);
  CHECK(message_of<ls::value_error>([&] {
          (void)writer.generate({1, 24}, 5);
        }) ==
        "lockstep: generator: expected tokens in 0..23, got 24 at position 1 of prompt 0; encode the text with the "
        "vocabulary of the model");
  CHECK(message_of<ls::value_error>([&] {
          (void)writer.generate(tokens(513, 1), 5);
        }).find("prompts of 1 to 512 tokens") != std::string::npos);
  CHECK_THROWS_AS(writer.generate(tokens{}, 5), ls::value_error);
  CHECK_THROWS_AS(writer.generate({1}, -1), ls::value_error);
  CHECK_THROWS_AS(writer.generate(std::vector<tokens>{{1}, {2}}, 3), ls::value_error);
  CHECK_THROWS_AS(writer.generate({1}, 3, {.temperature = -1}), ls::value_error);
  CHECK_THROWS_AS(writer.generate({1}, 3, {.temperature = 1, .top_p = 0}), ls::value_error);
  CHECK_THROWS_AS(ls::generator<learned>({.context = 513}), ls::value_error);
  CHECK_THROWS_AS(ls::generator<learned>({.batch = 0}), ls::value_error);
  writer.reset();
  for (int i = 0; i < 512; ++i) (void)writer.append(tokens{1});
  CHECK_THROWS_AS(writer.append(tokens{1}), ls::value_error);
}
