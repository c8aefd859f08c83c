// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>

#include "backend/support.hpp"

namespace {

using namespace lockstep_test;

constexpr std::int64_t size = 100000;
constexpr std::int64_t rounds = 6;
constexpr int adds = 16;  ///< work that takes a while, so that who does not wait for it is early

/// What `second` sees of the numbers that `first` counts up, one number for each round.
doubles seen_values(const doubles& all) {
  doubles seen;
  for (std::int64_t r = 0; r < rounds; ++r) {
    const auto begin = all.begin() + r * size;
    seen.push_back(*begin);
    for (auto i = begin; i != begin + size; ++i)
      if (*i != *begin) seen.back() = poison;
  }
  return seen;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("what a fence holds back comes after what was recorded, both ways", "[fence]", backends) {
  using B = TestType;
  entered<B> e;
  auto& first = e.context;
  typename B::context second{ls::replica_place{}};
  typename B::fence counted(first);
  typename B::fence copied(second);
  array<B> one(filled(size, 1));
  array<B> count(filled(size, 0));
  array<B> log(filled(rounds * size, poison));
  for (std::int64_t r = 0; r < rounds; ++r) {
    for (int k = 0; k < adds; ++k) B::add(first, size, one.data(), count.data());
    counted.record(first);
    counted.hold(second);
    B::copy(second, size, count.data(), log.data() + r * size);
    copied.record(second);
    copied.hold(first);
  }
  B::finish(second);
  doubles want;
  for (std::int64_t r = 0; r < rounds; ++r) want.push_back(static_cast<double>((r + 1) * adds));
  CHECK(seen_values(log.read()) == want);
  check_close(count.read(), filled(size, static_cast<double>(rounds * adds)), 0);
}

TEMPLATE_LIST_TEST_CASE("a fence stands for its last record, and for several who wait", "[fence]", backends) {
  using B = TestType;
  entered<B> e;
  typename B::context second{ls::replica_place{}};
  typename B::context third{ls::replica_place{}};
  typename B::fence reached(e.context);
  reached.hold(second);  // nothing was recorded: nothing to wait for
  array<B> one(filled(size, 1));
  array<B> count(filled(size, 0));
  array<B> early(filled(size, poison));
  array<B> late(filled(size, poison));
  reached.record(e.context);
  for (int k = 0; k < adds; ++k) B::add(e.context, size, one.data(), count.data());
  reached.record(e.context);
  reached.hold(second);
  reached.hold(third);
  B::copy(second, size, count.data(), early.data());
  B::copy(third, size, count.data(), late.data());
  B::finish(second);
  B::finish(third);
  check_close(early.read(), filled(size, adds), 0);
  check_close(late.read(), filled(size, adds), 0);
}
