// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <lockstep/observe/svg_text.hpp>

/// \file
/// Finds why a loss is not finite, as far as the run's own numbers tell.

namespace lockstep {

/// What check_values found.
struct value_check {
  std::int64_t broken = -1;                                   ///< first position that is not finite; -1: none
  double largest = std::numeric_limits<double>::quiet_NaN();  ///< largest magnitude; NaN: not looked at
};

/// Looks at each value up to the first that is not finite.
[[nodiscard]] inline value_check check_values(std::span<const float> values) {
  value_check found{.largest = 0};
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      found.broken = static_cast<std::int64_t>(i);
      break;
    }
    found.largest = (std::max)(found.largest, static_cast<double>(std::abs(values[i])));
  }
  return found;
}

/// What the caller knows of a run whose loss is not finite. A member left at its default counts as unknown.
struct divergence_facts {
  std::span<const double> losses{};  ///< of every step; those after the first that is not finite are not read
  std::int64_t first_step = 1;       ///< number of the step of losses[0]
  double learning_rate = 0;
  double momentum = 0;
  bool clipped = false;             ///< true when gradients are clipped to a largest norm
  value_check inputs{};             ///< of the batch whose loss is not finite
  std::int64_t sample_size = 0;     ///< number of inputs of one sample
  value_check targets{};            ///< of the same batch, unless they are class indices
  std::string_view broken_start{};  ///< file of the first parameters, when not all of them are finite
};

/// Why the loss of a run is not finite, or why it grew.
struct divergence {
  std::int64_t step = 0;  ///< first step whose loss is not finite; 0 when the loss only grew
  std::string finding{};  ///< `The loss is not a number in step 7.`
  std::string cause{};    ///< `It rose from 2.31 in step 1 to 4e+20 in step 6: the learning rate of 10 is too high.`
  std::string remedy{};   ///< `Try a learning rate of 0.1 or less instead of 10.`

  /// The finding, the cause and the remedy in one line.
  [[nodiscard]] std::string text() const { return finding + " " + cause + " " + remedy; }
};

namespace detail {

/// Larger inputs are seldom intended: pictures in bytes reach 255.
inline constexpr double usual_input = 30;

[[nodiscard]] inline std::string lower_rate(const divergence_facts& facts) {
  std::string text = "Try a smaller learning rate";
  if (facts.learning_rate > 0)
    text = "Try a learning rate of " + general((std::min)(facts.learning_rate / 10, 0.1), 3) + " or less instead of " +
           general(facts.learning_rate);
  if (!facts.clipped) text += ", or clip gradients to a largest norm of 1";
  return text + ".";
}

/// Sets the cause and the remedy, and returns true, when the data or the first parameters are not finite: that cause is
/// certain.
inline bool blame_data(divergence& found, const divergence_facts& facts) {
  if (facts.inputs.broken >= 0) {
    const std::int64_t size = std::max<std::int64_t>(facts.sample_size, 1);
    found.cause = "Value " + std::to_string(facts.inputs.broken % size) + " of sample " +
                  std::to_string(facts.inputs.broken / size) + " of its batch (counted from 0) is not finite.";
    found.remedy = "Leave such samples out, or replace the value.";
  } else if (facts.targets.broken >= 0) {
    found.cause =
        "Value " + std::to_string(facts.targets.broken) + " of its batch's targets (counted from 0) is not finite.";
    found.remedy = "Leave such samples out, or replace the value.";
  } else if (!facts.broken_start.empty()) {
    found.cause = "The parameters in " + std::string(facts.broken_start) + " are not all finite.";
    found.remedy = "Begin with other parameters.";
  } else {
    return false;
  }
  return true;
}

/// Sets the likely cause and the remedy from the course of the loss.
inline void blame_course(divergence& found, const divergence_facts& facts, std::span<const double> before) {
  const bool large = facts.inputs.largest > usual_input;
  const std::string inputs = "Its inputs reach " + general(facts.inputs.largest) + ": they may not be scaled.";
  const std::string scale = "Scale inputs to about 1. ";
  if (before.empty()) {
    found.cause = large ? inputs
                        : "It is so before anything was learnt: the first parameters are too large, or the loss "
                          "has no value for what the network answers.";
    found.remedy = large ? scale : "Look at the first parameters and at what the loss is given.";
    if (large) found.remedy.pop_back();
    return;
  }
  const auto least = std::min_element(before.begin(), before.end());
  const std::string last_step = std::to_string(facts.first_step + static_cast<std::int64_t>(before.size()) - 1);
  const std::string rate = facts.learning_rate > 0 ? "the learning rate of " + general(facts.learning_rate)
                                                   : std::string("the learning rate");
  if (facts.momentum >= 1) {
    found.cause = "A momentum of " + general(facts.momentum) + " lets steps grow without end.";
    found.remedy = "Try a momentum below 1.";
  } else if (before.back() > 2 * (std::max)(*least, 0.0) && least + 1 != before.end()) {
    found.cause = "It rose from " + general(*least) + " in step " +
                  std::to_string(facts.first_step + (least - before.begin())) + " to " + general(before.back()) +
                  " in step " + last_step + ": " + rate + " is too high.";
    found.remedy = lower_rate(facts);
  } else if (before.size() == 1) {
    found.cause = "One update led there from " + general(before.back()) + ": " + rate + " is too high.";
    found.remedy = lower_rate(facts);
  } else {
    found.cause = "It was " + general(before.back()) + " in step " + last_step +
                  " and had not risen: one update was too large, as a batch of unusual samples or " + rate +
                  " brings about.";
    found.remedy = lower_rate(facts);
  }
  if (large) {
    found.cause += " " + inputs;
    found.remedy = scale + found.remedy;
  }
}

}  // namespace detail

/// Returns the first loss that is not finite, and why; nothing when all are finite. The cause is certain when a value
/// of the data or of the first parameters is not finite; otherwise it is the likeliest.
[[nodiscard]] inline std::optional<divergence> find_divergence(const divergence_facts& facts) {
  const auto first =
      std::find_if(facts.losses.begin(), facts.losses.end(), [](double loss) { return !std::isfinite(loss); });
  if (first == facts.losses.end()) return std::nullopt;
  const auto before = facts.losses.first(static_cast<std::size_t>(first - facts.losses.begin()));
  divergence found{.step = facts.first_step + (first - facts.losses.begin())};
  found.finding = std::string("The loss is ") + (std::isnan(*first) ? "not a number" : "infinite") + " in step " +
                  std::to_string(found.step) + ".";
  if (!detail::blame_data(found, facts)) detail::blame_course(found, facts, before);
  return found;
}

/// The same when all training losses are finite but `loss`, measured on a test set after `step`, is not. `facts.inputs`
/// are those of the first test batch whose loss is not finite.
[[nodiscard]] inline divergence find_test_divergence(const divergence_facts& facts, std::int64_t step, double loss) {
  divergence found{.step = step};
  found.finding = std::string("The test loss is ") + (std::isnan(loss) ? "not a number" : "infinite") + " after step " +
                  std::to_string(step) + ".";
  if (!detail::blame_data(found, facts)) {
    found.cause = "The last update was too large: " +
                  (facts.learning_rate > 0 ? "the learning rate of " + detail::general(facts.learning_rate)
                                           : std::string("the learning rate")) +
                  " is too high.";
    found.remedy = detail::lower_rate(facts);
  }
  return found;
}

/// Finds a run that diverged although all its losses are finite: each loss of the last tenth of the steps is more than
/// ten times the first loss. Returns nothing otherwise.
[[nodiscard]] inline std::optional<divergence> find_growth(const divergence_facts& facts) {
  const auto& losses = facts.losses;
  if (losses.size() < 2) return std::nullopt;
  const auto tail = losses.last(std::max<std::size_t>(losses.size() / 10, 1));
  const double least = *std::min_element(tail.begin(), tail.end());
  if (!(losses.front() > 0) || !(least > 10 * losses.front())) return std::nullopt;
  return divergence{.finding = "The loss grew from " + detail::general(losses.front()) + " to " +
                               detail::general(losses.back()) + ".",
                    .cause = "Most often the learning rate is too high, or inputs are not scaled.",
                    .remedy = detail::lower_rate(facts)};
}

}  // namespace lockstep
