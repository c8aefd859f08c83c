// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <lockstep/generate/sampling.hpp>

#include "support/catch.hpp"

// How one token is chosen from its logits.

namespace ls = lockstep;

namespace sampling_tokens {

constexpr std::array<float, 6> logits{0.5F, 2.F, -1.F, 2.F, 1.F, 0.F};

/// How often each token is chosen, of evenly spread draws.
std::vector<double> shares(const ls::sampling& how) {
  ls::detail::token_sampler sampler;
  constexpr int draws = 100'000;
  std::vector<double> all(logits.size());
  for (int i = 0; i < draws; ++i)
    all[static_cast<std::size_t>(sampler.choose(logits, how, (static_cast<float>(i) + 0.5F) / draws))] += 1.0 / draws;
  return all;
}

/// The softmax of the logits, of those tokens that are kept.
std::vector<double> softmax(double temperature, const std::array<bool, 6>& kept) {
  std::vector<double> all;
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i)
    sum += all.emplace_back(kept[i] ? std::exp(double{logits[i]} / temperature) : 0.0);
  for (double& p : all) p /= sum;
  return all;
}

void check_shares(const std::vector<double>& given, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < given.size(); ++i) {
    INFO("token " << i);
    CHECK(std::abs(given[i] - expected[i]) <= 1e-4);
  }
}

}  // namespace sampling_tokens

using namespace sampling_tokens;

TEST_CASE("at temperature zero the first of the most likely tokens is chosen", "[generate]") {
  CHECK(shares({})[1] == Approx(1));
}

TEST_CASE("tokens are drawn by the softmax of their logits", "[generate]") {
  constexpr std::array<bool, 6> all{true, true, true, true, true, true};
  check_shares(shares({.temperature = 1}), softmax(1, all));
  check_shares(shares({.temperature = 0.5}), softmax(0.5, all));
  check_shares(shares({.temperature = 3}), softmax(3, all));
}

TEST_CASE("top_k and top_p leave the most likely tokens", "[generate]") {
  check_shares(shares({.temperature = 1, .top_k = 3}), softmax(1, {false, true, false, true, true, false}));
  check_shares(shares({.temperature = 1, .top_k = 100}), softmax(1, {true, true, true, true, true, true}));
  // The two most likely have 0.37 each, and 0.14 comes after them.
  check_shares(shares({.temperature = 1, .top_p = 0.7}), softmax(1, {false, true, false, true, false, false}));
  check_shares(shares({.temperature = 1, .top_p = 0.8}), softmax(1, {false, true, false, true, true, false}));
  check_shares(shares({.temperature = 1, .top_p = 0.01}), softmax(1, {false, true, false, false, false, false}));
  // Among the three that top_k leaves, the first two have 0.84.
  check_shares(shares({.temperature = 1, .top_k = 3, .top_p = 0.8}),
               softmax(1, {false, true, false, true, false, false}));
}

TEST_CASE("logits that are no numbers are never chosen", "[generate]") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float infinity = std::numeric_limits<float>::infinity();
  ls::detail::token_sampler sampler;
  const std::array<float, 4> some{nan, 1.F, -infinity, nan};
  CHECK(sampler.choose(some, {}, 0.F) == 1);
  for (const float draw : {0.F, 0.5F, 0.999F}) CHECK(sampler.choose(some, {.temperature = 1}, draw) == 1);
  const std::array<float, 2> none{nan, nan};
  CHECK_THROWS_AS(sampler.choose(none, {}, 0.F), ls::value_error);
  const std::array<float, 2> without_bound{infinity, 1.F};
  CHECK_THROWS_AS(sampler.choose(without_bound, {.temperature = 1}, 0.F), ls::value_error);
}
