// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "fit.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <optional>

#include <fmt/core.h>

#include <lockstep/observe/progress.hpp>
#include <lockstep/observe/step_log.hpp>

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
  double loss_sum = 0;
  double seconds = 0;

  [[nodiscard]] double loss() const { return loss_sum / static_cast<double>(samples); }
};

score evaluate(trainer& t, batch_source& source) {
  score total;
  source.start();
  for (batch b; source.next(b);) total.add(t.evaluate(b));
  return total;
}

/// What was measured on the test set, in words.
std::string verdict(const network& net, const score& test) {
  const double loss = test.loss_sum / test.denominator;
  if (!net.classifies) return fmt::format("test loss {:.6f}", loss);
  return fmt::format("test accuracy {:.2f} %",
                     100.0 * static_cast<double>(test.correct) / static_cast<double>(test.counted));
}

class run {
 public:
  run(const options& o, const network& net, trainer& t, data_set& data)
      : options_(o), network_(net), trainer_(t), data_(data) {
    if (!o.log.empty()) log_.emplace(o.log);
  }

  void operator()() {
    const std::int64_t per_epoch = data_.train->batches();
    const std::int64_t epochs = options_.steps ? (*options_.steps - 1) / per_epoch + 1 : options_.epochs;
    epoch_result all;
    score test;
    for (std::int64_t epoch = 1; epoch <= epochs; ++epoch) {
      const std::int64_t left = options_.steps ? *options_.steps - all.steps : per_epoch;
      const epoch_result result = train(fmt::format("epoch {}/{}", epoch, epochs), std::min(left, per_epoch));
      all.samples += result.samples;
      all.steps += result.steps;
      all.seconds += result.seconds;
      test = evaluate(trainer_, *data_.test);
      report(epoch, epochs, result, test);
    }
    say("finished: {} step{} in {:.2f} s, {:.0f} samples/s, {}\n", all.steps, all.steps == 1 ? "" : "s", all.seconds,
        rate(all.samples, all.seconds), verdict(network_, test));
  }

 private:
  template <class... T>
  void say(fmt::format_string<T...> format, T&&... values) {
    if (options_.quiet) return;
    fmt::print(format, std::forward<T>(values)...);
    std::fflush(stdout);
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
      const double loss = trainer_.step(b);
      const auto after = steady::now();
      ++result.steps;
      ++step_;
      result.samples += b.samples;
      result.loss_sum += loss * static_cast<double>(b.samples);
      if (log_) log_->step(step_, loss, rate(b.samples, seconds_between(before, after)));
      bar.step(b.samples, loss);
      before = after;
    }
    result.seconds = seconds_between(begin, before);
    return result;
  }

  void report(std::int64_t epoch, std::int64_t epochs, const epoch_result& result, const score& test) {
    const double speed = rate(result.samples, result.seconds);
    // A regression has no accuracy: NaN, which the log writes as null.
    const double accuracy = network_.classifies ? static_cast<double>(test.correct) / static_cast<double>(test.counted)
                                                : std::numeric_limits<double>::quiet_NaN();
    if (log_)
      log_->write({{"epoch", epoch},
                   {"train_loss", result.loss()},
                   {"test_loss", test.loss_sum / test.denominator},
                   {"test_accuracy", accuracy},
                   {"samples_per_s", speed}});
    say("epoch {}/{}  loss {:.4f}  {}  {:.0f} samples/s\n", epoch, epochs, result.loss(), verdict(network_, test),
        speed);
  }

  const options& options_;
  const network& network_;
  trainer& trainer_;
  data_set& data_;
  std::optional<lockstep::step_log> log_;
  std::int64_t step_ = 0;
};

}  // namespace

void fit(const options& o, const network& net, trainer& t, data_set& data) { run(o, net, t, data)(); }

}  // namespace lockstep_train
