// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/rank_support.hpp"
#include "support/queued_backend.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

using block = ls::named<"block", ls::skippable<ls::linear<12>>>;
using with_block = ls::model<
    ls::sequential<ls::named<"first", ls::linear<12>>, ls::relu, block, ls::relu, ls::named<"last", ls::linear<5>>>,
    ls::input<8>, ls::cross_entropy>;
using without_block =
    ls::model<ls::sequential<ls::named<"first", ls::linear<12>>, ls::relu, ls::relu, ls::named<"last", ls::linear<5>>>,
              ls::input<8>, ls::cross_entropy>;
constexpr ls::sgd momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

template <class Trainer>
std::vector<float> values(Trainer& trainer, std::string_view name) {
  return trainer.parameters().at(name).values();
}

}  // namespace

TEMPLATE_TEST_CASE("steps that skip a layer are those of the model without it", "[skip]", ls::cpu, queued) {
  ls::data_parallel<with_block, 2, TestType> trainer(momentum, {}, {.non_finite = ls::non_finite::stop});
  ls::data_parallel<without_block, 2, TestType> expected(momentum, {}, {.non_finite = ls::non_finite::stop});
  for (const char* name : {"first.weight", "first.bias", "last.weight", "last.bias"})
    expected.parameters().at(name).assign(values(trainer, name));
  const auto weight = values(trainer, "block.weight");
  const auto bias = values(trainer, "block.bias");
  trainer.skip("block");
  for (std::uint64_t i = 0; i < 4; ++i) {
    const piece p = drawn<with_block>(10 + i, 9);
    CHECK(step_on(trainer, p) == step_on(expected, p));
    CHECK(trainer.gradient_norm() == Approx(expected.gradient_norm()).epsilon(1e-12));
  }
  for (const char* name : {"first.weight", "first.bias", "last.weight", "last.bias"})
    CHECK(same_bits(values(trainer, name), values(expected, name)));
  // Neither the decay nor a velocity has moved what was not used.
  CHECK(same_bits(values(trainer, "block.weight"), weight));
  CHECK(same_bits(values(trainer, "block.bias"), bias));
  CHECK(trainer.gradients().at("block.bias").values() == std::vector<float>(12, 0.F));

  const piece p = drawn<with_block>(20, 7);
  CHECK(trainer.evaluate(batch<with_block>(p.x), p.targets).loss_sum ==
        expected.evaluate(batch<without_block>(p.x), p.targets).loss_sum);
  trainer.skip("block", false);
  step_on(trainer, p);
  CHECK_FALSE(same_bits(values(trainer, "block.bias"), bias));
}

TEST_CASE("a layer's velocity waits while the layer is skipped", "[skip]") {
  constexpr float rate = 0.1F, mu = 0.9F;
  ls::data_parallel<with_block, 2> trainer({.learning_rate = rate, .momentum = mu});
  const auto before = values(trainer, "block.bias");
  step_on(trainer, drawn<with_block>(1, 9));
  const auto g1 = trainer.gradients().at("block.bias").values();
  trainer.skip("block");
  step_on(trainer, drawn<with_block>(2, 9));
  step_on(trainer, drawn<with_block>(3, 9));
  trainer.skip("block", false);
  step_on(trainer, drawn<with_block>(4, 9));
  const auto g4 = trainer.gradients().at("block.bias").values();
  const auto after = values(trainer, "block.bias");
  for (std::size_t i = 0; i < after.size(); ++i)
    CHECK(after[i] == Approx(before[i] - rate * g1[i] - rate * (mu * g1[i] + g4[i])).margin(1e-6));
}

TEST_CASE("a layer that only an accumulated pass has used takes part in the step", "[skip]") {
  const piece whole = drawn<with_block>(5, 12);
  const piece first = cut<with_block>(whole, 0, 5), second = cut<with_block>(whole, 5, 7);
  const auto run = [&](bool skip_in_step) {
    ls::data_parallel<with_block, 2> trainer(momentum);
    trainer.accumulate(batch<with_block>(first.x), first.targets, 12.0);
    trainer.skip("block", skip_in_step);
    trainer.step(batch<with_block>(second.x), second.targets, 12.0);
    return values(trainer, "block.weight");
  };
  const ls::data_parallel<with_block, 2> fresh(momentum);
  const auto initial = fresh.parameters().at("block.weight").values();
  CHECK_FALSE(same_bits(run(true), initial));
  CHECK_FALSE(same_bits(run(true), run(false)));

  // Of several accumulated passes it does not matter which one has used it.
  ls::data_parallel<with_block, 2> earlier(momentum);
  earlier.accumulate(batch<with_block>(first.x), first.targets, 24.0);
  earlier.skip("block");
  earlier.accumulate(batch<with_block>(second.x), second.targets, 24.0);
  earlier.step(batch<with_block>(whole.x), whole.targets, 24.0);
  CHECK_FALSE(same_bits(values(earlier, "block.weight"), initial));

  // And the step after it has forgotten: nothing has used the layer.
  ls::data_parallel<with_block, 2> trainer(momentum);
  trainer.accumulate(batch<with_block>(first.x), first.targets);
  step_on(trainer, second);
  trainer.skip("block");
  const auto kept = values(trainer, "block.weight");
  step_on(trainer, first);
  CHECK(same_bits(values(trainer, "block.weight"), kept));
}

namespace {

template <int N, class B>
trained_bits train_with_skips() {
  ls::data_parallel<with_block, N, B, ls::reduce::reproducible> trainer(momentum, {}, {.max_norm = 0.5});
  trained_bits bits;
  for (std::uint64_t i = 0; i < 9; ++i) {
    trainer.skip("block", i % 3 == 1);
    bits.losses.push_back(step_on(trainer, drawn<with_block>(30 + i, 16)));
    bits.norms.push_back(trainer.gradient_norm());
  }
  bits.gradients = all_values(trainer.gradients());
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

}  // namespace

TEST_CASE("skipping keeps the bits for any number of replicas", "[skip]") {
  const auto one = train_with_skips<1, ls::cpu>();
  check_same_bits(train_with_skips<2, ls::cpu>(), one);
  check_same_bits(train_with_skips<8, ls::cpu>(), one);
  check_same_bits(train_with_skips<1, queued>(), one);
  check_same_bits(train_with_skips<2, queued>(), one);
}

TEST_CASE("ranks that skip different layers update what any of them used", "[skip]") {
  const piece whole = drawn<with_block>(5, 12);
  const piece parts[] = {cut<with_block>(whole, 0, 6), cut<with_block>(whole, 6, 6)};
  // The same in one process: rank 0's part without the layer, rank 1's with it.
  ls::data_parallel<with_block, 1> alone(momentum);
  alone.skip("block");
  alone.accumulate(batch<with_block>(parts[0].x), parts[0].targets, 12.0);
  alone.skip("block", false);
  alone.step(batch<with_block>(parts[1].x), parts[1].targets, 12.0);
  const auto expected = all_values(alone.parameters());

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<with_block, 1, thread_rank, ls::bucket_bytes<64>> trainer(momentum, std::move(rank));
    trainer.skip("block", r == 0);
    step_on(trainer, parts[r]);
    expect_close(all_values(trainer.parameters()), expected);
    trainer.verify();

    // A rank without batches goes along with what the others use.
    const auto before = values(trainer, "block.weight");
    if (r == 0) {
      trainer.join();
      expect(same_bits(values(trainer, "block.weight"), before), "nobody has used the layer");
    } else {
      trainer.skip("block");
      step_on(trainer, parts[1]);
      trainer.join();
    }
    trainer.verify();
  }));
}

namespace {

/// Counts what it sends.
struct counting_hook {
  std::atomic<int>* sent;

  template <class Communicator>
  void operator()(Communicator& c, const ls::bucket_view& bucket) {
    sent->fetch_add(1);
    c.all_reduce(bucket.gradients);
  }
};

}  // namespace

TEST_CASE("a rank that has joined uses no layer", "[skip]") {
  const piece own = drawn<with_block>(5, 6);
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const bool steps = rank.rank() == 0;
    ls::data_parallel<with_block, 2, thread_rank> trainer(momentum, std::move(rank));
    const auto block = values(trainer, "block.weight");
    const auto last = values(trainer, "last.weight");
    if (steps) {
      trainer.skip("block");
      step_on(trainer, own);
    }
    trainer.join();
    // The other rank would not skip it, but has run no pass.
    expect(same_bits(values(trainer, "block.weight"), block));
    expect(!same_bits(values(trainer, "last.weight"), last));
  }));
}

TEST_CASE("a rank that accumulates through a layer and then joins gives the layer's gradient", "[skip]") {
  const piece all = drawn<with_block>(5, 12);
  const piece first = cut<with_block>(all, 0, 6);
  const piece second = cut<with_block>(all, 6, 6);
  const auto accumulate = [](auto& trainer, const piece& p) {
    static_cast<void>(trainer.accumulate(batch<with_block>(p.x), p.targets, 12.0));
  };
  // One device: half of the batch through the layer, the other half without it, and once more in the step.
  ls::data_parallel<with_block, 1> alone(momentum);
  accumulate(alone, first);
  alone.skip("block");
  accumulate(alone, second);
  static_cast<void>(alone.step(batch<with_block>(second.x), second.targets, 12.0));
  const auto expected = all_values(alone.parameters());

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<with_block, 2, thread_rank> trainer(momentum, std::move(rank));
    if (r == 0) {
      accumulate(trainer, first);
    } else {
      trainer.skip("block");
      accumulate(trainer, second);
      static_cast<void>(trainer.step(batch<with_block>(second.x), second.targets, 12.0));
    }
    trainer.join();
    expect_close(all_values(trainer.parameters()), expected);
  }));
}

TEST_CASE("buckets of layers that no rank uses are not sent", "[skip]") {
  std::array<std::atomic<int>, 2> sent{};
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    auto& count = sent[static_cast<std::size_t>(r)];
    ls::data_parallel<with_block, 1, thread_rank, counting_hook, ls::bucket_bytes<1, 1>> trainer(
        momentum, std::move(rank), {}, {}, counting_hook{&count});
    const piece p = drawn<with_block>(40, 6);
    step_on(trainer, p);
    expect(count.exchange(0) == 3, "a bucket for each layer");
    trainer.skip("block");
    step_on(trainer, p);
    expect(count.exchange(0) == 2, "no bucket for the skipped layer");
    trainer.skip("block", r == 0);
    step_on(trainer, p);
    expect(count.exchange(0) == 3, "one rank uses it");
    trainer.verify();
  }));
}

TEST_CASE("a layer that cannot be skipped is refused by name", "[skip]") {
  ls::data_parallel<with_block, 2> trainer;
  try {
    trainer.skip("last");
    FAIL("it was accepted");
  } catch (const ls::value_error& e) {
    CHECK(contains(e.what(), "one of the skippable layers: block, got last"));
  }
}
