// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The merging of a word's tokens against GPT-2's loop over them.
#include <lockstep/data/text/merges.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace data = lockstep::data;
using ids = std::vector<std::int32_t>;
using pair = std::pair<std::int32_t, std::int32_t>;
using rules = std::map<pair, data::detail::merge>;

/// `bpe` of encoder.py, step by step.
ids merged_as_gpt2(ids word, const rules& merges) {
  for (;;) {
    auto best = merges.end();
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = merges.find({word[i], word[i + 1]});
      if (found != merges.end() && (best == merges.end() || found->second.rank < best->second.rank)) best = found;
    }
    if (best == merges.end()) return word;
    ids next;
    for (std::size_t i = 0; i < word.size(); ++i)
      if (i + 1 < word.size() && pair(word[i], word[i + 1]) == best->first) {
        next.push_back(best->second.result);
        ++i;
      } else {
        next.push_back(word[i]);
      }
    word = std::move(next);
  }
}

data::detail::merge_table table_of(const rules& merges) {
  data::detail::merge_table table(merges.size());
  for (const auto& [of, to] : merges) table.set(of.first, of.second, to);
  return table;
}

}  // namespace

TEST_CASE("word_merger: merges as GPT-2 for any vocabulary and order of merges", "[data]") {
  std::mt19937 engine(17);
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(engine()) % bound; };
  int merged = 0;
  for (int round = 0; round < 400; ++round) {
    // Tokens are strings of two letters; pairs of them merge where that gives a token, whichever the pair.
    std::vector<std::string> tokens{"a", "b"};
    std::map<std::string, std::int32_t> numbers{{"a", 0}, {"b", 1}};
    rules merges;
    const std::size_t count = 1 + below(30);
    std::vector<std::uint32_t> ranks;
    while (ranks.size() < count) ranks.push_back(static_cast<std::uint32_t>(ranks.size()));
    std::shuffle(ranks.begin(), ranks.end(), engine);
    for (std::size_t i = 0; i < count; ++i) {
      const auto left = static_cast<std::int32_t>(below(tokens.size()));
      const auto right = static_cast<std::int32_t>(below(tokens.size()));
      const std::string both = tokens[static_cast<std::size_t>(left)] + tokens[static_cast<std::size_t>(right)];
      const auto [at, is_new] = numbers.emplace(both, static_cast<std::int32_t>(tokens.size()));
      if (is_new) tokens.push_back(both);
      merges[{left, right}] = {ranks[i], at->second};
    }
    const auto table = table_of(merges);
    data::detail::word_merger merge(table);
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{2}, 3 + below(40), std::size_t{48},
                                     std::size_t{49}, 50 + below(150)}) {
      ids word(length);
      const std::size_t period = 1 + below(7);  // repetition makes pairs overlap
      for (std::size_t i = 0; i < length; ++i)
        word[i] = i < period || below(20) == 0 ? static_cast<std::int32_t>(below(2)) : word[i - period];
      const ids expected = merged_as_gpt2(word, merges);
      merged += expected.size() < word.size() ? 1 : 0;
      merge(word);
      REQUIRE(word == expected);
    }
  }
  CHECK(merged > 1000);
}

TEST_CASE("word_merger: a merge is done everywhere before what it brings forth", "[data]") {
  // a b c bc abc abca; (abc, a) has a lower rank than (a, bc), which makes the abc.
  const auto table = table_of({{{1, 2}, {0, 3}}, {{4, 0}, {1, 5}}, {{0, 3}, {2, 4}}});
  data::detail::word_merger merge(table);
  for (const std::size_t times : {2U, 10U, 30U}) {
    ids word;
    for (std::size_t i = 0; i < times; ++i) word.insert(word.end(), {0, 1, 2});
    merge(word);
    CHECK(word == ids(times, 4));
  }
}
