// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/comm/threads.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "comm/ranks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"

namespace {

namespace ls = lockstep;
using comm_test::draw;
using comm_test::run_ranks;

static_assert(ls::communicator<ls::comm::thread_rank>);
static_assert(std::is_nothrow_move_constructible_v<ls::comm::thread_rank>);
static_assert(std::is_nothrow_move_assignable_v<ls::comm::thread_rank>);
static_assert(!std::is_copy_constructible_v<ls::comm::thread_rank>);

template <class T>
using buffers = std::vector<std::vector<T>>;

template <class T>
buffers<T> make_buffers(int world, std::size_t n, std::uint64_t seed) {
  buffers<T> all(static_cast<std::size_t>(world), std::vector<T>(n));
  for (std::size_t r = 0; r < all.size(); ++r)
    for (std::size_t i = 0; i < n; ++i) all[r][i] = static_cast<T>(draw(seed, r, i));
  return all;
}

/// The tree written down as its definition: split at the largest power of two below the number of terms.
template <class T>
T tree_sum(const buffers<T>& all, std::size_t i, std::size_t first, std::size_t last) {
  if (last - first == 1) return all[first][i];
  std::size_t left = 1;
  while (2 * left < last - first) left *= 2;
  return tree_sum(all, i, first, first + left) + tree_sum(all, i, first + left, last);
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
void check_all_reduce(int world, std::size_t n, double tolerance) {
  CAPTURE(world, n);
  const buffers<T> before = make_buffers<T>(world, n, 7);
  buffers<T> after = before;
  const auto messages =
      run_ranks(world, [&](auto& c) { c.all_reduce(std::span<T>(after[static_cast<std::size_t>(c.rank())])); });
  for (const auto& m : messages) REQUIRE(m.empty());
  double worst = 0;
  bool exact = true;
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (const auto& b : before) sum += static_cast<double>(b[i]);
    worst = std::max(worst, lockstep_test::difference_of(static_cast<double>(after[0][i]), sum));
    exact = exact && after[0][i] == tree_sum(before, i, 0, before.size());
  }
  CHECK(worst <= tolerance);
  CHECK(exact);
  for (const auto& b : after) CHECK(same_bits(b, after[0]));
}

}  // namespace

TEST_CASE("all_reduce sums as a tree over the ranks, with the same bits on each", "[comm][threads]") {
  for (int world = 1; world <= 5; ++world)
    for (const std::size_t n : {0U, 1U, 15U, 16U, 33U, 1000U, 10007U}) {
      check_all_reduce<float>(world, n, 1e-6);
      check_all_reduce<double>(world, n, 1e-15);
    }
  check_all_reduce<float>(8, 5000, 2e-6);
  check_all_reduce<float>(11, 5000, 2e-6);
}

TEST_CASE("the tree pairs neighbours, then pairs of pairs", "[comm][threads]") {
  // 2^24 + 1 is no float: where the ones meet first they count, one by one they are lost.
  constexpr float big = 0x1p24F;
  const auto sum_of = [](const std::vector<float>& terms) {
    std::vector<float> own = terms;
    const auto messages = run_ranks(static_cast<int>(terms.size()), [&](auto& c) {
      c.all_reduce(std::span<float>(&own[static_cast<std::size_t>(c.rank())], 1));
    });
    for (const auto& m : messages) CHECK(m.empty());
    for (const float v : own) CHECK(v == own[0]);
    return own[0];
  };
  CHECK(sum_of({big, 1, 1}) == big);
  CHECK(sum_of({1, 1, big}) == big + 2);
  CHECK(sum_of({big, 0, 1, 1}) == big + 2);
  CHECK(sum_of({big, 1, 1, 0}) == big);
  CHECK(sum_of({1, 1, big, 1}) == big + 2);
  CHECK(sum_of({big, 0, 1, 1, 0}) == big + 2);
  CHECK(sum_of({big, 0, 1, 0, 1}) == big);
  CHECK(sum_of({big, 0, 0, 0, 1, 1}) == big + 2);
  CHECK(sum_of({big, 0, 0, 0, 0, 1, 1}) == big + 2);
  CHECK(sum_of({0, 0, 0, 0, big, 1, 1}) == big);
  CHECK(sum_of({0, 0, 0, 0, 1, 1, big}) == big + 2);
}

TEST_CASE("many calls of many kinds stay in step", "[comm][threads]") {
  constexpr int world = 3;
  constexpr int rounds = 400;
  std::vector<int> wrong(world);
  const auto messages = run_ranks(world, [&](auto& c) {
    std::vector<float> narrow(77);
    std::vector<double> wide(5);
    for (int round = 0; round < rounds; ++round) {
      for (float& v : narrow) v = static_cast<float>(round + c.rank());
      for (double& v : wide) v = round * c.rank();
      c.all_reduce(narrow);
      if (round % 3 == 0) c.barrier();
      c.all_reduce(wide);
      int& own = wrong[static_cast<std::size_t>(c.rank())];
      for (const float v : narrow) own += v == static_cast<float>(3 * round + 3) ? 0 : 1;
      for (const double v : wide) own += v == 3.0 * round ? 0 : 1;
      for (float& v : narrow) v = static_cast<float>(c.rank() == round % world ? round : -1);
      c.broadcast(narrow, round % world);
      for (const float v : narrow) own += v == static_cast<float>(round) ? 0 : 1;
    }
  });
  for (const auto& m : messages) CHECK(m.empty());
  for (const int w : wrong) CHECK(w == 0);
}

TEST_CASE("a barrier makes what ranks wrote visible to the others", "[comm][threads]") {
  constexpr int world = 4;
  std::vector<int> written(world);  // plain integers: the barrier alone orders them
  std::vector<int> late(world);
  const auto messages = run_ranks(world, [&](auto& c) {
    for (int phase = 1; phase <= 200; ++phase) {
      written[static_cast<std::size_t>(c.rank())] = phase;
      c.barrier();
      for (const int w : written) late[static_cast<std::size_t>(c.rank())] += w == phase ? 0 : 1;
      c.barrier();
    }
  });
  for (const auto& m : messages) CHECK(m.empty());
  for (const int l : late) CHECK(l == 0);
}

TEST_CASE("a communicator is taken once, and only for a rank that exists", "[comm][threads]") {
  ls::comm::threads hub(2);
  CHECK(hub.size() == 2);
  CHECK_THROWS_AS(hub.take(2), ls::value_error);
  CHECK_THROWS_AS(hub.take(-1), ls::value_error);
  const ls::comm::thread_rank first = hub.take(0);
  CHECK(first.rank() == 0);
  CHECK(first.size() == 2);
  CHECK_THROWS_WITH(hub.take(0), Catch::Contains("got 0, which has been taken before"));
  CHECK_THROWS_AS(ls::comm::threads(0), ls::value_error);
  CHECK_THROWS_AS(ls::comm::threads(2, {.time_limit = -1}), ls::value_error);
  CHECK_THROWS_AS(ls::comm::threads(2, {.time_limit = std::nan("")}), ls::value_error);
}

TEST_CASE("communicators outlive their hub", "[comm][threads]") {
  auto hub = std::make_unique<ls::comm::threads>(2);
  ls::comm::thread_rank a = hub->take(0);
  ls::comm::thread_rank b = hub->take(1);
  hub.reset();
  float x = 1;
  float y = 2;
  std::thread other([&, own = std::move(b)]() mutable { own.all_reduce(std::span<float>(&y, 1)); });
  a.all_reduce(std::span<float>(&x, 1));
  other.join();
  CHECK(x == 3.F);
  CHECK(y == 3.F);
}
