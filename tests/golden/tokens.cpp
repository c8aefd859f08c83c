// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <string>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/tokens.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace golden_tokens {

constexpr std::uint32_t vocabulary = 11;
constexpr std::int64_t length = 5;

using learned = ls::model<ls::sequential<ls::tied<"wte", ls::embedding<vocabulary, 6, ls::padding_index<3>>>,
                                         ls::named<"wpe", ls::learned_positions<7>>, ls::named<"body", ls::linear<6>>,
                                         ls::tanh, ls::tied<"wte", ls::linear_without_bias<vocabulary>>>,
                          ls::tokens<length>, ls::cross_entropy>;
using waves = ls::model<ls::sequential<ls::named<"embedding", ls::embedding<vocabulary, 6>>, ls::sinusoidal_positions,
                                       ls::tanh, ls::named<"head", ls::linear<vocabulary>>>,
                        ls::tokens<length>, ls::cross_entropy>;

using char_lstm =
    ls::model<ls::sequential<ls::named<"embedding", ls::embedding<vocabulary, 6>>,
                             ls::named<"lstm", ls::lstm<12, ls::layers<2>>>, ls::named<"head", ls::linear<vocabulary>>>,
              ls::tokens<length>, ls::cross_entropy>;

template <class Trainer, class Optimizer>
void check_tokens(const std::string& name, const Optimizer& optimizer, double tolerance) {
  static const auto golden = golden_file("tokens");
  check_golden_tokens<Trainer>(golden, name, optimizer, vocabulary, tolerance, tolerance);
}

TEST_CASE("networks that read tokens train as in PyTorch", "[golden][tokens]") {
  check_tokens<ls::data_parallel<learned, 1, ls::reference<double>>>("learned", tokens_sgd, 1e-10);
  check_tokens<ls::data_parallel<learned, 1>>("learned", tokens_sgd, 1e-5);
  check_tokens<ls::data_parallel<learned, 3>>("learned", tokens_sgd, 1e-5);
  check_tokens<ls::data_parallel<waves, 2>>("waves", tokens_sgd, 1e-5);
}

TEST_CASE("a language model of lstm trains under adamw as in PyTorch", "[golden][tokens]") {
  check_tokens<ls::data_parallel<char_lstm, 1, ls::reference<double>, ls::adamw>>("char_lstm", tokens_adamw, 1e-10);
  check_tokens<ls::data_parallel<char_lstm, 1, ls::adamw>>("char_lstm", tokens_adamw, 1e-5);
  check_tokens<ls::data_parallel<char_lstm, 3, ls::adamw>>("char_lstm", tokens_adamw, 1e-5);
}

}  // namespace golden_tokens
