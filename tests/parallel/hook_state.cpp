// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/comm/powersgd.hpp>

#include "parallel/rank_support.hpp"
#include "parallel/trap.hpp"

/// \file
/// What a hook keeps from step to step follows the steps that are made.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using model = trapped<pass_kind::backward>;
template <class Hook>
using trainer_with = ls::data_parallel<model, 1, thread_rank, Hook, ls::bucket_bytes<1, 1>>;

/// Parameters of rank 0 after six steps of two ranks; `failing`: a step between them, in which rank 0 fails.
template <class Hook>
std::vector<std::vector<float>> train(const Hook& hook, bool failing) {
  std::vector<std::vector<float>> result;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    trainer_with<Hook> trainer({.learning_rate = 0.05F}, std::move(rank), {}, {}, hook);
    make_trap_certain(trainer);
    const auto own = drawn<model>(40U + static_cast<unsigned>(r), 6);
    for (int i = 0; i < 6; ++i) {
      if (i == 4 && failing) {
        piece bad = own;
        if (r == 0) bad.x[5] = marker;
        std::string message = "nothing was thrown";
        try {
          step_on(trainer, bad);
        } catch (const ls::error& e) {
          message = e.what();
        }
        expect_contains(message, r == 0 ? "a value above 500" : "1 that failed");
      }
      step_on(trainer, own);
    }
    if (r == 0) result = all_values(trainer.parameters());
  }));
  return result;
}

template <class Hook>
void check_failed_step_leaves_no_trace(const Hook& hook) {
  const auto expected = train(hook, false);
  REQUIRE(!expected.empty());
  CHECK(same_bits(train(hook, true), expected));
}

/// A hook that has reduced gradients keeps its messages; after reset() on all ranks they may change.
template <class Hook>
void check_schedule_is_refused(const Hook& hook) {
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    trainer_with<Hook> trainer({}, std::move(rank), {}, {}, hook);
    const auto own = drawn<model>(40, 6);
    trainer.set_bucket_schedule({0, 1});  // no state yet
    step_on(trainer, own);
    expect_contains(message_of<ls::value_error>([&] { trainer.set_bucket_schedule({1}); }), "hook().reset()");
    expect_contains(message_of<ls::value_error>(
                        [&] { static_cast<void>(trainer.calibrate_buckets(batch<model>(own.x), own.targets)); }),
                    "hook().reset()");
    step_on(trainer, own);
    trainer.hook().reset();
    trainer.set_bucket_schedule({1});
    step_on(trainer, own);
    expect(trainer.steps() == 3);
  }));
}

}  // namespace

TEST_CASE("a failed step leaves no trace in what a hook keeps", "[ranks][hooks]") {
  check_failed_step_leaves_no_trace(ls::fp16_hook({.error_feedback = true}));
  check_failed_step_leaves_no_trace(ls::bf16_hook({.error_feedback = true}));
  check_failed_step_leaves_no_trace(ls::powersgd_hook({.start_iteration = 2, .min_compression_rate = 0.1}));
  check_failed_step_leaves_no_trace(
      ls::powersgd_hook({.start_iteration = 0, .min_compression_rate = 0.1, .warm_start = false}));
}

TEST_CASE("buckets do not change under a hook that keeps their state", "[ranks][hooks]") {
  check_schedule_is_refused(ls::fp16_hook({.error_feedback = true}));
  check_schedule_is_refused(ls::powersgd_hook({.start_iteration = 0, .min_compression_rate = 0.1}));
}

TEST_CASE("buckets change under hooks that keep nothing", "[ranks][hooks]") {
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    trainer_with<ls::fp16_hook> trainer({}, std::move(rank));
    const auto own = drawn<model>(40, 6);
    step_on(trainer, own);
    trainer.set_bucket_schedule({1});
    step_on(trainer, own);
  }));
}
