// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/loss.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "parallel/one_device.hpp"
#include "support/queued_backend.hpp"

// A step of N replicas is the step of one device, whatever the loss: of 5 samples shards have different sizes, of 2
// some are empty.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// A user's loss.
struct fourth_power {
  template <class T>
  static constexpr T value(T y, T t) {
    return (y - t) * (y - t) * (y - t) * (y - t);
  }
  template <class T>
  static constexpr T gradient(T y, T t) {
    return 4 * (y - t) * (y - t) * (y - t);
  }
};

using bce = ls::binary_cross_entropy_with_logits;
using nll = ls::negative_log_likelihood;

using rows = ls::sequential<ls::linear<4>>;
using pictures = ls::sequential<ls::conv2d<2, 2>>;
template <class Loss>
using row_model = ls::model<rows, ls::input<3>, Loss>;
template <class Loss>
using picture_model = ls::model<pictures, ls::input<2, 4, 4>, Loss>;

/// Batches of 5 and of 2 samples.
template <class Model, class B, int... Counts>
void check_steps(const typename Model::loss_type& loss, double denominator_of_a_sample) {
  using value = typename B::value_type;
  std::uint64_t stream = 500;
  for (const std::int64_t samples : {5, 2}) {
    const auto x = draws<value>(stream++, samples * Model::input_dims.size());
    auto targets = draws<value>(stream++, samples * Model::output_dims.size());
    for (value& t : targets) t = std::abs(t);
    const auto expected = [&] {
      // The queued backend computes what the CPU's does.
      using one = std::conditional_t<B::host_memory, B, ls::cpu>;
      return step_on_one_device<Model, one>(loss, x, targets, static_cast<double>(samples) * denominator_of_a_sample);
    }();
    const auto check = [&]<int N> {
      INFO(Model::loss_type::kind << " on " << B::name << ", " << samples << " samples, " << N << " replicas");
      check_same_step(step_on_replicas<Model, B, N>(loss, x, targets), expected);
    };
    (check.template operator()<Counts>(), ...);
  }
}

template <class B, int... Counts>
void check_likelihood() {
  using value = typename B::value_type;
  using one = std::conditional_t<B::host_memory, B, ls::cpu>;
  const nll weighted{.class_weights = {0.5F, 2.F, 1.F, 0.25F}, .ignore_index = -1};
  std::uint64_t stream = 600;
  // Some ignored, all of the first shards ignored, none, all.
  for (const std::vector<std::int64_t>& targets :
       {std::vector<std::int64_t>{1, -1, 3, 0, -1}, {-1, -1, -1, 2, 1}, {0, 3}, {-1, -1, -1, -1, -1}}) {
    const auto samples = static_cast<std::int64_t>(targets.size());
    const auto x = draws<value>(stream++, samples * 3);
    double denominator = 0;
    for (const std::int64_t t : targets)
      if (t >= 0) denominator += double{weighted.class_weights[static_cast<std::size_t>(t)]};
    const auto expected = step_on_one_device<row_model<nll>, one>(weighted, x, targets, denominator);
    const auto check = [&]<int N> {
      INFO("likelihood on " << B::name << ", " << samples << " samples, " << N << " replicas");
      const auto given = step_on_replicas<row_model<nll>, B, N>(weighted, x, targets);
      check_same_step(given, expected);
      CHECK(std::isnan(given.loss) == (denominator == 0));
    };
    (check.template operator()<Counts>(), ...);
  }
}

const bce weights_of_rows{.pos_weight = {0.5F, 3.F, 0.F, 1.F}};
const bce weights_of_pictures{.pos_weight = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0.5F, 0.25F, 0, 1, 2, 3, 4, 5, 6}};

}  // namespace

TEST_CASE("losses: a step of N replicas is the step of one device, in double precision", "[loss]") {
  using exact = ls::reference<double>;
  check_steps<picture_model<bce>, exact, 1, 3, 4>(weights_of_pictures, 18);
  check_steps<row_model<ls::kullback_leibler>, exact, 2, 4>({}, 1);
  check_likelihood<exact, 3, 4>();
}

TEST_CASE("losses: a step of N replicas is the step of one device, on the CPU", "[loss]") {
  check_steps<row_model<bce>, ls::cpu, 1, 2, 3, 4>(weights_of_rows, 4);
  check_steps<picture_model<bce>, ls::cpu, 2, 4>(weights_of_pictures, 18);
  check_steps<row_model<ls::kullback_leibler>, ls::cpu, 1, 2, 3, 4>({}, 1);
  check_steps<row_model<ls::l1>, ls::cpu, 3>({}, 4);
  check_steps<row_model<ls::smooth_l1>, ls::cpu, 3>({.beta = 0.25}, 4);
  check_steps<row_model<ls::huber>, ls::cpu, 3>({.delta = 0.25}, 4);
  check_steps<row_model<ls::element_loss<fourth_power>>, ls::cpu, 1, 4>({}, 4);
  check_likelihood<ls::cpu, 1, 2, 3, 4>();
}

TEST_CASE("losses: a step of N replicas is the step of one device, on a backend that works later", "[loss]") {
  check_steps<row_model<bce>, queued, 2>(weights_of_rows, 4);
  check_likelihood<queued, 3>();
}

TEST_CASE("losses: evaluate counts what is right", "[loss]") {
  using model = row_model<bce>;
  ls::data_parallel<model, 2> trainer;
  for (const auto& parameter : trainer.parameters()) {
    std::vector<float> values(static_cast<std::size_t>(parameter.size()), 0.F);
    // The first three outputs are the inputs, the last is -1.
    if (parameter.name().ends_with("weight"))
      for (const std::size_t i : {0U, 1U, 2U}) values[i * 3 + i] = 1;
    else
      values.back() = -1;
    parameter.assign(values);
  }
  const std::vector<float> x{1, 1, 1, -1, 2, -1, 3, -3, 3};
  const std::vector<float> right{1, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0};
  const auto all = trainer.evaluate(batch<model>(x), right);
  CHECK(all.correct == 3);
  CHECK(all.counted == 3);
  auto wrong = right;
  wrong[5] = 0.25F;
  CHECK(trainer.evaluate(batch<model>(x), wrong).correct == 2);

  // A loss that says nothing of hits has none.
  ls::data_parallel<row_model<ls::element_loss<fourth_power>>, 2> other;
  const auto none = other.evaluate(batch<model>(x), right);
  CHECK(none.correct == 0);
  CHECK(none.counted == 3);
  CHECK(none.denominator == 12);
}

TEST_CASE("losses: a trainer refuses options and targets out of their domain", "[loss]") {
  using trainer_type = ls::data_parallel<row_model<bce>, 2>;
  CHECK(
      message_of<ls::value_error>([] {
        trainer_type trainer({}, {.pos_weight = {1, 2}});
      }) ==
      "lockstep: binary_cross_entropy_with_logits: expected 4 positive weights, one for each element of an output, or "
      "one for all, got 2");
  trainer_type trainer;
  const std::vector<float> x(6, 1.F);
  std::vector<float> targets(8, 1.F);
  targets[6] = 2;
  CHECK(message_of<ls::value_error>([&] { trainer.step(batch<row_model<bce>>(x), targets); }) ==
        "lockstep: binary_cross_entropy_with_logits: expected a target in [0, 1], got 2.000000 for element 2 of sample "
        "1");
  targets[6] = 0;
  CHECK(std::isfinite(trainer.step(batch<row_model<bce>>(x), targets)));
}
