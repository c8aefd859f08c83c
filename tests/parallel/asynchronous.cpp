// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "parallel/reproducible.hpp"
#include "support/fuse.hpp"
#include "support/queued_backend.hpp"
#include "support/user_layer.hpp"

// What schedules replicas, on a backend whose work is done later, in memory that the host cannot read: it has to end
// with the very bits of the CPU backend.

namespace {

using namespace lockstep_test;

using net =
    ls::sequential<ls::named<"conv1", ls::conv2d<4, 3, ls::padding<1>>>, ls::relu, ls::max_pool2d<2>, ls::flatten,
                   ls::dropout<0.25>, ls::named<"fc1", ls::linear<20>>, ls::relu, ls::named<"fc2", ls::linear<5>>>;
using classifier = ls::model<net, ls::input<2, 6, 6>, ls::cross_entropy>;
using regression =
    ls::model<ls::sequential<ls::linear<8>, ls::relu, ls::frozen<ls::linear<3>>>, ls::input<4>, ls::mean_squared_error>;

constexpr ls::sgd with_momentum{.learning_rate = 0.1F, .momentum = 0.9F, .weight_decay = 0.01F};

/// Sizes that come again, so that work is replayed, and a larger one in between, for which buffers move.
constexpr std::array<std::int64_t, 11> sizes{12, 7, 12, 12, 7, 7, 12, 24, 12, 12, 24};

/// Steps and accumulations in turn, with targets of which some are ignored.
template <int N, class... Policies>
trained_bits train_mixed(const ls::trainer_options& options, const ls::sgd& optimizer) {
  const ls::cross_entropy loss{
      .class_weights = {1.F, 2.F, 0.5F, 1.5F, 1.F}, .label_smoothing = 0.1F, .ignore_index = 3};
  ls::data_parallel<classifier, N, Policies...> trainer(optimizer, loss, options);
  trainer.initialize(ls::seed{11});
  trained_bits bits;
  std::uint32_t stream = 400;
  for (std::size_t i = 0; i < 3 * sizes.size(); ++i) {
    const std::int64_t samples = sizes[i % sizes.size()];
    const auto x = draws<float>(stream++, samples * classifier::input_dims.size());
    const auto targets = class_draws(stream++, samples, 5);
    // What changes between steps has to reach work that is replayed.
    trainer.optimizer().learning_rate = 0.1F / static_cast<float>(1 + i % 4);
    bits.losses.push_back(i % 5 == 2 ? trainer.accumulate(batch<classifier>(x), targets)
                                     : trainer.step(batch<classifier>(x), targets));
    bits.norms.push_back(std::isnan(trainer.gradient_norm()) ? -1 : trainer.gradient_norm());
    bits.gradients = all_values(trainer.gradients());
  }
  bits.parameters = all_values(trainer.parameters());
  return bits;
}

template <int N, class... Policies>
void check_mixed() {
  const ls::trainer_options plain;
  const ls::trainer_options guarded{.max_norm = 0.5, .non_finite = ls::non_finite::skip};
  for (const auto& options : {plain, guarded})
    for (const auto& optimizer : {ls::sgd{.learning_rate = 0.1F}, with_momentum}) {
      const auto expected = train_mixed<N, Policies...>(options, optimizer);
      REQUIRE(std::isfinite(expected.losses.back()));
      const int before = queued_detail::replays;
      check_same_bits(train_mixed<N, queued, Policies...>(options, optimizer), expected);
      CHECK(queued_detail::replays > before);
    }
}

}  // namespace

TEMPLATE_TEST_CASE_SIG("replicas of an asynchronous backend train to the bits of the CPU's", "[asynchronous]",
                       ((int N), N), 1, 2, 4) {
  check_mixed<N>();
}

TEMPLATE_TEST_CASE_SIG("reproducible training on an asynchronous backend has the bits of the CPU's", "[asynchronous]",
                       ((int N), N), 1, 2) {
  check_same_bits(train_reproducibly<classifier, N, queued, ls::micro_shards<4>>(with_momentum, 0.5, sizes),
                  train_reproducibly<classifier, N, ls::micro_shards<4>>(with_momentum, 0.5, sizes));
}

TEST_CASE("replicas on devices of their own train to the bits of those on one", "[asynchronous]") {
  for (ls::trainer_options options : {ls::trainer_options{}, {.max_norm = 0.5, .non_finite = ls::non_finite::skip}}) {
    const auto expected = train_mixed<2>(options, with_momentum);
    options.devices = {3, 5};
    const int before = queued_detail::replays;
    // What has been accumulated is added up at home first: another order.
    const auto given = train_mixed<2, queued>(options, with_momentum);
    for (std::size_t p = 0; p < expected.parameters.size(); ++p)
      CHECK(relative_difference(given.parameters[p], expected.parameters[p]) <= tolerance<float>);
    CHECK(given.losses.back() == Approx(expected.losses.back()).epsilon(1e-5));
    CHECK(queued_detail::replays > before);

    options.devices = {};
    const auto reproducible = train_mixed<1, ls::reduce::reproducible>(options, with_momentum);
    options.devices = {0, 1, 2, 3};
    check_same_bits(train_mixed<4, queued, ls::reduce::reproducible>(options, with_momentum), reproducible);
  }
  const auto one = train_reproducibly<classifier, 1, ls::micro_shards<4>>(with_momentum, 0.5, sizes);
  check_same_bits(train_reproducibly<classifier, 2, queued, ls::micro_shards<4>>(with_momentum, 0.5, sizes, {0, 1}),
                  one);
  check_same_bits(
      train_reproducibly<classifier, 4, queued, ls::micro_shards<4>>(with_momentum, 0.5, sizes, {0, 1, 2, 3}), one);
}

TEST_CASE("replicas that share each of several devices train to the bits of those on one", "[asynchronous]") {
  for (ls::trainer_options options : {ls::trainer_options{}, {.max_norm = 0.5, .non_finite = ls::non_finite::skip}}) {
    const auto expected = train_mixed<4>(options, with_momentum);
    options.devices = {0, 0, 1, 1};
    const int before = queued_detail::replays;
    // Sums of pairs and then of two homes are the tree of four.
    check_same_bits(train_mixed<4, queued>(options, with_momentum), expected);
    CHECK(queued_detail::replays > before);

    options.devices = {};
    const auto of_six = train_mixed<6>(options, with_momentum);
    for (const std::vector<int>& devices : {std::vector{2, 2, 2, 0, 0, 0}, std::vector{0, 0, 1, 1, 2, 2}}) {
      options.devices = devices;
      const auto given = train_mixed<6, queued>(options, with_momentum);
      for (std::size_t p = 0; p < of_six.parameters.size(); ++p)
        CHECK(relative_difference(given.parameters[p], of_six.parameters[p]) <= tolerance<float>);
      CHECK(given.losses.back() == Approx(of_six.losses.back()).epsilon(1e-5));
    }

    options.devices = {};
    const auto reproducible = train_mixed<1, ls::reduce::reproducible>(options, with_momentum);
    options.devices = {0, 0, 1, 1};
    check_same_bits(train_mixed<4, queued, ls::reduce::reproducible>(options, with_momentum), reproducible);
    for (const std::vector<int>& devices : {std::vector{0, 0, 0, 0, 1, 1, 1, 1}, std::vector{0, 0, 1, 1, 2, 2, 3, 3}}) {
      options.devices = devices;
      check_same_bits(train_mixed<8, queued, ls::reduce::reproducible>(options, with_momentum), reproducible);
    }
  }
}

TEST_CASE("a replica that fails beside others on several devices leaves them all of use", "[asynchronous]") {
  using model = ls::model<ls::sequential<ls::linear<4>, fuse, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
  ls::data_parallel<model, 4, queued> given({}, {}, {.devices = {0, 0, 1, 1}});
  ls::data_parallel<model, 4> expected;
  const auto x = draws<float>(1, 8 * 3);
  const auto t = draws<float>(2, 8 * 2);
  for (int i = 0; i < 3; ++i) CHECK(given.step(batch<model>(x), t) == expected.step(batch<model>(x), t));
  const std::vector<float> less_x(x.begin(), x.begin() + 4 * 3), less_t(t.begin(), t.begin() + 4 * 2);
  fuse::calls_left = 2;  // in a step that is not replayed
  CHECK_THROWS_AS(given.step(batch<model>(less_x), less_t), ls::replica_error);
  fuse::calls_left = 1 << 30;
  for (int i = 0; i < 3; ++i) CHECK(given.step(batch<model>(x), t) == expected.step(batch<model>(x), t));
  CHECK(same_bits(all_values(given.parameters()), all_values(expected.parameters())));
}

TEST_CASE("a NaN beside others on several devices is told, with its replica where it can be known", "[asynchronous]") {
  const auto x = draws<float>(3, 8 * 4);
  const auto t = draws<float>(4, 8 * 3);
  const auto report_of = [&](std::size_t sample) {
    ls::data_parallel<regression, 4, queued> trainer({}, {},
                                                     {.devices = {0, 0, 1, 1}, .non_finite = ls::non_finite::stop});
    auto broken = t;
    broken[sample * 3] = std::numeric_limits<float>::infinity();
    try {
      trainer.step(batch<regression>(x), broken);
    } catch (const ls::non_finite_error& e) {
      return e.report();
    }
    FAIL("a step with infinite gradients went through");
    return ls::non_finite_report{};
  };
  CHECK(report_of(7).replica == 3);
  CHECK(report_of(2).replica == 1);
  CHECK(report_of(4).replica == -1);  // of a replica that has taken over the sums of others
  CHECK(report_of(4).parameter == "0.bias");
}

TEST_CASE("parameters that are assigned reach every device", "[asynchronous]") {
  const auto check = [](auto& given, auto& expected) {
    for (auto&& each : expected.parameters()) {
      const auto values = draws<float>(900, each.size());
      each.assign(values);
      given.parameters().at(each.name()).assign(values);
    }
    const auto x = draws<float>(1, 9 * classifier::input_dims.size());
    const auto targets = class_draws(2, 9, 5);
    const auto a = given.forward(batch<classifier>(x));
    const auto b = expected.forward(batch<classifier>(x));
    CHECK(same_bits(std::vector<float>(a.begin(), a.end()), std::vector<float>(b.begin(), b.end())));
    CHECK(given.step(batch<classifier>(x), targets) == expected.step(batch<classifier>(x), targets));
    CHECK(same_bits(all_values(given.parameters()), all_values(expected.parameters())));
  };
  ls::data_parallel<classifier, 2, queued> apart(with_momentum, {}, {.devices = {0, 1}});
  ls::data_parallel<classifier, 2> two(with_momentum);
  check(apart, two);
  ls::data_parallel<classifier, 4, queued> sharing(with_momentum, {}, {.devices = {0, 0, 1, 1}});
  ls::data_parallel<classifier, 4> four(with_momentum);
  check(sharing, four);
}

TEST_CASE("a placement that makes no sense is refused", "[asynchronous]") {
  using trainer = ls::data_parallel<regression, 3, queued>;
  CHECK_THROWS_AS(trainer({}, {}, {.devices = {0, 1}}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {}, {.devices = {0, 1, 0}}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {}, {.devices = {0, -1, 2}}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {}, {.devices = {0, 0, 1}}), ls::value_error);
  using four = ls::data_parallel<regression, 4, queued>;
  CHECK_THROWS_AS(four({}, {}, {.devices = {0, 0, 0, 1}}), ls::value_error);
  CHECK_THROWS_AS(four({}, {}, {.devices = {0, 1, 0, 1}}), ls::value_error);
  CHECK_THROWS_AS(four({}, {}, {.devices = {0, 0, 1, 2}}), ls::value_error);
  CHECK_THROWS_WITH(four({}, {}, {.devices = {0, 1, 1, 0}}), Catch::Contains("0, 0, 1, 1"));
  CHECK_THROWS_AS((ls::data_parallel<regression, 2>({}, {}, {.devices = {0, 1}})), ls::value_error);
}

TEST_CASE("a replica that fails on a device of its own leaves none waiting", "[asynchronous]") {
  using model = ls::model<ls::sequential<ls::linear<4>, fuse, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
  const auto x = draws<float>(1, 8 * 3);
  const auto t = draws<float>(2, 8 * 2);
  const std::vector<float> less_x(x.begin(), x.begin() + 4 * 3), less_t(t.begin(), t.begin() + 4 * 2);
  {
    ls::data_parallel<model, 4, queued> trainer({}, {}, {.devices = {0, 1, 2, 3}});
    // One of the four fails in the first step, or in the first of its size when others are recorded.
    const int steps = GENERATE(0, 4);
    for (int i = 0; i < steps; ++i) trainer.step(batch<model>(less_x), less_t);
    fuse::calls_left = 2;
    try {
      trainer.step(batch<model>(x), t);
      FAIL("the step went through");
    } catch (const ls::replica_error& e) {
      CHECK(std::string(e.what()).find("blown") != std::string::npos);
    }
    // The devices no longer reach each other; that is said, and nothing waits.
    fuse::calls_left = 1 << 30;
    CHECK_THROWS_AS(trainer.step(batch<model>(x), t), ls::replica_error);
    CHECK_THROWS_AS(trainer.step(batch<model>(less_x), less_t), ls::replica_error);
    CHECK_NOTHROW(trainer.forward(batch<model>(x)));
  }
  CHECK(queued_detail::held_collectives == 0);
}

namespace {

/// Hands on what arrives; the device of one replica takes its time over it when it is told to.
struct slow : same_extents {
  static inline std::atomic<int> calls_left{1 << 30};

  static constexpr std::string_view kind = "slow";
  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(context& c, const ls::pass&, const value* x, const value*, value* y) {
      B::copy(c, count_, x, y);
      if (calls_left.fetch_sub(1) == 1) c.submit([] { std::this_thread::sleep_for(std::chrono::seconds(1)); });
    }
    void backward(context& c, const ls::pass&, const ls::backward_arguments<B>& a) {
      if constexpr (T.input_gradient) B::copy(c, count_, static_cast<const value*>(a.dy), a.dx);
    }

   private:
    std::int64_t count_;
  };
};

}  // namespace

TEST_CASE("replicas on devices of their own give up a step that takes too long", "[asynchronous]") {
  using model = ls::model<ls::sequential<ls::linear<4>, slow, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
  std::atomic<int> told{0};
  ls::data_parallel<model, 2, queued> trainer(
      {}, {}, {.devices = {0, 1}, .time_limit = 0.2, .on_stall = [&](const ls::stall_report&) { ++told; }});
  const auto x = draws<float>(1, 8 * 3);
  const auto t = draws<float>(2, 8 * 2);
  trainer.step(batch<model>(x), t);
  CHECK(told == 0);
  slow::calls_left = 1;
  // A new number of samples, so that it is not what was recorded that runs.
  const std::vector<float> less_x(x.begin(), x.begin() + 4 * 3), less_t(t.begin(), t.begin() + 4 * 2);
  CHECK_THROWS_WITH(trainer.step(batch<model>(less_x), less_t), Catch::Contains("a step within its time_limit"));
  CHECK(told == 1);
  // The update, behind the sums that were given up, has run all the same.
  CHECK_THROWS_WITH(trainer.step(batch<model>(x), t), Catch::Contains("an update in which a replica failed"));
  trainer.initialize(ls::seed{0});
  CHECK_THROWS_AS(trainer.step(batch<model>(x), t), ls::backend_error);
}

TEST_CASE("parameters of an asynchronous backend are read and written in PyTorch's order", "[asynchronous]") {
  ls::data_parallel<classifier, 2, queued> given(with_momentum);
  ls::data_parallel<classifier, 2> expected(with_momentum);
  for (auto&& each : expected.parameters()) {
    const auto values = draws<float>(900, each.size());
    each.assign(values);
    given.parameters().at(each.name()).assign(values);
    CHECK(given.parameters().at(each.name()).values() == values);
  }
  const auto x = draws<float>(1, 9 * classifier::input_dims.size());
  const auto targets = class_draws(2, 9, 5);
  CHECK(given.step(batch<classifier>(x), targets) == expected.step(batch<classifier>(x), targets));
  const auto a = given.forward(batch<classifier>(x));
  const auto b = expected.forward(batch<classifier>(x));
  CHECK(same_bits(std::vector<float>(a.begin(), a.end()), std::vector<float>(b.begin(), b.end())));
  const auto e = given.evaluate(batch<classifier>(x), targets);
  const auto f = expected.evaluate(batch<classifier>(x), targets);
  CHECK(e.loss_sum == f.loss_sum);
  CHECK(e.correct == f.correct);
}

TEST_CASE("frozen layers, few samples and a regression on an asynchronous backend", "[asynchronous]") {
  ls::data_parallel<regression, 4, queued> given(with_momentum);
  ls::data_parallel<regression, 4> expected(with_momentum);
  for (const std::int64_t samples : {2, 9, 2, 2, 1, 1, 9, 9}) {
    const auto x = draws<float>(3, samples * 4);
    const auto t = draws<float>(4, samples * 3);
    CHECK(given.step(batch<regression>(x), t) == expected.step(batch<regression>(x), t));
  }
  CHECK(same_bits(all_values(given.parameters()), all_values(expected.parameters())));
}

TEST_CASE("a step whose gradients are not finite is skipped where its work is done", "[asynchronous]") {
  ls::data_parallel<regression, 2, queued> trainer(with_momentum, {}, {.non_finite = ls::non_finite::skip});
  std::vector<ls::non_finite_report> reports;
  const auto x = draws<float>(3, 6 * 4);
  const auto t = draws<float>(4, 6 * 3);
  for (int i = 0; i < 3; ++i) trainer.step(batch<regression>(x), t);
  const auto before = all_values(trainer.parameters());
  auto broken = t;
  broken.back() = std::numeric_limits<float>::infinity();
  trainer.step(batch<regression>(x), broken);
  CHECK(same_bits(all_values(trainer.parameters()), before));
  CHECK(trainer.steps() == 3);
  CHECK_FALSE(std::isfinite(trainer.gradient_norm()));
  trainer.step(batch<regression>(x), t);
  CHECK(trainer.steps() == 4);
  CHECK_FALSE(same_bits(all_values(trainer.parameters()), before));

  ls::data_parallel<regression, 2, queued> stopping({}, {}, {.non_finite = ls::non_finite::stop});
  try {
    stopping.step(batch<regression>(x), broken);
    FAIL("a step with infinite gradients went through");
  } catch (const ls::non_finite_error& e) {
    CHECK(e.report().replica == 1);
    CHECK(e.report().parameter == "0.bias");
  }
}

TEST_CASE("a recorded timeline of an asynchronous backend holds every layer", "[asynchronous]") {
  ls::data_parallel<classifier, 2, queued> trainer;
  ls::timeline spans(2, 1000);
  const auto x = draws<float>(1, 8 * classifier::input_dims.size());
  const auto targets = class_draws(2, 8, 5);
  for (int i = 0; i < 3; ++i) trainer.step(batch<classifier>(x), targets);
  trainer.record(&spans);
  trainer.step(batch<classifier>(x), targets);
  trainer.record(nullptr);
  for (int r = 0; r < 2; ++r) {
    int forward = 0;
    for (const auto& span : spans.events(r)) forward += span.what == ls::activity::forward ? 1 : 0;
    CHECK(forward >= 6);
  }
}
