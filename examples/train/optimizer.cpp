// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "optimizer.hpp"

#include <algorithm>

#include <fmt/core.h>

namespace lockstep_train {

chosen_optimizer optimizer_of(const options& o) {
  chosen_optimizer rule{
      .learning_rate = o.learning_rate, .weight_decay = o.weight_decay, .decays_all = !o.decay_matrices};
  if (o.optimizer == "adam")
    rule.chosen = lockstep::adam{};
  else if (o.optimizer == "adamw")
    rule.chosen = lockstep::adamw{};
  else
    rule.chosen = lockstep::sgd{.momentum = o.momentum};
  return rule;
}

std::string optimizer_text(const options& o) {
  std::string text = fmt::format("{}, learning rate {}", o.optimizer, o.learning_rate);
  if (o.optimizer == "sgd") text += fmt::format(", momentum {}", o.momentum);
  text += fmt::format(", weight decay {}{}", o.weight_decay, o.decay_matrices ? " of matrices" : "");
  if (o.schedule != "constant") text += ", schedule " + o.schedule;
  if (o.warmup > 0) text += fmt::format(", warm-up of {} steps", o.warmup);
  return text;
}

chosen_schedule schedule_of(const options& o, std::int64_t steps) {
  if (o.warmup >= steps)
    throw usage_error(fmt::format("--warmup: expected fewer steps than the training's {}, got {}", steps, o.warmup));
  const std::int64_t left = steps - o.warmup;
  chosen_course course;
  if (o.schedule == "step") course.kind = lockstep::schedule::step{.step_size = (left + 2) / 3};
  if (o.schedule == "cosine") course.kind = lockstep::schedule::cosine{.steps = left};
  if (o.schedule == "one-cycle") course.kind = lockstep::schedule::one_cycle{.steps = left};
  // The first step of a warm-up has one part of the rate already.
  return chosen_schedule(o.warmup, course, 1.0 / static_cast<double>(o.warmup + 1));
}

}  // namespace lockstep_train
