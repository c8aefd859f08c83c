// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Walks that cross: every way to step on an iterator that stands on no batch.
#include <lockstep/data/loader.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <pthread.h>

#include "data/data_support.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

namespace {

namespace ls = lockstep;
using ls::data::loader;
using one = ls::shape<1>;
using lockstep_test::error_of;
using lockstep_test::lacking;

ls::data::dataset<one> numbered(std::int64_t samples) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) labels.push_back(i);
  return {std::vector<std::uint8_t>(labels.begin(), labels.end()), labels, samples};
}

std::int64_t samples_seen(loader<one>& batches) {
  std::int64_t seen = 0;
  for (const auto& batch : batches) seen += batch.size();
  return seen;
}

// A sampler that gives an index without a sample, from an epoch on.
struct wrong_from {
  std::uint64_t epoch;

  [[nodiscard]] static std::int64_t samples() { return 10; }
  [[nodiscard]] static std::int64_t size() { return 10; }
  void draw(std::uint64_t now, std::span<std::int64_t> order) const {
    for (std::int64_t& index : order) index = now < epoch ? 0 : 99;
  }
};

static_assert(!std::is_move_constructible_v<loader<one>> && !std::is_move_assignable_v<loader<one>>,
              "iterators point to their loader");

}  // namespace

TEST_CASE("loader: a walk inside a walk ends the outer one with an exception", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 2, 7);
  const auto set = numbered(10);
  loader batches{set, {.batch = 4, .prefetch = prefetch}};
  int steps = 0;
  std::int64_t inner = 0;
  const auto walk = [&] {
    for (const auto& batch : batches) {
      REQUIRE(++steps < 3);
      CHECK(batch.labels[0] == 0);
      inner = samples_seen(batches);
    }
  };
  CHECK(lacking(error_of<ls::value_error>([&] { static_cast<void>(walk()); }),
                {"one walk at a time", "second loader"}) == "");
  CHECK(steps == 1);
  CHECK(inner == 10);
  CHECK(samples_seen(batches) == 10);
}

TEST_CASE("loader: two loaders over one data set may be walked inside each other", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  const auto set = numbered(10);
  loader outer{set, {.batch = 4, .prefetch = prefetch}};
  loader inner{set, {.batch = 3, .prefetch = prefetch}};
  int steps = 0;
  for (const auto& batch : outer) {
    CHECK(batch.labels[0] == 4 * steps++);
    CHECK(samples_seen(inner) == 10);
  }
  CHECK(steps == 3);
}

TEST_CASE("loader: begin() makes the iterators of earlier walks throw, at whatever place they stood", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 1, 2, 7);
  const int at = GENERATE(0, 1, 2, 3);
  const auto set = numbered(10);
  loader batches{set, {.batch = 4, .prefetch = prefetch}};
  auto first = batches.begin();
  for (int i = 0; i < at; ++i) ++first;
  auto second = batches.begin();
  CHECK_THROWS_AS(++first, ls::value_error);
  CHECK_THROWS_AS(*first, ls::value_error);
  CHECK_THROWS_AS(first->size(), ls::value_error);
  CHECK_THROWS_AS(static_cast<void>(first == batches.end()), ls::value_error);
  int steps = 0;
  for (; second != batches.end(); ++second) CHECK(second->labels[0] == 4 * steps++);
  CHECK(steps == 3);
}

TEST_CASE("loader: an iterator at the end stays there", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  const auto set = numbered(10);
  loader batches{set, {.batch = 4, .prefetch = prefetch}};
  auto it = batches.begin();
  for (int i = 0; i < 3; ++i) ++it;
  REQUIRE(it == batches.end());
  CHECK(lacking(error_of<std::exception>([&] { static_cast<void>(++it); }), {"got the end of the walk"}) == "");
  CHECK_THROWS_AS(*it, ls::value_error);
  CHECK(it == batches.end());
  CHECK(loader<one>::iterator{} == batches.end());
  CHECK_THROWS_AS(*loader<one>::iterator{}, ls::value_error);
  CHECK(samples_seen(batches) == 10);
}

TEST_CASE("loader: a begin() that throws leaves nothing to step on", "[data]") {
  const std::int64_t prefetch = GENERATE(0, 2);
  const auto set = numbered(10);
  loader<one> batches{set, {.batch = 4, .prefetch = prefetch}, wrong_from{1}};
  auto it = batches.begin();
  CHECK(it->size() == 4);
  CHECK_THROWS_AS(batches.begin(), ls::value_error);
  CHECK_THROWS_AS(++it, ls::value_error);
  CHECK(batches.next_epoch() == 1);
  batches.set_next_epoch(0);
  CHECK(samples_seen(batches) == 10);
}

#if __has_include(<gnu/libc-version.h>) && !LOCKSTEP_TEST_SANITIZED()

TEST_CASE("loader: a thread that cannot be started is an error of ours, which says how to do without", "[data]") {
  const auto set = numbered(10);
  loader batches{set, {.batch = 4}};
  loader without{set, {.batch = 4, .prefetch = 0}};
  ::pthread_attr_t before;
  ::pthread_attr_t huge;
  REQUIRE(::pthread_getattr_default_np(&before) == 0);
  REQUIRE(::pthread_attr_init(&huge) == 0);
  // A stack for which no address space is large enough.
  REQUIRE(::pthread_attr_setstacksize(&huge, std::size_t{1} << 47U) == 0);
  REQUIRE(::pthread_setattr_default_np(&huge) == 0);
  const std::string text = error_of<ls::error>([&] { static_cast<void>(batches.begin()); });
  const std::int64_t seen = samples_seen(without);
  REQUIRE(::pthread_setattr_default_np(&before) == 0);
  CHECK(lacking(text, {"loader: expected the thread that prepares batches", "set .prefetch = 0"}) == "");
  CHECK(seen == 10);
  CHECK(batches.next_epoch() == 0);
  CHECK(samples_seen(batches) == 10);
}

#endif
