// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fit.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include <lockstep/observe/divergence.hpp>
#include <lockstep/observe/gpu_monitor.hpp>
#include <lockstep/observe/progress.hpp>
#include <lockstep/observe/report.hpp>
#include <lockstep/observe/report_data.hpp>
#include <lockstep/observe/step_log.hpp>
#include <lockstep/observe/trace.hpp>
#include <lockstep/parallel/timeline.hpp>

#include "complain.hpp"
#include "optimizer.hpp"

namespace lockstep_train {

namespace {

using steady = std::chrono::steady_clock;

double seconds_between(steady::time_point from, steady::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Samples a second; a clock too coarse to tell gives no number.
double rate(std::int64_t samples, double seconds) {
  return seconds > 0 ? static_cast<double>(samples) / seconds : std::numeric_limits<double>::quiet_NaN();
}

struct epoch_result {
  std::int64_t samples = 0;
  std::int64_t steps = 0;
  double seconds = 0;
  double waited = 0;  ///< of these, for the loader
};

/// A loss in words.
std::string loss_text(double loss, int decimals) {
  return std::isfinite(loss) ? fmt::format("{:.{}f}", loss, decimals) : "not finite";
}

/// A speed in words, after `before`; nothing where it is no number, for a part of a run without steps.
std::string speed_text(std::string_view before, double samples_per_s) {
  return std::isfinite(samples_per_s) ? fmt::format("{}{:.0f} samples/s", before, samples_per_s) : std::string();
}

/// What was measured on the test set, in words.
std::string verdict(const network& net, const score& test) {
  const double loss = test.loss_sum / test.denominator;
  if (net.reads_text) return "validation loss " + loss_text(loss, 4);
  if (!net.classifies) return "test loss " + loss_text(loss, 6);
  return fmt::format("test accuracy {:.2f} %",
                     100.0 * static_cast<double>(test.correct) / static_cast<double>(test.counted));
}

/// Epochs that hold so many steps, the last perhaps in part.
std::int64_t epochs_of(std::int64_t steps, std::int64_t per_epoch) {
  return steps == 0 ? 0 : (steps - 1) / per_epoch + 1;
}

lockstep::value_check check(const float* values, std::int64_t samples, std::int64_t size) {
  if (values == nullptr) return {};  // tokens
  return lockstep::check_values({values, static_cast<std::size_t>(samples * size)});
}

class run {
 public:
  run(const options& o, const network& net, trainer& t, data_set& data, checkpointing* keeper)
      : options_(o),
        network_(net),
        trainer_(t),
        data_(data),
        keeper_(keeper),
        first_step_(t.steps()),
        step_(first_step_) {
    if (!o.log.empty()) {
      if (keeper != nullptr && !keeper->resumed_from().empty())
        log_.emplace(o.log, keeper->log());
      else
        log_.emplace(o.log);
    }
    if (o.backend == "cuda" && !o.report.empty()) gpus_.emplace();
    if (!o.trace.empty() || !o.report.empty()) {
      times_.emplace(o.replicas, events_per_replica);
      t.record(&*times_);
    }
    finite_start_ = o.init.empty() || t.finite();
  }

  /// Returns false when a loss that is not finite ended the training.
  bool operator()() {
    const std::int64_t per_epoch = data_.train->batches();
    const std::int64_t epochs = options_.steps ? epochs_of(*options_.steps, per_epoch) : options_.epochs;
    epoch_result all;
    score test;
    const auto [epochs_done, batches_done] = data_.train->position();
    std::int64_t rest = per_epoch - batches_done;
    if (keeper_ != nullptr) sums_ = keeper_->sums();
    auto epoch = static_cast<std::int64_t>(epochs_done) + 1;
    if (epoch > epochs) test = evaluate();  // nothing to train, or the checkpoint's run was longer
    for (; epoch <= epochs && !ended(); ++epoch) {
      const std::int64_t left = options_.steps ? std::max<std::int64_t>(*options_.steps - step_, 0) : rest;
      const epoch_result result = train(fmt::format("epoch {}/{}", epoch, epochs), std::min(left, rest));
      all.samples += result.samples;
      all.steps += result.steps;
      all.seconds += result.seconds;
      all.waited += result.waited;
      test = evaluate();
      report(epoch, epochs, result, test);
      if (keeper_ != nullptr && epoch == epochs && !ended()) keeper_->finish(sums_);
      sums_ = {};
      rest = per_epoch;
    }
    say("{}: {} step{} in {:.2f} s{}, {}\n", ended() ? "ended early" : "finished", all.steps, all.steps == 1 ? "" : "s",
        all.seconds, speed_text(", ", rate(all.samples, all.seconds)), verdict(network_, test));
    if (!options_.trace.empty()) network_.write_trace(options_.trace, *times_, {.replicas = options_.replicas});
    if (!options_.report.empty()) write_report(all);
    return !ended();
  }

 private:
  template <class... T>
  void say(fmt::format_string<T...> format, T&&... values) {
    if (options_.quiet) return;
    fmt::print(format, std::forward<T>(values)...);
    std::fflush(stdout);
  }

  /// Whether a loss that is not finite has ended the training.
  [[nodiscard]] bool ended() const { return diverged_ && !options_.keep_going; }

  /// The mean loss of the epoch's steps, also of those before a checkpoint that the run goes on from.
  [[nodiscard]] double train_loss() const { return sums_.loss / static_cast<double>(sums_.samples); }

  score evaluate() {
    score total;
    lockstep::value_check inputs;
    data_.test->start();
    for (batch b; data_.test->next(b);) {
      const bool finite = std::isfinite(total.loss_sum);
      total.add(trainer_.evaluate(b));
      if (finite && !std::isfinite(total.loss_sum)) inputs = check(b.inputs, b.samples, network_.inputs);
    }
    const double loss = total.loss_sum / total.denominator;
    test_losses_.push_back({step_, loss});
    if (!std::isfinite(loss) && !diverged_) tell(lockstep::find_test_divergence(facts(inputs), step_, loss));
    return total;
  }

  /// What is known of a run that diverges, with what a look at the inputs found.
  [[nodiscard]] lockstep::divergence_facts facts(const lockstep::value_check& inputs) const {
    return {.losses = losses_,
            .first_step = first_step_ + 1,
            .learning_rate = options_.learning_rate,
            .momentum = options_.momentum,
            .clipped = std::isfinite(options_.max_norm),
            .inputs = inputs,
            .sample_size = network_.inputs,
            .broken_start = finite_start_ ? std::string_view{} : std::string_view(options_.init)};
  }

  void tell(lockstep::divergence found) {
    diverged_ = std::move(found);
    std::string text = diverged_->text();
    if (!options_.keep_going) {
      text += " This ends the run (--keep-going goes on)";
      text += options_.save.empty() ? "." : ", and " + options_.save + " is not written.";
    }
    complain(text);
  }

  /// Says why the loss of the last step, for that batch, is not finite.
  void tell_of_step(const batch& b) {
    lockstep::divergence_facts known = facts(check(b.inputs, b.samples, network_.inputs));
    if (b.values != nullptr) known.targets = check(b.values, b.samples, network_.outputs);
    tell(*lockstep::find_divergence(known));
  }

  epoch_result train(std::string label, std::int64_t steps) {
    epoch_result result;
    lockstep::progress_bar bar(stderr, std::move(label), steps,
                               options_.quiet ? lockstep::progress_output::never : lockstep::progress_output::terminal);
    const auto begin = steady::now();
    auto before = begin;
    data_.train->start();
    // A step's time holds the wait for its batch: that is the speed a user gets.
    for (batch b; result.steps < steps && data_.train->next(b);) {
      const auto arrived = steady::now();
      const double loss = trainer_.step(b);
      const auto after = steady::now();
      ++result.steps;
      ++step_;
      result.waited += seconds_between(before, arrived);
      losses_.push_back(loss);
      if (times_) recorded(b.samples);
      result.samples += b.samples;
      sums_.samples += b.samples;
      sums_.loss += loss * static_cast<double>(b.samples);
      if (log_) log_->step(step_, loss, rate(b.samples, seconds_between(before, after)));
      bar.step(b.samples, loss);
      before = after;
      watch_gpus(after, gpu_period);
      if (keeper_ != nullptr && (std::isfinite(loss) || options_.keep_going)) keeper_->after_step(sums_);
      if (std::isfinite(loss) || diverged_) continue;
      bar.finish();
      tell_of_step(b);
      if (ended()) break;
    }
    watch_gpus(steady::now(), 0);
    result.seconds = seconds_between(begin, before);
    return result;
  }

  void report(std::int64_t epoch, std::int64_t epochs, const epoch_result& result, const score& test) {
    const double speed = rate(result.samples, result.seconds);
    // A regression has no accuracy: NaN, which the log writes as null.
    const double accuracy = network_.classifies ? static_cast<double>(test.correct) / static_cast<double>(test.counted)
                                                : std::numeric_limits<double>::quiet_NaN();
    if (network_.classifies) accuracies_.push_back(accuracy);
    if (log_)
      log_->write({{"epoch", epoch},
                   {"train_loss", train_loss()},
                   {network_.reads_text ? "validation_loss" : "test_loss", test.loss_sum / test.denominator},
                   {network_.reads_text ? "validation_accuracy" : "test_accuracy", accuracy},
                   {"samples_per_s", speed}});
    say("epoch {}/{}  loss {}  {}{}\n", epoch, epochs, loss_text(train_loss(), 4), verdict(network_, test),
        speed_text("  ", speed));
  }

  /// Keeps what the report shows of a step.
  void recorded(std::int64_t samples) {
    // What the first step prepares would stand for all of a short record.
    if (step_ == first_step_ + 1 && (options_.epochs > 1 || options_.steps.value_or(2) > 1)) {
      times_->clear();
      recorded_samples_ = 0;
    } else if (times_->dropped(0) == 0) {
      recorded_samples_ += samples;
    }
  }

  /// Reads what the driver says of the GPUs when `seconds` have gone by since the last time.
  void watch_gpus(steady::time_point now, double seconds) {
    if (!gpus_ || seconds_between(gpus_read_, now) < seconds) return;
    gpus_->sample();
    gpus_read_ = now;
  }

  void write_report(const epoch_result& all) {
    lockstep::report_data data = network_.report(
        *times_,
        {.replicas = options_.replicas, .batch = options_.batch, .optimizer_states = trainer_.optimizer_states()});
    data.title = "lockstep-train: " + options_.model;
    std::erase_if(data.memory, [](const lockstep::memory_item& item) { return item.bytes == 0; });
    data.facts = {{"data", data_.description},
                  {"training samples", std::to_string(data_.train->samples())},
                  {"optimizer", optimizer_text(options_)},
                  {"backend", options_.backend},
                  {"precision", std::string(arithmetic_names[static_cast<std::size_t>(options_.precision)])},
                  {"reduction", options_.reproducible ? "reproducible" : "automatic"},
                  {"seed", std::to_string(options_.seed)}};
    if (options_.model == "resnet20" && options_.precision == arithmetic::fp32)
      data.facts.emplace_back("convolutions", options_.convolution);
    constexpr double gib = 1 << 30U;
    if (gpus_)
      for (const lockstep::gpu_usage& gpu : gpus_->usage())
        data.facts.emplace_back(
            gpu.name, fmt::format("busy {:.0f} % of the time, at most {:.2f} of {:.2f} GiB in use (by all processes)",
                                  100 * gpu.busy, static_cast<double>(gpu.memory_peak) / gib,
                                  static_cast<double>(gpu.memory_total) / gib));
    data.seconds = all.seconds;
    data.samples_per_s = rate(all.samples, all.seconds);
    data.first_step = first_step_ + 1;
    data.losses = losses_;
    data.test_losses = test_losses_;
    data.diverged = diverged_ ? diverged_ : lockstep::find_growth(facts({}));
    data.accuracies = accuracies_;
    data.loader_wait = all.seconds > 0 ? all.waited / all.seconds : 0;
    data.recorded_samples = recorded_samples_;
    lockstep::write_report(options_.report, data);
  }

  const options& options_;
  const network& network_;
  trainer& trainer_;
  data_set& data_;
  checkpointing* keeper_;    ///< null: no checkpoints
  std::int64_t first_step_;  ///< steps done before this process
  std::int64_t step_;
  std::optional<lockstep::step_log> log_;
  epoch_sums sums_;             ///< of the epoch under way, in all processes
  std::vector<double> losses_;  ///< of every step of this process
  std::vector<lockstep::measured_loss> test_losses_;
  std::optional<lockstep::divergence> diverged_;
  bool finite_start_ = true;

  // For --trace and --report.
  static constexpr std::int64_t events_per_replica = 100'000;
  static constexpr double gpu_period = 0.5;  ///< seconds; the driver's own are about as long
  std::optional<lockstep::timeline> times_;
  std::int64_t recorded_samples_ = 0;
  std::vector<double> accuracies_;
  std::optional<lockstep::gpu_monitor> gpus_;
  steady::time_point gpus_read_{};
};

}  // namespace

bool fit(const options& o, const network& net, trainer& t, data_set& data, checkpointing* keeper) {
  return run(o, net, t, data, keeper)();
}

}  // namespace lockstep_train
