// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Windows of a text, as a loader hands them out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/data/loader.hpp>
#include <lockstep/data/sampler.hpp>
#include <lockstep/data/text.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using lockstep_test::error_of;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::temporary_folder;

/// Tokens 1000, 1001, ..., so that a token tells its place in the text.
data::token_sequence<std::int32_t> numbered(std::int32_t length) {
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < length; ++i) tokens.push_back(1000 + i);
  return data::token_sequence(std::move(tokens));
}

/// Where each window of a walk begins; checks that its tokens and targets follow from there.
template <class Loader>
std::vector<std::int64_t> starts_of(Loader& batches) {
  std::vector<std::int64_t> starts;
  for (const auto& batch : batches) {
    const auto& [tokens, targets] = batch;
    const std::int64_t length = tokens.extent(1);
    REQUIRE(static_cast<std::int64_t>(targets.size()) == batch.size() * length);
    for (std::int64_t b = 0; b < batch.size(); ++b) {
      starts.push_back(tokens(b, 0) - 1000);
      for (std::int64_t t = 0; t < length; ++t) {
        CHECK(tokens(b, t) == 1000 + starts.back() + t);
        CHECK(targets[static_cast<std::size_t>(b * length + t)] == 1000 + starts.back() + t + 1);
        CHECK(batch.template view<1>()(b, t) == 1000 + starts.back() + t + 1);
      }
    }
  }
  return starts;
}

}  // namespace

TEST_CASE("text: a file is bytes, of which the last tenth is for validation", "[data]") {
  const temporary_folder folder;
  std::string content;
  for (int i = 0; i < 129; ++i) content += static_cast<char>(2 * i);
  folder.write("input.txt", content);
  const auto [train, validation] = data::text_file(folder.path() / "input.txt");
  static_assert(std::is_same_v<decltype(train), const data::token_sequence<std::uint8_t>>);
  REQUIRE(train.size() == 117);
  REQUIRE(validation.size() == 12);  // of 12.9
  for (std::size_t i = 0; i < 129; ++i)
    CHECK(static_cast<char>(i < 117 ? train.values()[i] : validation.values()[i - 117]) == content[i]);
  CHECK(validation.values().data() == train.values().data() + 117);  // one text in memory
}

TEST_CASE("text: a file that is none, or empty, is refused", "[data]") {
  const temporary_folder folder;
  folder.write("empty.txt", "");
  const auto message = [&](const std::string& name) {
    return io_error_of([&] { (void)data::text_file(folder.path() / name); });
  };
  CHECK(lacking(message("empty.txt"), {"empty.txt", "expected a text, got an empty file"}) == "");
  CHECK(lacking(message("absent.txt"), {"absent.txt"}) == "");
  CHECK(lacking(message("."), {"expected a file, got a directory"}) == "");
}

TEST_CASE("text: a part shares the tokens, and lies within", "[data]") {
  const auto all = numbered(10);
  const auto middle = all.part(3, 4);
  CHECK(middle.values().data() == all.values().data() + 3);
  CHECK(middle.part(4, 0).size() == 0);
  const auto end = middle.part(1, 3);
  CHECK(end.values().front() == 1004);
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{-1, 1}, {5, 0}, {2, 3}, {0, -1}})
    CHECK(lacking(error_of<ls::value_error>([&] { (void)middle.part(first, count); }), {"a part of 4 tokens"}) == "");
  const auto copy = [] { return numbered(5).part(1, 2); }();  // outlives what it is a part of
  CHECK(copy.values()[1] == 1002);
  CHECK(data::split_text(numbered(9)).validation.size() == 0);
}

TEST_CASE("windows: lie side by side, floor((length - 1) / T) of them", "[data]") {
  // length, windows of 4
  const auto [length, count] = GENERATE(table<std::int32_t, std::int64_t>({{5, 1}, {8, 1}, {9, 2}, {12, 2}, {41, 10}}));
  const auto samples = data::windows<4>(numbered(length));
  REQUIRE(samples.size() == count);
  data::loader batches{samples, {.batch = 3}};
  const auto starts = starts_of(batches);
  REQUIRE(static_cast<std::int64_t>(starts.size()) == count);
  for (std::size_t i = 0; i < starts.size(); ++i) CHECK(starts[i] == static_cast<std::int64_t>(4 * i));
}

TEST_CASE("windows: bytes become tokens from 0 to 255", "[data]") {
  const auto samples = data::windows<2>(data::token_sequence<std::uint8_t>({0, 255, 128, 7, 9}));
  data::loader batches{samples, {.batch = 2}};
  const auto batch = *batches.begin();
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(batch.get<0>())>,
                               ls::tensor_view<const std::int32_t, ls::shape<ls::dynamic, 2>>>);
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(batch.get<1>())>, std::span<const std::int64_t>>);
  CHECK(batch.view<0>()(0, 0) == 0);
  CHECK(batch.view<0>()(0, 1) == 255);
  CHECK(batch.view<0>()(1, 0) == 128);
  CHECK(batch.get<1>()[0] == 255);
  CHECK(batch.get<1>()[3] == 9);
}

TEST_CASE("windows: with a stride they overlap, up to the last that fits", "[data]") {
  const auto text = numbered(12);
  const auto samples = data::windows<4>(text, {.stride = 3});
  CHECK(samples.text().values().data() == text.values().data());  // no copy
  data::loader batches{samples, {.batch = 2}};
  CHECK(starts_of(batches) == std::vector<std::int64_t>{0, 3, 6});
  CHECK(data::windows<4>(text, {.stride = 1}).size() == 8);
  CHECK(data::windows<4>(text, {.stride = 100}).size() == 1);
}

TEST_CASE("windows: a loader shuffles them, each once an epoch", "[data]") {
  const auto samples = data::windows<4>(numbered(100));
  data::loader batches{samples, {.batch = 5, .shuffle = true, .seed = {3}}};
  std::vector<std::int64_t> expected(static_cast<std::size_t>(samples.size()));
  for (const std::uint64_t epoch : {0U, 1U}) {
    data::shuffled_order(expected, {3}, epoch);
    for (std::int64_t& start : expected) start *= 4;
    CHECK(starts_of(batches) == expected);
  }
}

TEST_CASE("windows: what cannot be cut is refused", "[data]") {
  const auto cut = [](std::int32_t length, std::int64_t stride) {
    return error_of<ls::value_error>([&] { (void)data::windows<4>(numbered(length), {.stride = stride}); });
  };
  CHECK(lacking(cut(4, 0), {"windows", "a text of 4 tokens or more, and one after them", "4", "shorter windows"}) ==
        "");
  CHECK(lacking(cut(0, 0), {"a text of 4 tokens or more"}) == "");
  CHECK(lacking(cut(20, -1), {"a stride of one token or more", "-1"}) == "");
}

TEST_CASE("window_sampler: every epoch cuts at another place, and takes a token at most once", "[data]") {
  constexpr std::int64_t length = 7;
  const std::int32_t tokens = GENERATE(14, 15, 20, 100, 104);
  const auto samples = data::windows<length>(numbered(tokens), {.stride = 1});
  const data::window_sampler order(samples, {.seed = {11}});
  REQUIRE(order.size() == (tokens - length) / length);
  data::loader batches{samples, {.batch = 4}, order};
  std::set<std::int64_t> offsets;
  bool reordered = false;
  for (int epoch = 0; epoch < 60; ++epoch) {
    auto starts = starts_of(batches);
    reordered = reordered || !std::is_sorted(starts.begin(), starts.end());
    std::sort(starts.begin(), starts.end());
    REQUIRE(static_cast<std::int64_t>(starts.size()) == order.size());
    CHECK(starts.front() < length);
    CHECK(starts.back() + length < tokens);
    for (std::size_t i = 1; i < starts.size(); ++i) CHECK(starts[i] == starts[i - 1] + length);
    offsets.insert(starts.front());
  }
  CHECK(offsets.size() == static_cast<std::size_t>(length));
  CHECK(reordered == (order.size() > 1));
}

TEST_CASE("window_sampler: seed and epoch decide, and a walk goes on within an epoch", "[data]") {
  const auto samples = data::windows<8>(numbered(300), {.stride = 2});
  const auto walk = [&](std::uint64_t seed, const data::loader_position& at) {
    data::loader batches{samples, {.batch = 4}, data::window_sampler{samples, {.seed = {seed}}}};
    batches.resume_at(at);
    return starts_of(batches);
  };
  const auto whole = walk(5, {3, 0});
  CHECK(walk(5, {3, 0}) == whole);
  CHECK(walk(6, {3, 0}) != whole);
  CHECK(walk(5, {4, 0}) != whole);
  CHECK(walk(5, {3, 2}) == std::vector<std::int64_t>(whole.begin() + 8, whole.end()));
  for (const std::int64_t start : whole) CHECK(start % 2 == 0);
}

TEST_CASE("window_sampler: what it cannot do is refused", "[data]") {
  const auto refusal = [](std::int32_t length, std::int64_t stride) {
    const auto samples = data::windows<6>(numbered(length), {.stride = stride});
    return error_of<ls::value_error>([&] { (void)data::window_sampler{samples}; });
  };
  CHECK(lacking(refusal(50, 4), {"window_sampler", "a stride that divides the windows' 6", "4", ".stride = 1"}) == "");
  CHECK(lacking(refusal(50, 12), {"a stride that divides"}) == "");
  CHECK(lacking(refusal(11, 1), {"a text of 12 tokens or more", "11"}) == "");
  CHECK(refusal(12, 1) == "(nothing was thrown)");
}

TEST_CASE("windows: random starts are a sampler with replacement", "[data]") {
  const auto samples = data::windows<8>(numbered(500), {.stride = 1});
  data::loader batches{
      samples, {.batch = 16}, data::random_sampler{samples.size(), {.draws = 400, .replacement = true}}};
  const auto starts = starts_of(batches);
  REQUIRE(starts.size() == 400);
  const auto [least, most] = std::minmax_element(starts.begin(), starts.end());
  CHECK(*least < 25);
  CHECK(*most >= 467);
}

TEST_CASE("windows: a loader's identity tells one text from another", "[data]") {
  const auto checksum = [](const data::token_sequence<std::int32_t>& text) {
    const auto samples = data::windows<4>(text);
    data::loader batches{samples};
    const auto all = batches.identity(0);
    return std::find_if(all.begin(), all.end(), [](const auto& entry) { return entry.first == "data"; })->second;
  };
  const auto same = numbered(41);
  std::vector<std::int32_t> other(same.values().begin(), same.values().end());
  CHECK(checksum(data::token_sequence(other)) == checksum(numbered(41)));
  other.back() = 7;  // the last target
  CHECK(checksum(data::token_sequence(other)) != checksum(numbered(41)));
}

TEST_CASE("windows: ranks share an epoch", "[data]") {
  const auto samples = data::windows<4>(numbered(200), {.stride = 1});
  const data::window_sampler order(samples);
  std::vector<std::int64_t> together;
  for (int rank = 0; rank < 2; ++rank) {
    data::loader batches{
        samples, {.batch = 6}, data::distributed_sampler{order, {.batch = 6, .rank = rank, .world_size = 2}}};
    const auto own = starts_of(batches);
    together.insert(together.end(), own.begin(), own.end());
  }
  std::sort(together.begin(), together.end());
  CHECK(std::adjacent_find(together.begin(), together.end()) == together.end());
  CHECK(static_cast<std::int64_t>(together.size()) == order.size());
}
