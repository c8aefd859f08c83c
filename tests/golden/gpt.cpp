// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <string>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/tokens.hpp"
#include "models/gpt.hpp"

// examples/models/gpt.hpp against transformers' GPT2LMHeadModel, which generate_gpt.py has run.

namespace golden_gpt {

namespace ls = lockstep;
using namespace lockstep_test;

constexpr std::uint32_t vocabulary = 40;

template <std::int64_t Length>
using gpt = ls::model<models::gpt<2, 2, 16, 12, vocabulary>, ls::tokens<Length>, ls::cross_entropy>;

template <class Trainer>
void check_gpt(const std::string& name, double tolerance, double trained) {
  static const auto golden = golden_file("gpt");
  check_golden_tokens<Trainer>(golden, name, tokens_adamw, vocabulary, tolerance, trained);
}

TEST_CASE("gpt trains under adamw as transformers' GPT-2", "[golden][gpt]") {
  check_gpt<ls::data_parallel<gpt<12>, 1, ls::reference<double>, ls::adamw>>("gpt", 1e-10, 1e-10);
  check_gpt<ls::data_parallel<gpt<12>, 1, ls::adamw>>("gpt", 1e-5, 1e-5);
  check_gpt<ls::data_parallel<gpt<12>, 3, ls::adamw>>("gpt", 1e-5, 1e-5);
}

TEST_CASE("gpt trains on sequences shorter than its context", "[golden][gpt]") {
  check_gpt<ls::data_parallel<gpt<7>, 1, ls::adamw>>("short", 1e-5, 1e-5);
  check_gpt<ls::data_parallel<gpt<7>, 3, ls::adamw>>("short", 1e-5, 1e-5);
}

}  // namespace golden_gpt
