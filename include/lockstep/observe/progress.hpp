// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <time.h>
#include <unistd.h>

namespace lockstep {

/// How far a run has come.
struct progress {
  std::int64_t step = 0;     ///< steps done
  std::int64_t steps = 0;    ///< steps in all
  std::int64_t samples = 0;  ///< samples trained in the steps done
  double loss = 0;           ///< of the last step
  double seconds = 0;        ///< since the first step began
};

namespace detail {

/// 59 -> `0:59`, 3725 -> `1:02:05`; `--:--` for a time that is unknown or beyond 99 hours.
[[nodiscard]] inline std::string clock_text(double seconds) {
  if (!(seconds >= 0 && seconds < 360'000)) return "--:--";
  const auto whole = static_cast<int>(seconds + 0.5);
  char text[24];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%d:%02d", whole / 60, whole % 60);
  return text;
}

}  // namespace detail

/// One line of text, at most 79 characters:
/// `epoch 1/3 [##########----------] 50/100  1234 samples/s  loss 2.3026  ETA 0:05`.
[[nodiscard]] inline std::string progress_line(std::string_view label, const progress& p) {
  constexpr std::size_t longest = 79;  // a line of 80 would wrap on an 80-column terminal
  constexpr std::size_t cells = 20;
  const double share =
      p.steps > 0 ? std::clamp(static_cast<double>(p.step) / static_cast<double>(p.steps), 0.0, 1.0) : 0.0;
  const auto full = static_cast<std::size_t>(share * static_cast<double>(cells));
  std::string line(label);
  line.append(label.empty() ? "[" : " [").append(full, '#').append(cells - full, '-').append("] ");
  line.append(std::to_string(p.step)).append("/").append(std::to_string(p.steps));
  char numbers[80];
  const double rate = p.seconds > 0 ? static_cast<double>(p.samples) / p.seconds : 0;
  std::snprintf(numbers, sizeof numbers, "  %.0f samples/s  loss %.4g  ETA ", rate, p.loss);
  const double left = p.step > 0 ? p.seconds / static_cast<double>(p.step) *
                                       static_cast<double>(std::max<std::int64_t>(p.steps - p.step, 0))
                                 : -1;
  line.append(numbers).append(detail::clock_text(left));
  if (line.size() > longest) line.resize(longest);
  return line;
}

/// When a progress_bar writes.
enum class progress_output : std::uint8_t {
  terminal,  ///< only when the file is a terminal
  always,
  never
};

/// The system's monotonic clock.
struct monotonic_clock {
  /// Nanoseconds since some moment in the past.
  [[nodiscard]] static std::int64_t nanoseconds() noexcept {
    ::timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  }
};

/// A line on a terminal that is rewritten in place while a loop runs, at most ten times a second. Borrows the file.
/// finish() and the destructor erase the line, so that later output starts on a clean line. Write errors are ignored.
template <class Clock = monotonic_clock>
class basic_progress_bar {
 public:
  /// The clock starts here. `label` stands before the bar.
  basic_progress_bar(std::FILE* file, std::string label, std::int64_t steps,
                     progress_output output = progress_output::terminal)
      : file_(file),
        label_(std::move(label)),
        start_(Clock::nanoseconds()),
        shown_(output == progress_output::always ||
               (output == progress_output::terminal && ::isatty(::fileno(file)) == 1)) {
    now_.steps = steps;
  }

  basic_progress_bar(const basic_progress_bar&) = delete;
  basic_progress_bar& operator=(const basic_progress_bar&) = delete;
  ~basic_progress_bar() { finish(); }

  /// Counts one step of `samples` samples. Costs a reading of the clock, and nothing when no line is shown.
  void step(std::int64_t samples, double loss) {
    if (!shown_) return;
    ++now_.step;
    now_.samples += samples;
    now_.loss = loss;
    const std::int64_t time = Clock::nanoseconds();
    if (drawn_ && time - last_ < interval) return;
    now_.seconds = 1e-9 * static_cast<double>(time - start_);
    const std::string line = progress_line(label_, now_);
    std::fprintf(file_, "\r%s\x1b[K", line.c_str());
    std::fflush(file_);
    last_ = time;
    drawn_ = true;
  }

  /// Erases the line.
  void finish() noexcept {
    if (!drawn_) return;
    std::fputs("\r\x1b[K", file_);
    std::fflush(file_);
    drawn_ = false;
    shown_ = false;
  }

 private:
  static constexpr std::int64_t interval = 100'000'000;  // nanoseconds between two lines

  std::FILE* file_;
  std::string label_;
  progress now_;
  std::int64_t start_;
  std::int64_t last_ = 0;
  bool shown_;
  bool drawn_ = false;
};

using progress_bar = basic_progress_bar<>;

}  // namespace lockstep
