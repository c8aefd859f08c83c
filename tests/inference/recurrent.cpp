// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Recurrent layers: whole sequences against the definition, and streams, step by step, against whole sequences.

#include <lockstep/inference.hpp>

#include <array>
#include <span>
#include <vector>

#include "inference/inference_support.hpp"
#include "support/catch.hpp"
#include "support/message_of.hpp"

namespace ls = lockstep;
using lockstep_test::require_layers;

namespace recurrent_test {

template <int Steps>
using stream =
    ls::model<ls::sequential<ls::linear<5>, ls::lstm<19, ls::layers<2>>, ls::gru<9>, ls::rnn<6>, ls::linear<2>>,
              ls::input<Steps, 3>>;

/// 24 steps of a stream, in calls of as many.
template <int Steps>
std::vector<float> run_stream(const std::vector<float>& weights, const std::vector<float>& x,
                              std::vector<float>& states) {
  const ls::inference<stream<Steps>> model(weights);
  std::vector<float> y(24 * 2);
  for (std::size_t first = 0; first < 24; first += Steps)
    model.carry(std::span(x).subspan(first * 3, Steps * 3), std::span(y).subspan(first * 2, Steps * 2), states);
  return y;
}

TEST_CASE("inference: recurrent layers on whole sequences", "[inference][recurrent]") {
  require_layers<ls::input<1, 3>, ls::lstm<5>>();
  require_layers<ls::input<6, 3>, ls::lstm<19, ls::layers<2>>, ls::linear<3>>();
  require_layers<ls::input<5, 7>, ls::linear<6>, ls::lstm<16, ls::bidirectional, ls::no_bias>, ls::tanh>();
  require_layers<ls::input<6, 3>, ls::gru<19, ls::layers<2>, ls::bidirectional, ls::last_state>, ls::linear<2>>();
  require_layers<ls::input<6, 3>, ls::gru<8, ls::no_bias>, ls::rnn<9, ls::relu>, ls::rnn<7>>();
}

TEST_CASE("inference: a stream has the outputs of the whole sequence", "[inference][recurrent]") {
  using whole = ls::inference<stream<24>>;
  STATIC_REQUIRE(whole::carried_size == 2 * (19 + 19) + 9 + 6);
  STATIC_REQUIRE(ls::inference<ls::model<ls::linear<3>, ls::input<2>>>::carried_size == 0);
  const auto weights = lockstep_test::random_state<stream<24>>();
  const auto x = lockstep_test::random_values(24 * 3);
  std::vector<float> y(24 * 2);
  const whole model(weights);
  model(x, std::span<float>(y));
  const std::vector<float> beginning(whole::carried_size);
  std::vector<float> after_steps = beginning;
  lockstep_test::require_close(run_stream<1>(weights, x, after_steps), y);
  std::vector<float> after_blocks = beginning;
  lockstep_test::require_close(run_stream<8>(weights, x, after_blocks), y);
  lockstep_test::require_close(after_blocks, after_steps);
  // Several samples at once follow each other, too.
  std::vector<float> after_batch = beginning;
  std::vector<float> batch(24 * 2);
  ls::inference<stream<4>>(weights).carry(x, std::span<float>(batch), after_batch);
  lockstep_test::require_close(batch, y);
  // Another sequence has another state; and this one goes on.
  CHECK(run_stream<1>(weights, x, after_batch) != batch);
}

TEST_CASE("inference: states have a size", "[inference][recurrent]") {
  const ls::inference<stream<1>> model(lockstep_test::random_state<stream<1>>());
  std::vector<float> y(2);
  std::vector<float> states(7);
  CHECK(lockstep_test::message_of<ls::shape_error>([&] {
          model.carry(std::array<float, 3>{}, std::span<float>(y), std::span<float>(states));
        }) == "lockstep: inference: expected states of 91 floats, got 7");
}

}  // namespace recurrent_test
