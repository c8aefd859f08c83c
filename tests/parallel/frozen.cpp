// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "data/data_support.hpp"
#include "parallel/rank_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

template <class First>
using front_net = ls::sequential<First, ls::relu, ls::max_pool2d<2>, ls::flatten, ls::named<"body", ls::linear<20>>,
                                 ls::relu, ls::named<"head", ls::linear<5>>>;
template <class First>
using front_model = ls::model<front_net<First>, ls::input<2, 6, 6>, ls::cross_entropy>;
using conv1 = ls::named<"conv1", ls::conv2d<4, 3, ls::padding<1>>>;
using front_plain = front_model<conv1>;
using front = front_model<ls::frozen<conv1>>;

template <class Middle>
using middle_net = ls::sequential<ls::conv2d<4, 3, ls::padding<1>>, ls::relu, Middle, ls::relu, ls::flatten,
                                  ls::linear<18>, ls::relu, ls::linear<5>>;
template <class Middle>
using middle_model = ls::model<middle_net<Middle>, ls::input<2, 6, 6>, ls::cross_entropy>;
using middle_plain = middle_model<ls::conv2d<3, 3, ls::stride<2>>>;
using middle = middle_model<ls::frozen<ls::conv2d<3, 3, ls::stride<2>>>>;

// The last layer is frozen, and one in the middle.
using body_learns = ls::model<ls::sequential<ls::named<"body", ls::linear<12>>, ls::relu, ls::frozen<ls::linear<12>>,
                                             ls::relu, ls::frozen<ls::named<"head", ls::linear<5>>>>,
                              ls::input<8>, ls::cross_entropy>;
using body_plain = ls::model<ls::sequential<ls::named<"body", ls::linear<12>>, ls::relu, ls::linear<12>, ls::relu,
                                            ls::named<"head", ls::linear<5>>>,
                             ls::input<8>, ls::cross_entropy>;

using all = ls::model<ls::frozen<body_plain::network>, ls::input<8>, ls::cross_entropy>;

constexpr std::array<std::int64_t, 4> batches{12, 7, 16, 3};

template <class Model>
bool is_frozen(std::size_t tensor) {
  const auto& plan = Model::template plan<ls::cpu>;
  return plan.nodes[static_cast<std::size_t>(plan.parameters[tensor].node)].frozen;
}

struct trained {
  std::vector<double> losses;
  std::vector<std::vector<double>> start, end;
};

template <class T>
std::vector<std::vector<double>> in_double(const std::vector<std::vector<T>>& values) {
  std::vector<std::vector<double>> wide;
  for (const auto& each : values) wide.emplace_back(each.begin(), each.end());
  return wide;
}

/// Trains on `batches`; `after_step(trainer)` is called behind each.
template <class Trainer, class After>
trained train(Trainer& trainer, const After& after_step) {
  using model = typename Trainer::model_type;
  using value = typename Trainer::value_type;
  trainer.initialize(ls::seed{11});
  trained run{.losses = {}, .start = in_double(all_values(trainer.parameters())), .end = {}};
  std::uint64_t stream = 500;
  for (const std::int64_t samples : batches) {
    const auto x = draws<value>(stream++, samples * model::input_dims.size());
    const auto targets = class_draws(stream++, samples, 5);
    run.losses.push_back(trainer.step(batch<model>(x), targets));
    after_step(trainer);
  }
  run.end = in_double(all_values(trainer.parameters()));
  return run;
}

/// What a trainer of Frozen must do, by the definitions in double and without `frozen`: one replica of the model in
/// which all learns, whose tensors that are frozen in Frozen are put back after each step.
template <class Frozen, class Plain>
trained train_and_put_back(const ls::sgd& optimizer) {
  ls::data_parallel<Plain, 1, ls::reference<double>> trainer(optimizer);
  trainer.initialize(ls::seed{11});
  const auto start = all_values(trainer.parameters());
  return train(trainer, [&](auto& t) {
    std::size_t p = 0;
    for (const auto& each : t.parameters()) {
      if (is_frozen<Frozen>(p)) each.assign(start[p]);
      ++p;
    }
  });
}

template <class Frozen, class B, int N, class... Policies>
void check_trainer(const ls::sgd& optimizer, const trained& expected) {
  INFO(B::name << ", " << N << " replicas");
  using value = typename B::value_type;
  ls::data_parallel<Frozen, N, B, Policies...> trainer(optimizer);
  const trained given = train(trainer, [](auto&) {});
  for (std::size_t i = 0; i < batches.size(); ++i)
    CHECK(given.losses[i] == Approx(expected.losses[i]).epsilon(tolerance<value>));
  REQUIRE(given.end.size() == expected.end.size());
  for (std::size_t p = 0; p < given.end.size(); ++p) {
    INFO("parameter " << p);
    CHECK(relative_difference(given.start[p], expected.start[p]) == 0);
    if (is_frozen<Frozen>(p)) {
      CHECK(given.end[p] == given.start[p]);
    } else {
      CHECK(given.end[p] != given.start[p]);
      CHECK(relative_difference(given.end[p], expected.end[p]) <= tolerance<value>);
    }
  }
}

/// Plain descent, and with all that could move a parameter that has no gradient.
template <class Frozen, class Plain>
void check_training() {
  for (const ls::sgd& optimizer :
       {ls::sgd{.learning_rate = 0.05F},
        ls::sgd{.learning_rate = 0.05F, .momentum = 0.875F, .weight_decay = 0.125F, .nesterov = true}}) {
    INFO("momentum " << optimizer.momentum);
    const trained expected = train_and_put_back<Frozen, Plain>(optimizer);
    check_trainer<Frozen, ls::reference<double>, 1>(optimizer, expected);
    check_trainer<Frozen, ls::reference<double>, 2>(optimizer, expected);
    check_trainer<Frozen, ls::cpu, 1>(optimizer, expected);
    check_trainer<Frozen, ls::cpu, 2>(optimizer, expected);
    check_trainer<Frozen, ls::cpu, 4, ls::reduce::reproducible>(optimizer, expected);
  }
}

template <class Range>
std::vector<std::string> names(const Range& range) {
  std::vector<std::string> found;
  for (const auto& each : range) found.emplace_back(each.name());
  return found;
}

template <class Model>
piece drawn_batch() {
  return drawn<Model>(40, 14);
}

}  // namespace

TEST_CASE("a trainer with a frozen first layer is one that puts it back after each step", "[data_parallel][frozen]") {
  check_training<front, front_plain>();
}

TEST_CASE("a trainer with a frozen layer in the middle is one that puts it back", "[data_parallel][frozen]") {
  check_training<middle, middle_plain>();
}

TEST_CASE("a trainer with a frozen last layer is one that puts it back", "[data_parallel][frozen]") {
  check_training<body_learns, body_plain>();
}

TEST_CASE("frozen models train to the same bits on 1, 2 and 4 replicas", "[reproducible][frozen]") {
  const auto check = []<class Model>() {
    const ls::sgd optimizer{.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 0.01F};
    for (const double max_norm : {std::numeric_limits<double>::infinity(), 0.5}) {
      const auto one = train_reproducibly<Model, 1>(optimizer, max_norm, batches);
      check_same_bits(train_reproducibly<Model, 2>(optimizer, max_norm, batches), one);
      check_same_bits(train_reproducibly<Model, 4>(optimizer, max_norm, batches), one);
    }
  };
  check.template operator()<front>();
  check.template operator()<middle>();
}

TEST_CASE("frozen parameters are listed as before, their gradients are not", "[parameters][frozen]") {
  ls::data_parallel<front, 2> trainer;
  step_on(trainer, drawn_batch<front>());
  CHECK(names(trainer.parameters()) == names(ls::data_parallel<front_plain, 2>{}.parameters()));
  CHECK(names(trainer.parameters()) ==
        std::vector<std::string>{"conv1.weight", "conv1.bias", "body.weight", "body.bias", "head.weight", "head.bias"});
  CHECK(names(trainer.gradients()) == std::vector<std::string>{"body.weight", "body.bias", "head.weight", "head.bias"});
  CHECK(trainer.gradients().size() == 4);
  CHECK(trainer.gradients().at("head.bias").size() == 5);
  CHECK_THROWS_AS(trainer.gradients().at("conv1.bias"), ls::value_error);
  CHECK_THROWS_WITH(trainer.gradients().at("conv1.bias"), Catch::Contains("frozen parameters have no gradients"));

  // They are written as any other.
  const std::vector<float> bias{1, 2, 3, 4};
  trainer.parameters().at("conv1.bias").assign(bias);
  step_on(trainer, drawn_batch<front>());
  CHECK(trainer.parameters().at("conv1.bias").values() == bias);
}

TEST_CASE("gradients, their norm and accumulation are those of what learns", "[data_parallel][frozen]") {
  const piece whole = drawn_batch<middle>();
  ls::data_parallel<middle, 2> trainer({.learning_rate = 0.1F}, {}, {.max_norm = 1e-3});
  ls::data_parallel<middle_plain, 2> plain({.learning_rate = 0.1F});
  step_on(trainer, whole);
  step_on(plain, whole);
  double squares = 0;
  for (const auto& each : trainer.gradients()) {
    const auto values = each.values();
    CHECK(relative_difference(values, plain.gradients().at(each.name()).values()) <= tolerance<float>);
    for (const float g : values) squares += double{g} * double{g};
  }
  CHECK(trainer.gradient_norm() == Approx(std::sqrt(squares)).epsilon(1e-6));

  const auto step_in_two = [&](auto& t) {
    const piece a = cut<middle>(whole, 0, 9);
    const piece b = cut<middle>(whole, 9, 5);
    t.accumulate(batch<middle>(a.x), a.targets, 14.0);
    t.step(batch<middle>(b.x), b.targets, 14.0);
  };
  ls::data_parallel<middle, 2> at_once, in_two;
  step_on(at_once, whole);
  step_in_two(in_two);
  check_close(all_values(in_two.gradients()), all_values(at_once.gradients()));
  check_close(all_values(in_two.parameters()), all_values(at_once.parameters()));
}

TEST_CASE("a NaN is found in the gradient of what learns", "[non_finite][frozen]") {
  auto spoilt = drawn_batch<body_learns>();
  spoilt.x[3] = std::numeric_limits<float>::quiet_NaN();
  ls::data_parallel<body_learns, 2> trainer({}, {}, {.non_finite = ls::non_finite::stop});
  try {
    step_on(trainer, spoilt);
    FAIL("no exception");
  } catch (const ls::non_finite_error& e) {
    CHECK(e.report().replica == 0);
    CHECK(e.report().parameter == "body.bias");  // "head" is nearer to the loss, and frozen
  }
}

TEST_CASE("buckets hold the gradients of what learns, and ranks train as one device", "[ranks][frozen]") {
  constexpr auto buckets = ls::plan_buckets<ls::bucket_bytes<4, 4>>(middle::plan<ls::cpu>, sizeof(float));
  STATIC_REQUIRE(buckets.count == 3);
  STATIC_REQUIRE(buckets.buckets[0].last == middle::trainable_count);
  STATIC_REQUIRE(buckets.buckets[1].last == buckets.buckets[0].first);
  STATIC_REQUIRE(buckets.buckets[2].last == buckets.buckets[1].first);
  STATIC_REQUIRE(buckets.buckets[2].first == 0);
  STATIC_REQUIRE(buckets.buckets[2].size() == 4 * 2 * 9 + 4);

  const piece whole = drawn_batch<middle>();
  const ls::sgd optimizer{.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 0.01F};
  ls::data_parallel<middle, 1> alone(optimizer);
  const auto start = all_values(alone.parameters());
  for (int i = 0; i < 3; ++i) step_on(alone, whole);
  const auto expected = all_values(alone.parameters());
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const piece own = cut<middle>(whole, rank.rank() == 0 ? 0 : 8, rank.rank() == 0 ? 8 : 6);
    ls::data_parallel<middle, 2, thread_rank, ls::bucket_bytes<4, 4>> trainer(optimizer, std::move(rank));
    for (int i = 0; i < 3; ++i) step_on(trainer, own);
    const auto given = all_values(trainer.parameters());
    expect_close(given, expected);
    expect(given[2] == start[2] && given[3] == start[3], "the frozen tensors are as they were");
  }));
}

TEST_CASE("ranks of which one has frozen layers refuse to work together", "[ranks][frozen]") {
  const auto messages = run_ranks(2, [&](thread_rank& rank) {
    if (rank.rank() == 0)
      ls::data_parallel<body_learns, 1, thread_rank> trainer({}, std::move(rank));
    else
      ls::data_parallel<body_plain, 1, thread_rank> trainer({}, std::move(rank));
  });
  CHECK(contains(messages[0], "329 parameters, 108 of them trainable"));
  CHECK(contains(messages[1], "329 parameters, 329 of them trainable"));
}

TEST_CASE("a model with frozen layers is saved and loaded under the same names", "[io][frozen]") {
  const temporary_folder folder;
  const std::string path = (folder.path() / "model.safetensors").string();
  ls::data_parallel<front, 2> saved({.learning_rate = 0.1F});
  saved.initialize(ls::seed{21});
  step_on(saved, drawn_batch<front>());
  ls::save_safetensors(saved, path);

  ls::data_parallel<front, 1> same;
  ls::load_safetensors(same, path);
  CHECK(all_values(same.parameters()) == all_values(saved.parameters()));
  // Fine-tuning: what was frozen, or was not, does not show in the file.
  ls::data_parallel<front_plain, 2> plain;
  ls::load_safetensors(plain, path);
  CHECK(all_values(plain.parameters()) == all_values(saved.parameters()));
  const piece p = drawn_batch<front>();
  CHECK(plain.evaluate(batch<front_plain>(p.x), p.targets).loss_sum ==
        saved.evaluate(batch<front>(p.x), p.targets).loss_sum);
}

TEST_CASE("a model that is frozen altogether still runs forward", "[data_parallel][frozen]") {
  ls::data_parallel<all, 2> trainer;
  ls::data_parallel<body_plain, 2> plain;
  const piece p = drawn_batch<all>();
  const auto given = trainer.forward(batch<all>(p.x));
  const auto expected = plain.forward(batch<body_plain>(p.x));
  CHECK(std::vector<float>(given.begin(), given.end()) == std::vector<float>(expected.begin(), expected.end()));
  CHECK(trainer.evaluate(batch<all>(p.x), p.targets).correct ==
        plain.evaluate(batch<body_plain>(p.x), p.targets).correct);
  CHECK(trainer.gradients().size() == 0);
  CHECK(trainer.parameters().size() == 6);
}
