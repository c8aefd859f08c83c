// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/data/stream.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <list>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::field;
using lockstep_test::error_of;
using lockstep_test::lacking;
using pairs = data::stream<field<float, 2>, field<std::int64_t>>;
using list = std::vector<std::int64_t>;

/// Samples 0 .. length - 1; the features of sample i are i and -i.
auto counted(std::int64_t length, std::int64_t first = 0) {
  return [i = first, length](std::span<float, 2> features, std::int64_t& label) mutable {
    if (i == length) return false;
    features[0] = static_cast<float>(i);
    features[1] = static_cast<float>(-i);
    label = i++;
    return true;
  };
}

/// The labels of a walk, each batch checked against them.
template <class Loader>
list walked(Loader& batches, list* sizes = nullptr) {
  list seen;
  for (const auto& batch : batches) {
    CHECK(batch.first_index == static_cast<std::int64_t>(seen.size()));
    const auto& [features, labels] = batch;
    REQUIRE(features.extent(0) == batch.size());
    REQUIRE(static_cast<std::int64_t>(labels.size()) == batch.size());
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      CHECK(features(i, 0) == static_cast<float>(labels[static_cast<std::size_t>(i)]));
      CHECK(features(i, 1) == -static_cast<float>(labels[static_cast<std::size_t>(i)]));
    }
    seen.insert(seen.end(), labels.begin(), labels.end());
    if (sizes != nullptr) sizes->push_back(batch.size());
  }
  return seen;
}

list up_to(std::int64_t end) {
  list values;
  for (std::int64_t i = 0; i < end; ++i) values.push_back(i);
  return values;
}

}  // namespace

TEST_CASE("stream: a generator of unknown length gives all its samples in order", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 3);
  const std::int64_t length = GENERATE(0, 1, 4, 7, 8, 9, 100);
  pairs source(counted(length));
  data::loader batches{source, {.batch = 4, .prefetch = prefetch}};
  list sizes;
  CHECK(walked(batches, &sizes) == up_to(length));
  CHECK(static_cast<std::int64_t>(sizes.size()) == (length + 3) / 4);
  if (length % 4 != 0) CHECK(sizes.back() == length % 4);
}

TEST_CASE("stream: drop_last leaves out what fills no batch", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  pairs source(counted(11));
  data::loader batches{source, {.batch = 4, .drop_last = true, .prefetch = prefetch}};
  CHECK(walked(batches) == up_to(8));
}

TEST_CASE("stream: a generator is called no more after its end", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  const std::int64_t length = GENERATE(8, 10);
  std::int64_t calls = 0;
  pairs source([&, next = counted(length)](std::span<float, 2> features, std::int64_t& label) mutable {
    ++calls;
    return next(features, label);
  });
  data::loader batches{source, {.batch = 4, .prefetch = prefetch}};
  CHECK(walked(batches) == up_to(length));
  CHECK(calls == length + 1);
}

TEST_CASE("stream: a generator is walked over once, a maker of generators at will", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  pairs once(counted(10));
  data::loader batches{once, {.batch = 4, .prefetch = prefetch}};
  CHECK(walked(batches) == up_to(10));
  CHECK(lacking(error_of<ls::value_error>([&] { static_cast<void>(batches.begin()); }), {"a fresh generator"}) == "");

  pairs fresh([] { return counted(10); });
  data::loader again{fresh, {.batch = 4, .prefetch = prefetch}};
  for (int epoch = 0; epoch < 3; ++epoch) CHECK(walked(again) == up_to(10));
  for (const auto& batch : again)
    if (batch.first_index == 4) break;  // what was prepared ahead is dropped
  CHECK(walked(again) == up_to(10));

  pairs numbered([](std::uint64_t walk) { return counted(20, static_cast<std::int64_t>(walk)); });
  data::loader by_walk{numbered, {.batch = 4, .prefetch = prefetch}};
  for (const std::size_t walk : {20U, 19U, 18U}) {
    list seen;
    for (const auto& batch : by_walk) seen.insert(seen.end(), batch.get<1>().begin(), batch.get<1>().end());
    CHECK(seen.size() == walk);
  }
  by_walk.set_next_epoch(15);
  CHECK((*by_walk.begin()).get<1>()[0] == 15);
}

TEST_CASE("stream: one loader at a time walks it", "[data]") {
  pairs source([] { return counted(1000); });
  for (const int prefetch : {0, 2}) {
    CAPTURE(prefetch);
    data::loader second{source, {.batch = 3, .prefetch = prefetch}};
    {
      data::loader first{source, {.batch = 4, .prefetch = prefetch}};
      auto walk = first.begin();
      const std::string text = error_of<ls::value_error>([&] { static_cast<void>(second.begin()); });
      CHECK(lacking(text, {"another loader walks it", "make a second stream"}) == "");
      ++walk;
      CHECK((*walk).first_index == 4);  // the first walk is as it was
      CHECK(walked(first) == up_to(1000));
      CHECK(walked(second) == up_to(1000));  // that of the first has ended
      static_cast<void>(first.begin());
    }
    CHECK(walked(second) == up_to(1000));  // the first is gone
  }
}

TEST_CASE("stream: an endless generator is left when one has enough", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  pairs source(counted(-1));
  data::loader batches{source, {.batch = 4, .prefetch = prefetch}};
  std::int64_t seen = 0;
  for (const auto& batch : batches)
    if ((seen += batch.size()) == 400) break;
  CHECK(seen == 400);
}

TEST_CASE("stream: what a generator throws comes at its batch, and ends the walk", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  pairs source([] {
    return [i = 0](std::span<float, 2> features, std::int64_t& label) mutable {
      if (i == 10) throw std::runtime_error("line 10 is damaged");
      features[0] = static_cast<float>(i);
      features[1] = static_cast<float>(-i);
      label = i++;
      return true;
    };
  });
  data::loader batches{source, {.batch = 4, .prefetch = prefetch}};
  for (int walk = 0; walk < 2; ++walk) {
    auto it = batches.begin();
    CHECK(it->get<1>()[0] == 0);
    ++it;
    CHECK(it->get<1>()[3] == 7);
    CHECK(error_of<std::exception>([&] { static_cast<void>(++it); }) == "line 10 is damaged");
    CHECK(it == batches.end());
    CHECK_THROWS_AS(++it, ls::value_error);
  }
}

TEST_CASE("stream: takes ranges", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  const data::loader_options options{.batch = 2, .prefetch = prefetch};
  std::vector<std::pair<std::array<double, 2>, int>> samples{{{0, 0}, 0}, {{1, -1}, 1}, {{2, -2}, 2}};
  SECTION("that are borrowed, and walked over at will") {
    pairs source(samples);
    data::loader batches{source, options};
    CHECK(walked(batches) == up_to(3));
    samples.push_back({{3, -3}, 3});
    CHECK(walked(batches) == up_to(4));
  }
  SECTION("that are moved in") {
    pairs source(std::list<std::tuple<std::vector<float>, std::int64_t>>{{{0, 0}, 0}, {{1, -1}, 1}});
    data::loader batches{source, options};
    CHECK(walked(batches) == up_to(2));
    CHECK(walked(batches) == up_to(2));
  }
  SECTION("that can be read once") {
    std::istringstream text("5 6 7 8 9");
    data::stream<field<float>> source{std::ranges::istream_view<float>(text)};
    data::loader batches{source, options};
    std::vector<float> seen;
    for (auto&& [values] : batches)
      for (std::int64_t i = 0; i < values.extent(0); ++i) seen.push_back(values(i));
    CHECK(seen == std::vector<float>{5, 6, 7, 8, 9});
    CHECK_THROWS_AS(batches.begin(), ls::value_error);
  }
  SECTION("whose samples have another size") {
    using wide = std::pair<std::vector<float>, int>;
    const std::size_t elements = GENERATE(0U, 1U, 3U);
    pairs source(std::vector<wide>{{{0, 0}, 0}, {{1, -1}, 1}, {std::vector<float>(elements), 2}});
    data::loader batches{source, options};
    auto it = batches.begin();
    CHECK(lacking(error_of<ls::shape_error>([&] { static_cast<void>(++it); }), {"field 0: expected 2 elements"}) == "");
  }
}

TEST_CASE("stream: refuses options that mean nothing to it", "[data]") {
  pairs source(counted(3));
  CHECK_THROWS_AS(data::loader(source, {.batch = 0}), ls::value_error);
  CHECK_THROWS_AS(data::loader(source, {.prefetch = -1}), ls::value_error);
  CHECK(lacking(error_of<std::exception>([&] { static_cast<void>(data::loader(source, {.shuffle = true})); }),
                {"leave .shuffle out"}) == "");
}

TEST_CASE("stream: leaving a walk waits for the sample that is on its way, and for no other", "[data]") {
  // Sample 5, in the batch that is prepared ahead, comes when the walk is being left.
  std::atomic<std::int64_t> asked{0};
  std::atomic<bool> leaving{false};
  const auto slow = [&](std::span<float, 2> features, std::int64_t& label) {
    label = asked++;
    std::fill(features.begin(), features.end(), 0.F);
    while (label >= 5 && !leaving) std::this_thread::yield();
    return true;
  };
  pairs samples(slow);
  std::thread later;
  {
    data::loader batches{samples, {.batch = 4}};
    for (const auto& batch : batches) {
      CHECK(batch.size() == 4);
      break;
    }
    while (asked < 6) std::this_thread::yield();
    later = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      leaving = true;
    });
  }
  later.join();
  CHECK(asked == 6);
}
