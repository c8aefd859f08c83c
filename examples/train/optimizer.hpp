// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include <lockstep/optim/adam.hpp>
#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/schedule/constant.hpp>
#include <lockstep/optim/schedule/cosine.hpp>
#include <lockstep/optim/schedule/one_cycle.hpp>
#include <lockstep/optim/schedule/step.hpp>
#include <lockstep/optim/schedule/warm_up.hpp>
#include <lockstep/optim/scheduled.hpp>
#include <lockstep/optim/sgd.hpp>

#include "options.hpp"

namespace lockstep_train {

/// The optimizer that the command line names, as one type: a network is compiled once for all of them, and only the
/// pass that updates the parameters once for each.
struct chosen_optimizer {
  double learning_rate = 0;
  double weight_decay = 0;
  bool decays_all = true;  ///< false: as a network's groups of parameters say
  std::variant<lockstep::sgd, lockstep::adam, lockstep::adamw> chosen{};

  static constexpr std::size_t max_states = 3;

  void check_options() const {
    std::visit(
        [&](auto o) {
          o.weight_decay = weight_decay;
          o.check_options();
        },
        chosen);
  }
  /// What a schedule and groups of parameters change.
  void scale(double rate, double decay) {
    learning_rate *= rate;
    if (!decays_all) weight_decay *= decay;
  }
  [[nodiscard]] std::size_t states() const {
    return std::visit([](const auto& o) { return o.states(); }, chosen);
  }
  [[nodiscard]] std::string kind() const {
    return std::visit([](const auto& o) { return std::string(o.kind); }, chosen);
  }
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    std::visit(
        [&](auto o) {
          o.learning_rate = learning_rate;
          o.weight_decay = weight_decay;
          o.template rule<T>(step, with);
        },
        chosen);
  }
};

/// The schedule that the command line names, without its warm-up.
struct chosen_course {
  std::variant<lockstep::schedule::constant, lockstep::schedule::step, lockstep::schedule::cosine,
               lockstep::schedule::one_cycle>
      kind{};

  void check_options() const {
    std::visit([](const auto& course) { lockstep::detail::check_learning_rates(course); }, kind);
  }
  double operator()(std::int64_t step) const {
    return std::visit([&](const auto& course) { return course(step); }, kind);
  }
};
using chosen_schedule = lockstep::schedule::warm_up<chosen_course>;

/// What trains the networks.
using update_rule = lockstep::scheduled<chosen_optimizer, chosen_schedule>;

[[nodiscard]] chosen_optimizer optimizer_of(const options& o);

/// The optimizer's options in words.
[[nodiscard]] std::string optimizer_text(const options& o);

/// The schedule of a training of that many steps. Throws usage_error when its warm-up is longer.
[[nodiscard]] chosen_schedule schedule_of(const options& o, std::int64_t steps);

}  // namespace lockstep_train
