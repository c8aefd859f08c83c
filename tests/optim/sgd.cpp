// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/optim/sgd.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include <lockstep/core/random.hpp>
#include <lockstep/optim/optimizer.hpp>

#include "support/catch.hpp"
#include "support/difference.hpp"

namespace {

namespace ls = lockstep;

static_assert(ls::optimizer<ls::sgd>);

constexpr int parameters = 37;
constexpr int steps = 5;

double gradient(int step, int i) {
  const ls::random_stream stream(ls::seed{3}, ls::random_purpose::synthetic_data, static_cast<std::uint64_t>(step));
  return 2.0 * double{stream.uniform(static_cast<std::uint64_t>(i))} - 1.0;
}

double start(int i) { return 0.25 * (i % 9) - 1.0; }

/// torch.optim.SGD's documented algorithm, written from its pseudo-code, one parameter group.
std::vector<double> torch_sgd(double rate, double momentum, double dampening, double decay, bool nesterov) {
  std::vector<double> theta(parameters);
  std::vector<double> buffer(parameters);
  for (int i = 0; i < parameters; ++i) theta[static_cast<std::size_t>(i)] = start(i);
  for (int t = 1; t <= steps; ++t)
    for (int i = 0; i < parameters; ++i) {
      const auto at = static_cast<std::size_t>(i);
      double g = gradient(t - 1, i);
      if (decay != 0) g += decay * theta[at];
      if (momentum != 0) {
        if (t > 1)
          buffer[at] = momentum * buffer[at] + (1 - dampening) * g;
        else
          buffer[at] = g;
        if (nesterov)
          g = g + momentum * buffer[at];
        else
          g = buffer[at];
      }
      theta[at] -= rate * g;
    }
  return theta;
}

template <class T>
std::vector<T> lockstep_sgd(const ls::sgd& options) {
  std::vector<T> theta(parameters);
  std::vector<T> buffer(parameters);
  for (int i = 0; i < parameters; ++i) theta[static_cast<std::size_t>(i)] = static_cast<T>(start(i));
  for (int t = 0; t < steps; ++t)
    options.rule<T>(t, [&](auto states, const auto& rule) {
      REQUIRE(states() == options.states());
      for (int i = 0; i < parameters; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const T g = static_cast<T>(gradient(t, i));
        if constexpr (states() == 0)
          rule(g, theta[at]);
        else
          rule(g, theta[at], buffer[at]);
      }
    });
  return theta;
}

template <class T>
double deviation(const ls::sgd& options) {
  const auto want =
      torch_sgd(options.learning_rate, options.momentum, options.dampening, options.weight_decay, options.nesterov);
  return lockstep_test::largest_difference(lockstep_sgd<T>(options), want);
}

}  // namespace

TEST_CASE("sgd follows PyTorch's rule with every combination of options") {
  int combinations = 0;
  for (const float rate : {0.F, 0.1F, 0.5F})
    for (const float momentum : {0.F, 0.5F, 0.9F})
      for (const float dampening : {0.F, 0.25F, 1.F})
        for (const float decay : {0.F, 0.01F, 0.3F})
          for (const bool nesterov : {false, true}) {
            if (nesterov && (momentum == 0.F || dampening != 0.F)) continue;
            const ls::sgd options{.learning_rate = rate,
                                  .momentum = momentum,
                                  .dampening = dampening,
                                  .weight_decay = decay,
                                  .nesterov = nesterov};
            CAPTURE(rate, momentum, dampening, decay, nesterov);
            CHECK_NOTHROW(options.check_options());
            CHECK(deviation<double>(options) < 1e-13);
            CHECK(deviation<float>(options) < 5 * steps * double{std::numeric_limits<float>::epsilon()} * 2);
            ++combinations;
          }
  CHECK(combinations == 3 * (3 * 3 * 3 + 2 * 3));
}

TEST_CASE("sgd takes one hand-computed step after another") {
  // p = 1, g = 2, 2: v = 2 + 0.5 p; then v = 0.5 v + 0.75 (2 + 0.5 p).
  const ls::sgd options{.learning_rate = 0.5F, .momentum = 0.5F, .dampening = 0.25F, .weight_decay = 0.5F};
  double p = 1;
  double v = 0;
  const auto step = [&](int t) {
    options.rule<double>(t, [&](auto states, const auto& rule) {
      if constexpr (states() == 1) rule(2.0, p, v);
    });
  };
  step(0);
  CHECK(v == 2.5);
  CHECK(p == -0.25);
  step(1);
  CHECK(v == 0.5 * 2.5 + 0.75 * 1.875);
  CHECK(p == -0.25 - 0.5 * v);
}

TEST_CASE("sgd keeps a state only for momentum") {
  CHECK(ls::sgd{}.states() == 0);
  CHECK(ls::sgd{.momentum = 0.9F}.states() == 1);
  CHECK(ls::sgd::max_states == 1);
}

TEST_CASE("sgd refuses the options that PyTorch refuses") {
  CHECK_NOTHROW(ls::sgd{}.check_options());
  CHECK_NOTHROW(ls::sgd{.learning_rate = 0.F}.check_options());
  CHECK_THROWS_AS(ls::sgd{.learning_rate = -0.1F}.check_options(), ls::value_error);
  CHECK_THROWS_AS(ls::sgd{.momentum = -0.1F}.check_options(), ls::value_error);
  CHECK_THROWS_AS(ls::sgd{.weight_decay = -0.1F}.check_options(), ls::value_error);
  CHECK_THROWS_AS((ls::sgd{.momentum = 0.F, .nesterov = true}.check_options()), ls::value_error);
  CHECK_THROWS_AS((ls::sgd{.momentum = 0.9F, .dampening = 0.1F, .nesterov = true}.check_options()), ls::value_error);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(ls::sgd{.learning_rate = nan}.check_options(), ls::value_error);
  CHECK_THROWS_WITH((ls::sgd{.learning_rate = -1.F}.check_options()),
                    "lockstep: sgd: expected a learning_rate of zero or more, got -1");
}
