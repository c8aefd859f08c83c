// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "parallel/parallel_support.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using dropout_net =
    ls::sequential<ls::linear<16>, ls::dropout<>, ls::relu, ls::linear<12>, ls::dropout<>, ls::linear<4>>;
using dropout_model = ls::model<dropout_net, ls::input<6>, ls::cross_entropy>;

using net = ls::sequential<ls::conv2d<3, 3>, ls::relu, ls::flatten, ls::linear<5>>;
using classifier = ls::model<net, ls::input<2, 5, 5>, ls::cross_entropy>;
using regression = ls::model<ls::sequential<ls::linear<3>>, ls::input<4>, ls::mean_squared_error>;

struct history {
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients, parameters;
};

template <int N>
history train_with_dropout(int steps, float learning_rate, ls::seed s) {
  ls::data_parallel<dropout_model, N, ls::reference<double>> trainer({.learning_rate = learning_rate});
  trainer.initialize(s);
  const auto x = draws<double>(1, 11 * 6);
  const auto targets = class_draws(2, 11, 4);
  history h;
  for (int i = 0; i < steps; ++i) h.losses.push_back(trainer.step(batch<dropout_model>(x), targets));
  h.gradients = all_values(trainer.gradients());
  h.parameters = all_values(trainer.parameters());
  return h;
}

/// Loss and hits from logits, by the definitions, in double.
template <class Logits>
ls::evaluation score(const Logits& y, const std::vector<std::int64_t>& targets, const std::vector<float>& weights,
                     std::int64_t ignored) {
  ls::evaluation all;
  for (std::int64_t s = 0; s < y.samples(); ++s) {
    const std::int64_t t = targets[static_cast<std::size_t>(s)];
    if (t == ignored) continue;
    double sum = 0;
    std::int64_t best = 0;
    for (std::int64_t c = 0; c < 5; ++c) {
      sum += std::exp(static_cast<double>(y(s, c)));
      if (y(s, c) > y(s, best)) best = c;
    }
    const double weight = weights.empty() ? 1.0 : double{weights[static_cast<std::size_t>(t)]};
    all.loss_sum += weight * (std::log(sum) - static_cast<double>(y(s, t)));
    all.denominator += weight;
    all.correct += best == t ? 1 : 0;
    ++all.counted;
  }
  return all;
}

template <class B, int N>
void check_outputs() {
  using value = typename B::value_type;
  for (const std::int64_t samples : {1, 2, 7, 300}) {
    INFO(samples << " samples, " << N << " replicas");
    const auto x = draws<value>(31, samples * 50);
    auto targets = class_draws(32, samples, 5);
    if (samples > 2) targets[1] = targets[6] = -100;
    const ls::cross_entropy loss{.class_weights = {1.F, 2.F, 0.5F, 1.5F, 1.F}};
    ls::data_parallel<classifier, N, B> trainer({}, loss);
    trainer.initialize(ls::seed{9});

    const auto y = trainer.forward(batch<classifier>(x));
    REQUIRE(y.samples() == samples);
    // One sample at a time on one device: row i of the outputs belongs to sample i.
    ls::aligned_buffer<value> parameters(classifier::parameter_count);
    ls::initialize_parameters<classifier, B>(parameters.data(), ls::seed{9});
    ls::executor<classifier, B> device;
    std::vector<value> alone(static_cast<std::size_t>(samples) * 5);
    for (std::int64_t s = 0; s < samples; ++s)
      device.forward(parameters.data(), x.data() + s * 50, 1, alone.data() + s * 5);
    CHECK(relative_difference(std::vector<value>(y.begin(), y.end()), alone) <= tolerance<value>);

    typename ls::data_parallel<classifier, N, B>::output_tensor given(samples);
    trainer.forward(batch<classifier>(x), given.view());
    CHECK(std::equal(y.begin(), y.end(), given.begin()));

    const ls::evaluation result = trainer.evaluate(batch<classifier>(x), targets);
    const ls::evaluation expected = score(y, targets, loss.class_weights, -100);
    const double loss_tolerance = sizeof(value) == sizeof(double) ? 1e-12 : 1e-5;
    CHECK(is_close(result.loss(), expected.loss(), {.relative = loss_tolerance}));
    CHECK(result.denominator == Approx(expected.denominator).epsilon(1e-12));
    CHECK(result.correct == expected.correct);
    CHECK(result.counted == expected.counted);
    CHECK(result.accuracy() == static_cast<double>(expected.correct) / static_cast<double>(expected.counted));
    // The loss of a step is that of the same batch before the update.
    CHECK(trainer.step(batch<classifier>(x), targets) == Approx(result.loss()).epsilon(loss_tolerance));
  }
}

}  // namespace

TEST_CASE("dropout drops the same elements for any number of replicas", "[data_parallel]") {
  const auto one = train_with_dropout<1>(3, 0.1F, ls::seed{3});
  const auto check = [&]<int N> {
    INFO(N << " replicas");
    const auto many = train_with_dropout<N>(3, 0.1F, ls::seed{3});
    for (std::size_t i = 0; i < one.losses.size(); ++i)
      CHECK(is_close(many.losses[i], one.losses[i], {.relative = 1e-12}));
    check_close(many.gradients, one.gradients);
    check_close(many.parameters, one.parameters);
  };
  check.operator()<2>();
  check.operator()<3>();
  check.operator()<4>();
  check.operator()<8>();
}

TEST_CASE("dropout draws anew in each step and with each seed, and not in an evaluation", "[data_parallel]") {
  const auto still = train_with_dropout<2>(3, 0.F, ls::seed{3});
  CHECK(still.losses[0] != still.losses[1]);
  CHECK(still.losses[1] != still.losses[2]);
  CHECK(still.losses[0] != train_with_dropout<2>(1, 0.F, ls::seed{4}).losses[0]);

  ls::data_parallel<dropout_model, 2, ls::reference<double>> trainer;
  const auto x = draws<double>(1, 11 * 6);
  const auto targets = class_draws(2, 11, 4);
  const auto first = trainer.evaluate(batch<dropout_model>(x), targets);
  CHECK(first.loss() == trainer.evaluate(batch<dropout_model>(x), targets).loss());
  CHECK(first.loss() != trainer.step(batch<dropout_model>(x), targets));
}

TEST_CASE("forward gathers in order, evaluate agrees with it", "[data_parallel]") {
  check_outputs<ls::reference<double>, 3>();
  check_outputs<ls::cpu, 1>();
  check_outputs<ls::cpu, 4>();
}

TEST_CASE("evaluations of several batches add up", "[data_parallel]") {
  ls::data_parallel<classifier, 2, ls::reference<double>> trainer;
  const auto x = draws<double>(41, 9 * 50);
  const auto targets = class_draws(42, 9, 5);
  const std::vector<double> front(x.begin(), x.begin() + 4 * 50);
  const std::vector<double> back(x.begin() + 4 * 50, x.end());
  auto sum = trainer.evaluate(batch<classifier>(front), std::span(targets).first(4));
  sum += trainer.evaluate(batch<classifier>(back), std::span(targets).last(5));
  const auto whole = trainer.evaluate(batch<classifier>(x), targets);
  CHECK(sum.loss() == Approx(whole.loss()).epsilon(1e-12));
  CHECK(sum.accuracy() == whole.accuracy());
  CHECK(sum.counted == 9);
}

TEST_CASE("a batch that does not fit is refused before anything changes", "[data_parallel]") {
  ls::data_parallel<classifier, 2> trainer({.learning_rate = 0.1F, .momentum = 0.9F});
  const auto x = draws<float>(51, 4 * 50);
  auto targets = class_draws(52, 4, 5);
  static_cast<void>(trainer.step(batch<classifier>(x), targets));
  const auto before = all_values(trainer.parameters());
  const auto step = [&](std::span<const std::int64_t> t) { return trainer.step(batch<classifier>(x), t); };

  targets[3] = 5;
  CHECK_THROWS_AS(step(targets), ls::value_error);
  CHECK_THROWS_WITH(step(targets), Catch::Contains("0..4") && Catch::Contains("got 5 for sample 3"));
  CHECK_THROWS_AS(trainer.evaluate(batch<classifier>(x), targets), ls::value_error);
  targets[3] = -1;
  CHECK_THROWS_AS(step(targets), ls::value_error);
  targets[3] = 0;

  CHECK_THROWS_AS(step(std::span(targets).first(3)), ls::shape_error);
  CHECK_THROWS_WITH(step(std::span(targets).first(3)),
                    Catch::Contains("4 targets for 4 samples") && Catch::Contains("got 3"));
  CHECK_THROWS_AS(step({}), ls::shape_error);
  const std::vector<float> nothing;
  CHECK_THROWS_AS(trainer.step(batch<classifier>(nothing), {}), ls::shape_error);
  CHECK_THROWS_AS(trainer.evaluate(batch<classifier>(nothing), {}), ls::shape_error);
  decltype(trainer)::output_tensor rows(3);
  CHECK_THROWS_AS(trainer.forward(batch<classifier>(x), rows.view()), ls::shape_error);
  CHECK(trainer.forward(batch<classifier>(nothing)).samples() == 0);

  CHECK(trainer.steps() == 1);
  CHECK(all_values(trainer.parameters()) == before);

  ls::data_parallel<regression, 3> regressor;
  const auto values = draws<float>(53, 5 * 4);
  const auto wanted = draws<float>(54, 5 * 3);
  CHECK_THROWS_WITH(regressor.step(batch<regression>(values), std::span(wanted).first(5)),
                    Catch::Contains("15 targets for 5 samples"));
  CHECK(std::isfinite(regressor.step(batch<regression>(values), wanted)));
}

TEST_CASE("options out of their domain are refused", "[data_parallel]") {
  using trainer = ls::data_parallel<classifier, 2>;
  CHECK_THROWS_AS(trainer({}, {}, {.threads_per_replica = 0}), ls::value_error);
  CHECK_THROWS_AS(trainer({.learning_rate = -1.F}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {.class_weights = {1.F, 2.F}}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {.label_smoothing = 1.5F}), ls::value_error);
}

TEST_CASE("options set between steps count from the next step on", "[data_parallel]") {
  const auto x = draws<double>(55, 8 * 50);
  const auto targets = class_draws(56, 8, 5);
  ls::data_parallel<classifier, 2, ls::reference<double>> trainer({.learning_rate = 0.1F});
  const auto step = [&] { static_cast<void>(trainer.step(batch<classifier>(x), targets)); };
  step();
  trainer.optimizer() = {.learning_rate = 0.05F, .momentum = 0.5F, .dampening = 0.25F};
  // As torch.optim.SGD does it: the velocity begins as the gradient of the first step that has a momentum, undamped.
  auto expected = all_values(trainer.parameters());
  std::vector<std::vector<double>> velocity;
  for (int k = 0; k < 3; ++k) {
    step();
    const auto gradients = all_values(trainer.gradients());
    if (k == 0) velocity = gradients;
    for (std::size_t p = 0; p < expected.size(); ++p)
      for (std::size_t i = 0; i < expected[p].size(); ++i) {
        if (k > 0) velocity[p][i] = 0.5 * velocity[p][i] + 0.75 * gradients[p][i];
        expected[p][i] -= double{0.05F} * velocity[p][i];
      }
    check_close(all_values(trainer.parameters()), expected);
  }
  trainer.optimizer().momentum = -1.F;
  CHECK_THROWS_AS(trainer.step(batch<classifier>(x), targets), ls::value_error);
  CHECK(trainer.steps() == 4);
}

TEST_CASE("initialize starts over: parameters, optimizer state and steps", "[data_parallel]") {
  ls::data_parallel<classifier, 2> trainer({.learning_rate = 0.1F, .momentum = 0.9F});
  const auto x = draws<float>(61, 8 * 50);
  const auto targets = class_draws(62, 8, 5);
  const auto train = [&] {
    trainer.initialize(ls::seed{21});
    std::vector<double> losses;
    for (int i = 0; i < 3; ++i) losses.push_back(trainer.step(batch<classifier>(x), targets));
    return losses;
  };
  const auto fresh = all_values(ls::data_parallel<classifier, 5>().parameters());
  CHECK(all_values(trainer.parameters()) == fresh);  // seed 0, whatever the number of replicas
  const auto first = train();
  CHECK(trainer.steps() == 3);
  CHECK(train() == first);
  CHECK(first[0] > first[2]);
  trainer.initialize(ls::seed{0});
  CHECK(trainer.steps() == 0);
  CHECK(all_values(trainer.parameters()) == fresh);
}

TEST_CASE("initialize forgets when a momentum was switched on", "[data_parallel]") {
  // The first velocity is not damped, whichever step it comes in.
  constexpr ls::sgd plain{.learning_rate = 0.1F};
  constexpr ls::sgd damped{.learning_rate = 0.05F, .momentum = 0.5F, .dampening = 0.25F};
  const auto x = draws<float>(63, 8 * 50);
  const auto targets = class_draws(64, 8, 5);
  const auto train = [&](auto& trainer, const ls::sgd& optimizer, int steps) {
    trainer.optimizer() = optimizer;
    for (int i = 0; i < steps; ++i) static_cast<void>(trainer.step(batch<classifier>(x), targets));
  };
  ls::data_parallel<classifier, 2> used(plain);
  train(used, plain, 3);
  train(used, damped, 2);
  used.initialize(ls::seed{21});
  ls::data_parallel<classifier, 2> fresh(plain);
  fresh.initialize(ls::seed{21});

  // Switched on late once more: never, sooner and later than before.
  const int steps_without = GENERATE(0, 1, 4);
  CAPTURE(steps_without);
  for (auto* each : {&used, &fresh}) {
    train(*each, plain, steps_without);
    train(*each, damped, 3);
  }
  CHECK(all_values(used.parameters()) == all_values(fresh.parameters()));
}

TEST_CASE("policies may stand in any order", "[data_parallel]") {
  using a = ls::data_parallel<regression, 2, ls::sgd, ls::reference<double>>;
  using b = ls::data_parallel<regression, 2, ls::reference<double>, ls::sgd>;
  static_assert(std::is_same_v<a::backend_type, b::backend_type> && std::is_same_v<a::value_type, double>);
  static_assert(std::is_same_v<ls::data_parallel<regression, 2>::backend_type, ls::cpu>);
  static_assert(std::is_same_v<ls::data_parallel<regression, 2>::optimizer_type, ls::sgd>);
  CHECK(all_values(a().parameters()) == all_values(b().parameters()));
}

TEST_CASE("a model without a loss runs forward on replicas", "[data_parallel]") {
  using plain = ls::model<ls::sequential<ls::linear<3>>, ls::input<4>>;
  ls::data_parallel<plain, 2> replicas;
  const auto x = draws<float>(71, 5 * 4);
  const auto y = replicas.forward(batch<plain>(x));
  ls::data_parallel<regression, 1> same;
  const auto expected = same.forward(batch<regression>(x));
  CHECK(relative_difference(std::vector<float>(y.begin(), y.end()),
                            std::vector<float>(expected.begin(), expected.end())) <= 1e-6);
}
