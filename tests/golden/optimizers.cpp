// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "golden/golden.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

constexpr std::int64_t elements = 37;  // no multiple of a vector's length
constexpr std::int64_t steps = 20;

const ls::safetensors_file& golden() {
  static const auto file = golden_file("optimizers");
  return file;
}

/// The parameters after each of 20 steps, updated by backend B in the ranges [0, cut) and [cut, 37).
template <class B, class Optimizer>
std::vector<typename B::value_type> train(const Optimizer& optimizer, std::uint64_t stream, std::int64_t cut) {
  using value = typename B::value_type;
  const auto start = golden_symmetric(stream, elements);
  std::vector<value> parameters(start.begin(), start.end());
  std::array<std::vector<value>, Optimizer::max_states> states;
  for (auto& state : states) state.resize(elements);
  std::vector<value> after;
  typename B::context context(1);
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto drawn =
        golden_symmetric(stream + 10 + static_cast<std::uint64_t>(step), elements, std::ldexp(1.F, -int(step % 3)));
    const std::vector<value> gradient(drawn.begin(), drawn.end());
    optimizer.template rule<value>(
        step, [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
          REQUIRE(States == optimizer.states());
          std::array<value*, States> in_use{};
          for (std::size_t s = 0; s < States; ++s) in_use[s] = states[s].data();
          B::template reduce_and_update<1, States>(context, 0, cut, {gradient.data()}, parameters.data(), in_use, rule);
          B::template reduce_and_update<1, States>(context, cut, elements, {gradient.data()}, parameters.data(), in_use,
                                                   rule);
        });
    after.insert(after.end(), parameters.begin(), parameters.end());
  }
  return after;
}

template <class Optimizer>
void check_case(const std::string& name, std::uint64_t stream, const Optimizer& optimizer) {
  INFO(name);
  CHECK_NOTHROW(optimizer.check_options());
  const auto expected = golden().values_f64(name);
  const auto on_cpu = train<ls::cpu>(optimizer, stream, elements);
  CHECK(relative_difference(on_cpu, expected) <= 1e-5);
  CHECK(relative_difference(train<ls::reference<double>>(optimizer, stream, elements), expected) <= 1e-13);
  // Numbers instead of vectors, as on processors that have none.
  CHECK(relative_difference(train<ls::reference<float>>(optimizer, stream, elements), expected) <= 1e-5);
  // An element's bits do not depend on the ranges.
  for (const std::int64_t cut : {1, 5, 16, 31}) CHECK(train<ls::cpu>(optimizer, stream, cut) == on_cpu);
}

}  // namespace

TEST_CASE("sgd maximises as PyTorch's", "[golden][optimizer]") {
  check_case("sgd/maximize", 80000,
             ls::sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.05, .nesterov = true, .maximize = true});
}

TEST_CASE("adam updates as PyTorch's", "[golden][optimizer]") {
  check_case("adam/default", 80100, ls::adam{});
  check_case("adam/options", 80200, ls::adam{.learning_rate = 0.1, .betas = {0.5, 0.9}, .eps = 0.1});
  check_case("adam/weight_decay", 80300, ls::adam{.learning_rate = 0.02, .weight_decay = 0.05});
  check_case("adam/amsgrad", 80400, ls::adam{.learning_rate = 0.02, .betas = {0.9, 0.7}, .amsgrad = true});
  check_case("adam/maximize", 80500,
             ls::adam{.learning_rate = 0.02, .weight_decay = 0.05, .amsgrad = true, .maximize = true});
  check_case("adam/no_momentum", 80600, ls::adam{.learning_rate = 0.02, .betas = {0.0, 0.99}});
}

TEST_CASE("adamw updates as PyTorch's", "[golden][optimizer]") {
  check_case("adamw/default", 80700, ls::adamw{});
  check_case("adamw/weight_decay", 80800, ls::adamw{.learning_rate = 0.05, .weight_decay = 0.3});
  check_case("adamw/amsgrad", 80900,
             ls::adamw{.learning_rate = 0.02, .betas = {0.8, 0.6}, .weight_decay = 0.1, .amsgrad = true});
  check_case("adamw/maximize", 81000, ls::adamw{.learning_rate = 0.05, .weight_decay = 0.3, .maximize = true});
}

TEST_CASE("nadam updates as PyTorch's", "[golden][optimizer]") {
  check_case("nadam/default", 81100, ls::nadam{});
  check_case("nadam/momentum_decay", 81200,
             ls::nadam{.learning_rate = 0.02, .betas = {0.7, 0.9}, .momentum_decay = 0.5});
  check_case("nadam/weight_decay", 81300, ls::nadam{.learning_rate = 0.02, .weight_decay = 0.05});
  check_case("nadam/decoupled", 81400,
             ls::nadam{.learning_rate = 0.02, .weight_decay = 0.3, .decoupled_weight_decay = true});
  check_case("nadam/maximize", 81500, ls::nadam{.learning_rate = 0.02, .weight_decay = 0.05, .maximize = true});
}

TEST_CASE("rmsprop updates as PyTorch's", "[golden][optimizer]") {
  check_case("rmsprop/default", 81600, ls::rmsprop{});
  check_case("rmsprop/options", 81700,
             ls::rmsprop{.learning_rate = 0.02, .alpha = 0.5, .eps = 0.1, .weight_decay = 0.05});
  check_case("rmsprop/momentum", 81800, ls::rmsprop{.learning_rate = 0.002, .momentum = 0.9});
  check_case("rmsprop/centered", 81900,
             ls::rmsprop{.learning_rate = 0.002, .alpha = 0.9, .eps = 0.01, .centered = true});
  check_case("rmsprop/centered_momentum", 82000,
             ls::rmsprop{.learning_rate = 0.002,
                         .alpha = 0.9,
                         .eps = 0.01,
                         .weight_decay = 0.05,
                         .momentum = 0.5,
                         .centered = true,
                         .maximize = true});
}

TEST_CASE("lion updates as its paper says", "[golden][optimizer]") {
  check_case("lion/default", 82100, ls::lion{});
  check_case("lion/options", 82200, ls::lion{.learning_rate = 0.01, .betas = {0.5, 0.8}, .weight_decay = 0.3});
  check_case("lion/maximize", 82300, ls::lion{.learning_rate = 0.01, .weight_decay = 0.3, .maximize = true});
}
