// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <lockstep/core/error.hpp>
#include <lockstep/optim/adam.hpp>
#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/lion.hpp>
#include <lockstep/optim/nadam.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/rmsprop.hpp>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

static_assert(ls::optimizer<ls::adam> && ls::optimizer<ls::adamw> && ls::optimizer<ls::nadam>);
static_assert(ls::optimizer<ls::rmsprop> && ls::optimizer<ls::lion>);

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

/// A rule of a device has 64 bytes; and says itself how many states it takes.
template <class Optimizer>
void check_rule(const Optimizer& optimizer, std::size_t states) {
  CHECK(optimizer.states() == states);
  CHECK(states <= Optimizer::max_states);
  optimizer.template rule<float>(0, [&](auto count, const auto& rule) {
    using rule_type = std::remove_cvref_t<decltype(rule)>;
    static_assert(sizeof(rule_type) <= 64 && std::is_trivially_copyable_v<rule_type>);
    CHECK(count() == states);
  });
}

template <class Optimizer>
void check_refused(const Optimizer& optimizer, const char* message) {
  CHECK_THROWS_AS(optimizer.check_options(), ls::value_error);
  CHECK_THROWS_WITH(optimizer.check_options(), message);
}

}  // namespace

TEST_CASE("optimizers keep the states that their options need", "[optimizer]") {
  check_rule(ls::adam{}, 2);
  check_rule(ls::adam{.amsgrad = true}, 3);
  check_rule(ls::adamw{}, 2);
  check_rule(ls::adamw{.amsgrad = true}, 3);
  check_rule(ls::nadam{}, 2);
  check_rule(ls::lion{}, 1);
  check_rule(ls::rmsprop{}, 1);
  check_rule(ls::rmsprop{.centered = true}, 2);
  check_rule(ls::rmsprop{.momentum = 0.9}, 2);
  check_rule(ls::rmsprop{.momentum = 0.9, .centered = true}, 3);
}

TEST_CASE("optimizers have PyTorch's defaults, and take options at the edge of their domain", "[optimizer]") {
  CHECK(ls::adam{}.weight_decay == 0);
  CHECK(ls::adamw{}.weight_decay == 0.01);
  CHECK_NOTHROW(ls::adam{.learning_rate = 0, .betas = {0, 0}, .eps = 0}.check_options());
  CHECK_NOTHROW(ls::adamw{.weight_decay = 0}.check_options());
  CHECK_NOTHROW(ls::nadam{.momentum_decay = 0}.check_options());
  CHECK_NOTHROW(ls::rmsprop{.alpha = 1}.check_options());
  CHECK_NOTHROW(ls::lion{.betas = {0, 0}}.check_options());
}

TEST_CASE("optimizers name an option that is out of its domain", "[optimizer]") {
  check_refused(ls::adam{.learning_rate = -1}, "lockstep: adam: expected a learning_rate of zero or more, got -1");
  check_refused(ls::adam{.betas = {1, 0.9}}, "lockstep: adam: expected a first beta from zero to below one, got 1");
  check_refused(ls::adamw{.betas = {0.9, 1.5}},
                "lockstep: adamw: expected a second beta from zero to below one, got 1.5");
  check_refused(ls::adamw{.eps = -1e-8}, "lockstep: adamw: expected an eps of zero or more, got -1e-08");
  check_refused(ls::adamw{.weight_decay = no_number},
                "lockstep: adamw: expected a weight_decay of zero or more, got nan");
  check_refused(ls::nadam{.momentum_decay = -1}, "lockstep: nadam: expected a momentum_decay of zero or more, got -1");
  check_refused(ls::nadam{.betas = {-0.1, 0.9}},
                "lockstep: nadam: expected a first beta from zero to below one, got -0.1");
  check_refused(ls::rmsprop{.alpha = 1.01}, "lockstep: rmsprop: expected an alpha from zero to one, got 1.01");
  check_refused(ls::rmsprop{.momentum = -1}, "lockstep: rmsprop: expected a momentum of zero or more, got -1");
  check_refused(ls::rmsprop{.eps = no_number}, "lockstep: rmsprop: expected an eps of zero or more, got nan");
  check_refused(ls::lion{.learning_rate = no_number},
                "lockstep: lion: expected a learning_rate of zero or more, got nan");
  check_refused(ls::lion{.betas = {0.9, -1}}, "lockstep: lion: expected a second beta from zero to below one, got -1");
}

TEST_CASE("nadam's product of the mu ends where it no longer counts", "[optimizer]") {
  for (const double beta : {0.0, 0.5, 0.9, 0.99})
    for (const double decay : {0.0, 4e-3, 0.5}) {
      double product = 1;
      for (int t = 1; t <= 10'000; ++t) {
        product *= beta * (1 - 0.5 * std::pow(0.96, t * decay));
        if (t > 20 && t % 1000 != 0) continue;
        CAPTURE(beta, decay, t);
        CHECK(std::abs(ls::detail::nadam_product(beta, decay, t) - product) <= 1e-14);
      }
    }
}
