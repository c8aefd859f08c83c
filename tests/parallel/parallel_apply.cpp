// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/scatter.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

namespace {

template <class Action>
int failing_replica(const Action& action) {
  try {
    action();
  } catch (const ls::replica_error& error) {
    return error.replica();
  }
  return -1;
}

/// The message of the exception nested in the replica_error that `action` throws.
template <class Nested, class Action>
std::string nested_message(const Action& action) {
  try {
    action();
  } catch (const ls::replica_error& error) {
    try {
      std::rethrow_if_nested(error);
    } catch (const Nested& nested) {
      return nested.what();
    }
  }
  return "nothing was nested";
}

struct add {
  int amount;
  int operator()(int x) const { return x + amount; }
};

}  // namespace

TEST_CASE("each function gets its input, and the results come in order", "[parallel_apply]") {
  std::array<add, 3> functions{add{1}, add{10}, add{100}};
  std::array<int, 3> inputs{1, 2, 3};
  CHECK(ls::parallel_apply(functions, inputs) == std::array<int, 3>{2, 12, 103});

  ls::thread_team<3> team;
  for (int i = 0; i < 20; ++i) CHECK(ls::parallel_apply(team, functions, inputs) == std::array<int, 3>{2, 12, 103});
}

TEST_CASE("functions may return nothing, or what cannot be copied or default-constructed", "[parallel_apply]") {
  const auto increment = [](int& x) { ++x; };
  std::array<decltype(increment), 2> increments{increment, increment};
  std::array<int, 2> numbers{1, 2};
  static_assert(std::is_void_v<decltype(ls::parallel_apply(increments, numbers))>);
  ls::parallel_apply(increments, numbers);
  CHECK(numbers == std::array<int, 2>{2, 3});

  struct unit {
    explicit unit(int x) : value(std::make_unique<int>(x)) {}
    std::unique_ptr<int> value;
  };
  const auto wrap = [](int x) { return unit(x); };
  std::array<decltype(wrap), 2> wraps{wrap, wrap};
  const auto wrapped = ls::parallel_apply(wraps, numbers);
  CHECK(*wrapped[0].value == 2);
  CHECK(*wrapped[1].value == 3);
}

TEST_CASE("scatter, parallel_apply and gather are a data-parallel forward", "[parallel_apply]") {
  ls::batch_of<float, 2> x(7);
  for (std::int64_t i = 0; i < 7; ++i) x(i, 0) = x(i, 1) = static_cast<float>(i);
  const auto twice = [](ls::batch_view<float, 2> in) {
    ls::batch_of<float> out(in.extent(0));
    for (std::int64_t i = 0; i < in.extent(0); ++i) out(i) = in(i, 0) + in(i, 1);
    return out;
  };
  std::array<decltype(twice), 4> replicas{twice, twice, twice, twice};
  auto shards = ls::scatter<4>(x);
  const auto y = ls::gather(ls::parallel_apply(replicas, shards));
  REQUIRE(y.samples() == 7);
  for (std::int64_t i = 0; i < 7; ++i) CHECK(y(i) == 2.F * static_cast<float>(i));
}

TEST_CASE("an exception carries the replica's index and the original", "[parallel_apply]") {
  std::atomic<int> finished{0};
  const std::function<int(int)> good = [&](int x) {
    std::this_thread::yield();
    finished.fetch_add(1);
    return x;
  };
  const std::function<int(int)> bad = [](int x) -> int { throw std::out_of_range("no row " + std::to_string(x)); };
  std::array<std::function<int(int)>, 4> functions{good, good, bad, good};
  std::array<int, 4> inputs{0, 1, 2, 3};
  ls::thread_team<4> team;
  const auto apply = [&] { static_cast<void>(ls::parallel_apply(team, functions, inputs)); };

  CHECK(failing_replica(apply) == 2);
  CHECK(finished.load() == 3);  // the others are waited for
  CHECK(nested_message<std::out_of_range>(apply) == "no row 2");
  CHECK_THROWS_WITH(apply(), "lockstep: replica 2: no row 2");

  functions[1] = bad;
  CHECK(failing_replica(apply) == 1);
  functions = {good, good, good, good};
  CHECK(ls::parallel_apply(team, functions, inputs) == std::array<int, 4>{0, 1, 2, 3});
}

TEST_CASE("an exception that is no std::exception arrives too", "[parallel_apply]") {
  const auto bad = [](int x) -> int { throw x; };
  std::array<decltype(bad), 2> functions{bad, bad};
  std::array<int, 2> inputs{41, 42};
  int nested = 0;
  try {
    static_cast<void>(ls::parallel_apply(functions, inputs));
  } catch (const ls::replica_error& error) {
    CHECK(error.replica() == 0);
    try {
      std::rethrow_if_nested(error);
    } catch (const int value) {
      nested = value;
    }
  }
  CHECK(nested == 41);
}
