// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `skippable` inside `skippable`, and trainers of any number of replicas and ranks that skip composites.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "parallel/rank_support.hpp"
#include "support/queued_backend.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

constexpr ls::sgd momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

template <class Trainer>
std::vector<float> values(const Trainer& trainer, std::string_view name) {
  return trainer.state().at(name).values();
}

template <class... Middle>
using net = ls::model<ls::sequential<ls::named<"first", ls::conv2d<4, 3, ls::padding<1>>>, ls::batch_norm2d<>, ls::relu,
                                     Middle..., ls::flatten, ls::named<"last", ls::linear<5>>>,
                      ls::input<3, 4, 5>, ls::cross_entropy>;

using conv = ls::conv2d<4, 3, ls::padding<1>>;
using normalised = ls::sequential<conv, ls::named<"norm", ls::batch_norm2d<>>, ls::relu>;
template <template <class> class Outer, template <class> class Inner>
using nest = ls::named<
    "outer",
    Outer<ls::residual<ls::sequential<ls::named<"layer", conv>, ls::named<"inner", Inner<ls::residual<normalised>>>>>>>;
template <class L>
using stays = L;
template <class>
using gone = ls::identity;

using nested = net<nest<ls::skippable, ls::skippable>>;

/// Trains with `skip(trainer)`, and compares what the two networks have in common.
template <class With, class Without, int N, class Skip>
void check_same(const Skip& skip) {
  ls::data_parallel<With, N> trainer(momentum);
  ls::data_parallel<Without, N> expected(momentum);
  for (const auto& each : expected.state()) each.assign(values(trainer, each.name()));
  skip(trainer);
  for (std::uint64_t i = 0; i < 3; ++i) {
    const piece p = drawn<With>(10 + i, 7);
    CHECK(step_on(trainer, p) == step_on(expected, p));
  }
  for (const auto& each : std::as_const(expected).state())
    CHECK(same_bits(values(trainer, each.name()), each.values()));
}

template <int N>
void check_nested() {
  check_same<nested, net<nest<stays, stays>>, N>([](auto&) {});
  check_same<nested, net<nest<stays, gone>>, N>([](auto& t) { t.skip("outer.inner"); });
  check_same<nested, net<nest<gone, stays>>, N>([](auto& t) { t.skip("outer"); });
  check_same<nested, net<nest<gone, stays>>, N>([](auto& t) { t.skip("outer.inner"), t.skip("outer"); });
  // What is inside is as it was when what surrounds it runs again.
  check_same<nested, net<nest<stays, gone>>, N>(
      [](auto& t) { t.skip("outer.inner"), t.skip("outer"), t.skip("outer", false); });
}

template <int N, class B>
trained_bits train_with_skips() {
  using rows = ls::model<
      ls::sequential<
          ls::linear<12>, ls::relu,
          ls::named<"block",
                    ls::skippable<ls::residual<ls::sequential<
                        ls::linear<9>, ls::relu, ls::named<"layer", ls::skippable<ls::linear<9>>>, ls::linear<12>>>>>,
          ls::linear<5>>,
      ls::input<8>, ls::cross_entropy>;
  ls::data_parallel<rows, N, B, ls::reduce::reproducible> trainer(momentum, {}, {.max_norm = 0.5});
  trained_bits bits;
  for (std::uint64_t i = 0; i < 9; ++i) {
    trainer.skip("block", i % 3 == 1);
    trainer.skip("block.layer", i % 2 == 1);
    bits.losses.push_back(step_on(trainer, drawn<rows>(30 + i, 16)));
    bits.norms.push_back(trainer.gradient_norm());
  }
  bits.gradients = all_values(trainer.gradients());
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

template <int N>
std::vector<std::vector<float>> train_normalised() {
  ls::data_parallel<nested, N, ls::reduce::reproducible> trainer(momentum);
  for (std::uint64_t i = 0; i < 8; ++i) {
    trainer.skip("outer", i % 3 == 1);
    trainer.skip("outer.inner", i % 2 == 1);
    step_on(trainer, drawn<nested>(30 + i, 11));
  }
  return all_values(std::as_const(trainer).state());
}

TEST_CASE("a batch that is too small for a normalisation is no fault while that is skipped", "[skip][batch_norm]") {
  using model =
      ls::model<ls::sequential<ls::linear<4>,
                               ls::named<"block", ls::skippable<ls::sequential<ls::linear<4>, ls::batch_norm1d<>>>>>,
                ls::input<3>, ls::cross_entropy>;
  ls::data_parallel<model, 2> trainer(momentum);
  trainer.initialize(ls::seed{1});
  const piece one = drawn<model>(4, 1);
  CHECK_THROWS_AS(step_on(trainer, one), ls::value_error);
  trainer.skip("block");
  CHECK(std::isfinite(step_on(trainer, one)));
  trainer.skip("block", false);
  CHECK_THROWS_AS(step_on(trainer, one), ls::value_error);
}

}  // namespace

TEST_CASE("composites that may be skipped inside one that may be", "[skip]") {
  check_nested<1>();
  check_nested<2>();
  check_nested<3>();
}

TEST_CASE("skipping composites keeps the bits for any number of replicas", "[skip]") {
  const auto one = train_with_skips<1, ls::cpu>();
  check_same_bits(train_with_skips<2, ls::cpu>(), one);
  check_same_bits(train_with_skips<8, ls::cpu>(), one);
  check_same_bits(train_with_skips<2, queued>(), one);
  const auto normalised_by_one = train_normalised<1>();
  CHECK(same_bits(train_normalised<2>(), normalised_by_one));
  CHECK(same_bits(train_normalised<4>(), normalised_by_one));
}

TEST_CASE("running statistics rest while a composite is skipped", "[skip]") {
  ls::data_parallel<nested, 2> trainer(momentum);
  const auto statistics = [&] {
    std::vector<std::vector<float>> all;
    for (const char* name : {"running_mean", "running_var", "num_batches_tracked"})
      all.push_back(values(trainer, std::string("outer.inner.norm.") + name));
    return all;
  };
  step_on(trainer, drawn<nested>(1, 6));
  const auto before = statistics();
  CHECK(before.back() == std::vector<float>{1.F});
  trainer.skip("outer.inner");
  step_on(trainer, drawn<nested>(2, 6));
  CHECK(same_bits(statistics(), before));
  CHECK(values(trainer, "1.num_batches_tracked") == std::vector<float>{2.F});
  trainer.skip("outer.inner", false);
  step_on(trainer, drawn<nested>(3, 6));
  CHECK(statistics().back() == std::vector<float>{2.F});
}

TEST_CASE("ranks that skip different composites update what any of them used", "[skip]") {
  using model = ls::model<
      ls::sequential<ls::named<"first", ls::linear<12>>, ls::relu,
                     ls::named<"block", ls::skippable<ls::residual<ls::linear<12>>>>, ls::named<"last", ls::linear<5>>>,
      ls::input<8>, ls::cross_entropy>;
  const piece whole = drawn<model>(5, 12);
  const piece parts[] = {cut<model>(whole, 0, 6), cut<model>(whole, 6, 6)};
  // The same in one process: rank 0's part without the block, rank 1's with it.
  ls::data_parallel<model, 1> alone(momentum);
  alone.skip("block");
  alone.accumulate(batch<model>(parts[0].x), parts[0].targets, 12.0);
  alone.skip("block", false);
  alone.step(batch<model>(parts[1].x), parts[1].targets, 12.0);
  const auto expected = all_values(alone.parameters());

  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 2, thread_rank, ls::bucket_bytes<64>> trainer(momentum, std::move(rank));
    trainer.skip("block", r == 0);
    step_on(trainer, parts[r]);
    expect_close(all_values(trainer.parameters()), expected);
    const auto before = values(trainer, "block.weight");
    trainer.skip("block");
    step_on(trainer, parts[r]);
    expect(same_bits(values(trainer, "block.weight"), before), "nobody has used the block");
    trainer.verify();
  }));
}

TEST_CASE("a rank measures nothing in what it skips", "[skip]") {
  const piece whole = drawn<nested>(5, 12);
  const piece parts[] = {cut<nested>(whole, 0, 6), cut<nested>(whole, 6, 6)};
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<nested, 1, thread_rank> trainer(momentum, std::move(rank));
    trainer.skip("outer", r == 0);
    step_on(trainer, parts[r]);
    expect(values(trainer, "outer.inner.norm.num_batches_tracked") == std::vector<float>{1.F});
    trainer.skip("outer");
    step_on(trainer, parts[r]);
    expect(values(trainer, "outer.inner.norm.num_batches_tracked") == std::vector<float>{1.F});
    expect(values(trainer, "1.num_batches_tracked") == std::vector<float>{2.F});
    trainer.verify();
  }));
}

TEST_CASE("what cannot be skipped is refused by name beside composites", "[skip]") {
  ls::data_parallel<nested, 1> trainer;
  CHECK_THROWS_WITH(trainer.skip("last"), Catch::Contains("one of the skippable layers: outer, outer.inner, got last"));
}
