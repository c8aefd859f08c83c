// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <barrier>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "parallel/failing_backend.hpp"
#include "parallel/rank_support.hpp"
#include "support/sanitized.hpp"

/// \file
/// Random runs of ranks and replicas, with layers skipped and frozen, gradients accumulated, empty shards, clipping,
/// and a replica that fails at any of its calls, held against one device that makes the accepted calls alone.

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

using net = ls::sequential<ls::named<"a", ls::linear<5>>, ls::relu, ls::named<"b", ls::skippable<ls::linear<5>>>,
                           ls::named<"f", ls::frozen<ls::linear<5>>>, ls::relu,
                           ls::named<"d", ls::skippable<ls::linear<5>>>, ls::named<"e", ls::linear<3>>>;
using model = ls::model<net, ls::input<4>, ls::cross_entropy>;
using one_device = ls::data_parallel<model, 1, ls::reference<float>>;
using values = std::vector<std::vector<float>>;

constexpr std::size_t most_ranks = 3;
constexpr double denominator = 8;

/// A rank's part of a call.
struct part {
  piece batch;
  std::array<bool, 2> skipped{};  ///< b, d
};

/// A call that all ranks make.
struct call {
  bool steps = true;
  std::vector<part> parts;  ///< by rank
  std::size_t trap = 0;     ///< of the call that fails, if any
  int fails_at = -1;
};

struct run_plan {
  ls::sgd optimizer;
  double max_norm = std::numeric_limits<double>::infinity();
  std::vector<call> calls{};
};

run_plan draw_run(std::uint32_t number, std::size_t ranks) {
  std::mt19937 random(number);
  const auto below = [&](std::uint32_t n) { return static_cast<int>(random() % n); };
  run_plan plan{.optimizer = {.learning_rate = 0.1F}};
  if (below(3) > 0) plan.optimizer.momentum = 0.9F;
  if (below(2) > 0) plan.optimizer.dampening = 0.5F;
  if (below(2) > 0) plan.optimizer.weight_decay = 0.01F;
  if (below(2) > 0) plan.max_norm = 0.3;
  const int calls = 4 + below(4);
  for (int i = 0; i < calls; ++i) {
    call next{.steps = below(3) > 0, .parts = {}};
    const auto full = static_cast<std::size_t>(below(static_cast<std::uint32_t>(ranks)));
    for (std::size_t r = 0; r < ranks; ++r) {
      const int samples = r == full ? 1 + below(7) : below(4);  // of the others some are empty
      part own{.batch = drawn<model>(random(), samples)};
      for (auto& t : own.batch.targets)
        if (below(6) == 0) t = -100;
      for (bool& skipped : own.skipped) skipped = below(2) == 0;
      next.parts.push_back(std::move(own));
    }
    if (below(3) == 0) {
      next.trap = static_cast<std::size_t>(below(static_cast<std::uint32_t>(ranks) + 1));
      next.fails_at = below(below(2) == 0 ? 12 : 60);
    }
    plan.calls.push_back(std::move(next));
  }
  return plan;
}

template <class Trainer>
void set_skips(Trainer& trainer, const part& own) {
  trainer.skip("b", own.skipped[0]);
  trainer.skip("d", own.skipped[1]);
}

template <class Trainer>
double make_call(Trainer& trainer, bool steps, const piece& p) {
  return steps ? trainer.step(batch<model>(p.x), p.targets, denominator)
               : trainer.accumulate(batch<model>(p.x), p.targets, denominator);
}

/// One device, which makes a call for the parts of all ranks.
class oracle {
 public:
  oracle(const run_plan& plan) : trainer_(plan.optimizer, {}, {.max_norm = plan.max_norm}) {
    trainer_.initialize(ls::seed{3});
  }

  /// Gradients that rank r keeps for a step to come, or forgets.
  void accumulate(std::size_t r, const part& own) { pending_.at(r).push_back(&own); }
  void forget(std::size_t r) { pending_.at(r).clear(); }

  /// The loss of the step that all ranks make.
  double step(const std::vector<part>& parts) {
    for (auto& kept : pending_) {
      for (const part* own : kept) add(*own);
      kept.clear();
    }
    double loss = 0;
    const part* last = nullptr;
    for (const part& own : parts) {
      if (own.batch.targets.empty()) continue;
      if (last != nullptr) loss += add(*last);
      last = &own;
    }
    set_skips(trainer_, *last);
    return loss + make_call(trainer_, true, last->batch);
  }

  void initialize() {
    trainer_.initialize(ls::seed{3});
    for (auto& kept : pending_) kept.clear();
  }
  [[nodiscard]] values parameters() { return all_values(trainer_.parameters()); }

 private:
  double add(const part& own) {
    if (own.batch.targets.empty()) return 0;
    set_skips(trainer_, own);
    return make_call(trainer_, false, own.batch);
  }

  one_device trainer_;
  std::array<std::vector<const part*>, most_ranks> pending_;
};

/// What became of a call, by rank.
struct outcome {
  bool threw = false;
  bool half_updated = false;
  bool spoiled = false;  ///< was told that a rank had failed to accumulate
  double loss = 0;
};

/// What the ranks of a run share.
struct shared_run {
  shared_run(const run_plan& of, std::size_t ranks)
      : plan(of), truth(of), outcomes(ranks), meet(static_cast<std::ptrdiff_t>(ranks)) {}

  const run_plan& plan;
  oracle truth;
  std::vector<outcome> outcomes;
  std::barrier<> meet;
  double expected_loss = 0;
  bool spoiled = false;  ///< a rank has failed to accumulate what the others have
};

/// Rank r makes one call, with a call of the backend that fails.
template <class Trainer>
outcome attempt(Trainer& trainer, const call& now, std::size_t r, std::size_t trap) {
  const part& own = now.parts[r];
  set_skips(trainer, own);
  const values before = all_values(trainer.parameters());
  const std::int64_t steps = trainer.steps();
  const bool sets_trap = now.fails_at >= 0 && (now.trap == trap || (now.trap == 0 && r == 0));
  if (sets_trap) failing::traps.at(now.trap).set(now.fails_at);
  outcome result;
  try {
    result.loss = make_call(trainer, now.steps, own.batch);
  } catch (const ls::error& e) {
    result.threw = true;
    result.spoiled = std::string(e.what()).find("gradients that every rank has accumulated") != std::string::npos;
  } catch (const std::runtime_error& e) {
    expect_contains(e.what(), "a call that fails");  // in the thread that communicates
    result.threw = true;
  }
  if (sets_trap) failing::traps.at(now.trap).disarm();
  if (result.threw) {
    const piece one = drawn<model>(5, 1);
    try {
      static_cast<void>(trainer.evaluate(batch<model>(one.x), one.targets));
      expect(same_bits(all_values(trainer.parameters()), before), "parameters are as before");
    } catch (const ls::value_error& e) {
      expect_contains(e.what(), "an update in which a replica failed");
      result.half_updated = true;
    }
    expect(trainer.steps() == steps, "no step is counted");
  } else {
    expect(trainer.steps() == steps + (now.steps ? 1 : 0), "a step is counted");
  }
  return result;
}

/// How often a run has met what it is to meet.
struct tally {
  int failed_passes = 0, failed_sums = 0, half_updates = 0, steps = 0;
} met;

/// On one rank: what of a call that was made holds from now on, on one device too.
void settle(shared_run& run, const call& now, bool has_ranks) {
  bool some_threw = false, some_half = false, all_threw = true, some_spoiled = false, all_spoiled = true;
  for (const outcome& each : run.outcomes) {
    some_threw = some_threw || each.threw;
    some_half = some_half || each.half_updated;
    all_threw = all_threw && each.threw;
    some_spoiled = some_spoiled || each.spoiled;
    all_spoiled = all_spoiled && each.spoiled;
  }
  if (run.spoiled || some_spoiled) {
    expect(run.spoiled && all_spoiled, "all ranks hear of a rank that failed to accumulate");
    for (std::size_t r = 0; r < run.outcomes.size(); ++r) run.truth.forget(r);
    run.spoiled = false;
    return;
  }
  const failed_call failed = now.fails_at < 0 ? failed_call::none : failing::traps.at(now.trap).failed.load();
  met.failed_passes += some_threw && failed == failed_call::pass;
  met.failed_sums += some_threw && failed == failed_call::sum;
  met.half_updates += some_half;
  met.steps += now.steps && !some_threw;
  expect(some_threw == (now.fails_at >= 0 && failed != failed_call::none), "who fails throws, nobody else");
  if (!now.steps) {
    expect(!some_half, "what is accumulated changes no parameter");
    run.spoiled = some_threw && has_ranks;
    for (std::size_t r = 0; r < run.outcomes.size(); ++r) {
      if (!run.outcomes[r].threw)
        run.truth.accumulate(r, now.parts[r]);
      else if (failed != failed_call::pass)
        run.truth.forget(r);
    }
    return;
  }
  if (!some_threw || (some_half && has_ranks)) {
    run.expected_loss = run.truth.step(now.parts);
    return;
  }
  if (some_half) return run.truth.initialize();
  expect(all_threw, "a step is made by all ranks or by none");
  for (std::size_t r = 0; r < run.outcomes.size(); ++r)
    if (has_ranks || failed != failed_call::pass) run.truth.forget(r);
}

/// Rank r of a run.
template <class Trainer>
void follow(Trainer& trainer, shared_run& run, std::size_t r, std::size_t trap) {
  trainer.initialize(ls::seed{3});
  for (const call& now : run.plan.calls) {
    run.outcomes[r] = attempt(trainer, now, r, trap);
    run.meet.arrive_and_wait();
    if (r == 0) settle(run, now, Trainer::has_ranks);
    run.meet.arrive_and_wait();
    if constexpr (Trainer::has_ranks) {
      std::optional<int> whole;
      bool half_updated = false;
      for (std::size_t k = 0; k < run.outcomes.size(); ++k) {
        half_updated = half_updated || run.outcomes[k].half_updated;
        if (!run.outcomes[k].half_updated && !whole) whole = static_cast<int>(k);
      }
      if (half_updated) trainer.broadcast(whole.value());
    } else if (run.outcomes[r].half_updated) {
      trainer.initialize(ls::seed{3});
    }
    if (now.steps && !run.outcomes[r].threw && std::isfinite(run.expected_loss))
      expect(std::abs(run.outcomes[r].loss - run.expected_loss) <= 1e-5 * std::abs(run.expected_loss), "the loss");
    expect_close(all_values(trainer.parameters()), run.truth.parameters());
    run.meet.arrive_and_wait();
  }
}

template <int N>
std::vector<std::string> run_alone(std::uint32_t number) {
  const run_plan plan = draw_run(number, 1);
  shared_run run(plan, 1);
  ls::data_parallel<model, N, failing> trainer(plan.optimizer, {},
                                               {.pin = false, .devices = {1}, .max_norm = plan.max_norm});
  try {
    follow(trainer, run, 0, 1);
  } catch (const std::exception& e) {
    return {e.what()};
  }
  return {};
}

template <int N>
std::vector<std::string> run_as_ranks(std::uint32_t number, int ranks) {
  const run_plan plan = draw_run(number, static_cast<std::size_t>(ranks));
  shared_run run(plan, static_cast<std::size_t>(ranks));
  return run_ranks(ranks,
                   [&](thread_rank& rank) {
                     const auto r = static_cast<std::size_t>(rank.rank());
                     try {
                       ls::data_parallel<model, N, failing, thread_rank, ls::bucket_bytes<64>> trainer(
                           plan.optimizer, std::move(rank), {},
                           {.pin = false, .devices = {static_cast<int>(r) + 1}, .max_norm = plan.max_norm});
                       follow(trainer, run, r, r + 1);
                     } catch (...) {
                       run.meet.arrive_and_drop();
                       throw;
                     }
                   },
                   {.time_limit = 20});
}

/// That the runs were not spared what they are to show.
void check_met(int number_of_runs) {
  CAPTURE(met.failed_passes, met.failed_sums, met.half_updates, met.steps);
  CHECK(met.steps > number_of_runs);
  CHECK(met.failed_passes > number_of_runs / 10);
  if (number_of_runs < 1000) return;  // too few for what is rare
  CHECK(met.failed_sums > number_of_runs / 100);
  CHECK(met.half_updates > number_of_runs / 100);
}

constexpr std::uint32_t runs = LOCKSTEP_TEST_SANITIZED() ? 100 : 2000;

}  // namespace

TEST_CASE("random runs of replicas that fail at any call end as one device's", "[random]") {
  met = {};
  for (std::uint32_t number = 0; number < runs / 2; ++number) {
    INFO("run " << number);
    check_no_failure(number % 2 == 0 ? run_alone<2>(number) : run_alone<4>(number));
  }
  check_met(static_cast<int>(runs / 2));
}

TEST_CASE("random runs of ranks that fail at any call end as one device's", "[random][ranks]") {
  met = {};
  for (std::uint32_t number = 0; number < runs / 2; ++number) {
    INFO("run " << number);
    const int ranks = 2 + static_cast<int>(number / 2 % 2);
    check_no_failure(number % 2 == 0 ? run_as_ranks<1>(number, ranks) : run_as_ranks<3>(number, ranks));
  }
  check_met(static_cast<int>(runs / 2));
}
