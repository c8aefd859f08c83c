// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/progress.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;

struct manual_clock {
  static std::int64_t& time() {
    static std::int64_t value = 18'000'000'000'000;
    return value;
  }
  static std::int64_t nanoseconds() { return time(); }
  static void advance(int milliseconds) { time() += std::int64_t{milliseconds} * 1'000'000; }
};

using bar = ls::basic_progress_bar<manual_clock>;

class scratch_file {
 public:
  scratch_file() : file_(std::tmpfile()) {
    if (!file_) throw std::runtime_error("no temporary file");
  }
  [[nodiscard]] std::FILE* get() const { return file_.get(); }

  /// All that was written so far.
  [[nodiscard]] std::string text() const {
    std::string all;
    std::rewind(get());
    for (int c = std::fgetc(get()); c != EOF; c = std::fgetc(get())) all += static_cast<char>(c);
    std::fseek(get(), 0, SEEK_END);
    return all;
  }

 private:
  struct close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, close> file_;
};

}  // namespace

TEST_CASE("a progress line shows steps, speed, loss and the time left") {
  const ls::progress half{.step = 50, .steps = 100, .samples = 3200, .loss = 2.302585, .seconds = 10};
  CHECK(ls::progress_line("epoch 1/3", half) ==
        "epoch 1/3 [##########----------] 50/100  320 samples/s  loss 2.303  ETA 0:10");
  CHECK(ls::progress_line("", {.step = 1, .steps = 1, .samples = 8, .loss = 0.5, .seconds = 2}) ==
        "[####################] 1/1  4 samples/s  loss 0.5  ETA 0:00");
  CHECK(ls::progress_line("", {.step = 1, .steps = 3'726, .samples = 1, .loss = std::nan(""), .seconds = 1}) ==
        "[--------------------] 1/3726  1 samples/s  loss nan  ETA 1:02:05");
}

TEST_CASE("times left change their form at a minute, an hour and a hundred hours") {
  using ls::detail::clock_text;
  CHECK(clock_text(0) == "0:00");
  CHECK(clock_text(0.5) == "0:01");
  CHECK(clock_text(59.4) == "0:59");
  CHECK(clock_text(60) == "1:00");
  CHECK(clock_text(3'599.4) == "59:59");
  CHECK(clock_text(3'599.5) == "1:00:00");
  CHECK(clock_text(3'600) == "1:00:00");
  CHECK(clock_text(3'661) == "1:01:01");
  CHECK(clock_text(359'999) == "99:59:59");
  for (const double unknown : {360'000.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()})
    CHECK(clock_text(unknown) == "--:--");
}

TEST_CASE("a progress line stays within its bounds") {
  CHECK(ls::progress_line("", {}) == "[--------------------] 0/0  0 samples/s  loss 0  ETA --:--");
  // More steps than announced fill the bar and no more.
  CHECK(ls::progress_line("", {.step = 9, .steps = 3, .samples = 9, .loss = 1, .seconds = 9}) ==
        "[####################] 9/3  1 samples/s  loss 1  ETA 0:00");
  CHECK(ls::progress_line(std::string(200, 'x'), {}).size() == 79);
  CHECK(ls::progress_line("", {.step = 1, .steps = 1'000'000'000, .samples = 1, .loss = 1, .seconds = 1})
            .find("ETA --:--") != std::string::npos);
}

TEST_CASE("a progress bar writes at most ten times a second and then cleans up") {
  const scratch_file file;
  {
    bar b(file.get(), "train", 4, ls::progress_output::always);
    manual_clock::advance(1000);
    b.step(32, 2.0);
    CHECK(file.text() == "\rtrain [#####---------------] 1/4  32 samples/s  loss 2  ETA 0:03\x1b[K");
    manual_clock::advance(99);
    b.step(32, 1.5);
    CHECK(file.text().find("2/4") == std::string::npos);
    manual_clock::advance(1);
    b.step(32, 1.0);
    const std::string third = "\rtrain [###############-----] 3/4  87 samples/s  loss 1  ETA 0:00\x1b[K";
    const std::string all = file.text();
    REQUIRE(all.size() > third.size());
    CHECK(all.substr(all.size() - third.size()) == third);
  }
  const std::string all = file.text();
  CHECK(all.substr(all.size() - 4) == "\r\x1b[K");
}

TEST_CASE("a progress bar is silent where nobody looks") {
  const scratch_file file;
  for (const auto output : {ls::progress_output::terminal, ls::progress_output::never}) {
    bar b(file.get(), "train", 2, output);
    for (int i = 0; i < 2; ++i) {
      manual_clock::advance(500);
      b.step(1, 1);
    }
    b.finish();
  }
  CHECK(file.text().empty());
}
