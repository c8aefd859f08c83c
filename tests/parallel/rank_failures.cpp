// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/rank_support.hpp"
#include "parallel/trap.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using trainer_of_rank = ls::data_parallel<trapped<pass_kind::backward>, 2, thread_rank, ls::bucket_bytes<16>>;
using net = trainer_of_rank::model_type;
constexpr ls::sgd momentum{.learning_rate = 0.1F, .momentum = 0.9F};

/// The all-reduce, but in call `failing` of rank 1 an exception.
struct failing_hook {
  int failing = -1;
  int calls = 0;

  template <ls::communicator C>
  void operator()(C& c, const ls::bucket_view& bucket) {
    if (c.rank() == 1 && calls++ == failing) throw std::runtime_error("a hook that cannot");
    c.all_reduce(bucket.gradients);
  }
};

template <class Action>
std::string failure_of(const Action& action) {
  try {
    action();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

/// All ranks do one more step and hold the same bits.
template <class Trainer>
void check_goes_on(Trainer& trainer, std::array<std::vector<std::vector<float>>, 3>& values) {
  const auto r = static_cast<std::size_t>(trainer.communicator().rank());
  const std::int64_t before = trainer.steps();
  step_on(trainer, drawn<net>(20 + r, 4));
  expect(trainer.steps() == before + 1);
  values[r] = all_values(trainer.parameters());
}

}  // namespace

TEST_CASE("a rank that refuses its batch ends the step of all, and all go on", "[ranks]") {
  std::array<std::vector<std::vector<float>>, 3> values;
  check_no_failure(run_ranks(3, [&](thread_rank& rank) {
    const int r = rank.rank();
    trainer_of_rank trainer(momentum, std::move(rank));
    const auto before = all_values(trainer.parameters());
    piece own = drawn<net>(30, 4);
    if (r == 1) own.targets.pop_back();
    const std::string message = failure_of([&] { step_on(trainer, own); });
    expect_contains(message, r == 1 ? "4 targets for 4 samples" : "rank 1 refused its own");
    expect(same_bits(all_values(trainer.parameters()), before));
    check_goes_on(trainer, values);
  }));
  CHECK(same_bits(values[1], values[0]));
  CHECK(same_bits(values[2], values[0]));
}

TEST_CASE("a replica that fails ends the step on all ranks, and all go on", "[ranks]") {
  std::array<std::vector<std::vector<float>>, 3> values;
  check_no_failure(run_ranks(3, [&](thread_rank& rank) {
    const int r = rank.rank();
    trainer_of_rank trainer(momentum, std::move(rank));
    make_trap_certain(trainer);
    const auto before = all_values(trainer.parameters());
    piece own = drawn<net>(30, 4);
    if (r == 2) own.x[3 * 5] = marker;  // the fourth sample: on replica 1
    const std::string message = failure_of([&] { step_on(trainer, own); });
    expect_contains(message, r == 2 ? "replica 1: a value above 500" : "1 that failed");
    expect(trainer.steps() == 0);
    expect(same_bits(all_values(trainer.parameters()), before));
    check_goes_on(trainer, values);
  }));
  CHECK(same_bits(values[1], values[0]));
  CHECK(same_bits(values[2], values[0]));
}

TEST_CASE("a replica that fails to accumulate is told to all ranks, which drop what they had", "[ranks]") {
  std::array<std::vector<std::vector<float>>, 3> values, untouched;
  const auto check = [&](bool fails, auto& to) {
    check_no_failure(run_ranks(3, [&](thread_rank& rank) {
      const auto r = static_cast<std::size_t>(rank.rank());
      trainer_of_rank trainer(momentum, std::move(rank));
      make_trap_certain(trainer);
      if (fails) {
        const piece first = drawn<net>(30 + r, 4);
        piece second = drawn<net>(40 + r, 4);
        if (r == 2) second.x[3 * 5] = marker;
        static_cast<void>(trainer.accumulate(batch<net>(first.x), first.targets));
        const std::string message =
            failure_of([&] { static_cast<void>(trainer.accumulate(batch<net>(second.x), second.targets)); });
        expect_contains(message, r == 2 ? "replica 1: a value above 500" : "");
        expect(message.empty() == (r != 2));
        const auto before = all_values(trainer.parameters());
        expect_contains(failure_of([&] { step_on(trainer, first); }),
                        "expected gradients that every rank has accumulated, got rank 2 failed to");
        expect(trainer.steps() == 0);
        expect(same_bits(all_values(trainer.parameters()), before));
      }
      check_goes_on(trainer, to);
    }));
  };
  check(true, values);
  check(false, untouched);
  for (const auto& each : values) CHECK(same_bits(each, untouched[0]));
}

TEST_CASE("ranks that refuse a batch drop what a rank failed to accumulate too", "[ranks]") {
  std::array<std::vector<std::vector<float>>, 3> values;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const auto r = static_cast<std::size_t>(rank.rank());
    trainer_of_rank trainer(momentum, std::move(rank));
    make_trap_certain(trainer);
    piece own = drawn<net>(30 + r, 4);
    static_cast<void>(trainer.accumulate(batch<net>(own.x), own.targets));
    piece second = own;
    if (r == 1) second.x[0] = marker;
    static_cast<void>(failure_of([&] { static_cast<void>(trainer.accumulate(batch<net>(second.x), second.targets)); }));
    if (r == 0) own.targets.pop_back();
    expect_contains(failure_of([&] { step_on(trainer, own); }), r == 0 ? "4 targets" : "rank 1 failed to");
    check_goes_on(trainer, values);
  }));
  CHECK(same_bits(values[1], values[0]));
}

TEST_CASE("ranks that name different denominators are told so", "[ranks]") {
  check_no_failure(run_ranks(3, [&](thread_rank& rank) {
    const int r = rank.rank();
    trainer_of_rank trainer(momentum, std::move(rank));
    const auto before = all_values(trainer.parameters());
    const piece own = drawn<net>(30, 4);
    const auto step = [&](std::optional<double> denominator) {
      static_cast<void>(trainer.step(batch<net>(own.x), own.targets, denominator));
    };
    const auto accumulate = [&](std::optional<double> denominator) {
      static_cast<void>(trainer.accumulate(batch<net>(own.x), own.targets, denominator));
    };
    // The mean of the three is that of rank 0.
    expect_contains(failure_of([&] {
                      step(12.0 + (r == 1 ? 4 : r == 2 ? -4 : 0));
                    }),
                    "expected the same denominator on every rank, got rank 0 names 12.000000, rank 1 names 16.000000");
    expect_contains(failure_of([&] { accumulate(r == 2 ? std::optional<double>() : 12.0); }),
                    "rank 0 names 12.000000, rank 2 names none");
    expect(same_bits(all_values(trainer.parameters()), before));
    // Equal ones are taken, and a rank that has joined names none.
    step(12.0);
    if (r == 1) return trainer.join();
    step(8.0);
    trainer.join();
  }));
}

TEST_CASE("a hook that throws ends the step on all ranks and closes the communicator", "[ranks]") {
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    ls::data_parallel<net, 2, thread_rank, ls::bucket_bytes<16>, failing_hook> trainer(momentum, std::move(rank), {},
                                                                                       {}, {.failing = 2});
    const piece own = drawn<net>(30, 4);
    step_on(trainer, own);  // two buckets
    const auto before = all_values(trainer.parameters());
    expect_contains(failure_of([&] { step_on(trainer, own); }), "a hook that cannot");
    expect(same_bits(all_values(trainer.parameters()), before));
    expect(trainer.steps() == 1);
    // The object is whole but its communicator is not: what needs no other rank works, a step says why not.
    static_cast<void>(trainer.forward(batch<net>(own.x)));
    expect_contains(failure_of([&] { step_on(trainer, own); }), "a hook that cannot");
  }));
}

namespace {

/// In its second step, throws on rank 1 what a user may throw.
template <class Error>
struct hook_that_throws {
  Error error;
  int calls = 0;

  template <ls::communicator C>
  void operator()(C& c, const ls::bucket_view& bucket) {
    if (c.rank() == 1 && calls++ == 2) throw error;
    c.all_reduce(bucket.gradients);
  }
};

template <class Error>
void check_hook(const Error& error, const std::string& own, const std::string& of_others) {
  check_no_failure(
      run_ranks(3,
                [&](thread_rank& rank) {
                  const int r = rank.rank();
                  ls::data_parallel<net, 2, thread_rank, ls::bucket_bytes<16>, hook_that_throws<Error>> trainer(
                      momentum, std::move(rank), {}, {}, {error});
                  const piece one = drawn<net>(30, 4);
                  step_on(trainer, one);  // two buckets
                  const auto before = all_values(trainer.parameters());
                  std::string message = "an int";
                  try {
                    step_on(trainer, one);
                    message = "";
                  } catch (const std::exception& e) {
                    message = e.what();
                  } catch (int) {
                  }
                  expect_contains(message, r == 1 ? own : of_others);
                  expect(same_bits(all_values(trainer.parameters()), before));
                  expect_contains(failure_of([&] { step_on(trainer, one); }), "aborted");
                },
                {.time_limit = 60}));
}

}  // namespace

TEST_CASE("whatever a hook throws on one rank ends the step on all", "[ranks]") {
  check_hook(ls::communicator_error("my hook", "another value", "this one"), "my hook: expected another value",
             "rank 1 aborted (lockstep: my hook: expected another value");
  check_hook(ls::value_error("my hook", "another value", "this one"), "my hook: expected another value",
             "rank 1 aborted (lockstep: my hook");
  check_hook(7, "an int", "rank 1 aborted (an exception that is no std::exception");
}

TEST_CASE("ranks that do different things are told so", "[ranks]") {
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    trainer_of_rank trainer(momentum, std::move(rank));
    const piece own = drawn<net>(30, 4);
    const std::string message = failure_of([&] {
      if (r == 0)
        step_on(trainer, own);
      else
        static_cast<void>(trainer.accumulate(batch<net>(own.x), own.targets));
    });
    expect_contains(message, "1 that step and 1 that accumulate");
    step_on(trainer, own);
  }));
}

TEST_CASE("a rank that is gone ends the steps of the others", "[ranks]") {
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    trainer_of_rank trainer(momentum, std::move(rank));
    const piece own = drawn<net>(30, 4);
    step_on(trainer, own);
    if (r == 1) return;
    expect_contains(failure_of([&] { step_on(trainer, own); }), "rank 1");
  }));
}
