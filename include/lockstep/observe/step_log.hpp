// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <lockstep/core/error.hpp>

namespace lockstep {

/// A number with its name, as it stands in a line of JSON.
class log_field {
 public:
  log_field(std::string_view name, std::int64_t value) : name_(name), whole_(value), is_whole_(true) {}
  log_field(std::string_view name, double value) : name_(name), real_(value) {}

  /// Appends `"name":value`. A double is written with the fewest digits that read back to the same bits; NaN and the
  /// infinities, which JSON lacks, become null.
  void append_to(std::string& line) const {
    line.append("\"").append(name_).append("\":");
    char digits[40];
    if (!is_whole_ && !std::isfinite(real_)) {
      line.append("null");
      return;
    }
    const auto end = is_whole_ ? std::to_chars(digits, digits + sizeof digits, whole_)
                               : std::to_chars(digits, digits + sizeof digits, real_);
    line.append(digits, end.ptr);
  }

 private:
  std::string_view name_;  // a plain identifier: nothing in it needs an escape
  std::int64_t whole_ = 0;
  double real_ = 0;
  bool is_whole_ = false;
};

/// A file of JSON lines, one object of numbers each: a line a step and a line an epoch. Each line goes to the system
/// in one piece as soon as it is known, so a reader of a growing file, or of one whose program died, sees whole lines.
class step_log {
 public:
  /// Creates the file, or empties it. Throws io_error when it cannot be opened for writing.
  explicit step_log(std::string path)
      : path_(std::move(path)),
        file_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666)) {
    if (file_ < 0) fail("it cannot be opened for writing: ");
  }

  step_log(const step_log&) = delete;
  step_log& operator=(const step_log&) = delete;
  ~step_log() { ::close(file_); }

  /// `{"step":12,"loss":2.25,"samples_per_s":1400}`
  void step(std::int64_t number, double loss, double samples_per_s) {
    write({{"step", number}, {"loss", loss}, {"samples_per_s", samples_per_s}});
  }

  /// One line with the fields in the order given. Throws io_error when it cannot be written (disk full).
  void write(std::initializer_list<log_field> fields) {
    line_.assign(1, '{');
    for (const log_field& field : fields) {
      if (line_.size() > 1) line_ += ',';
      field.append_to(line_);
    }
    line_ += "}\n";
    std::string_view rest = line_;
    while (!rest.empty()) {
      const ::ssize_t count = ::write(file_, rest.data(), rest.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("a line cannot be written: ");
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw io_error(path_, std::string(what).append(std::strerror(errno)));
  }

  std::string path_;
  std::string line_;  // kept, so that lines after the first allocate nothing
  int file_;
};

}  // namespace lockstep
