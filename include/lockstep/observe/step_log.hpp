// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <lockstep/io/file.hpp>

namespace lockstep {

/// A number with its name, for a line of JSON.
class log_field {
 public:
  log_field(std::string_view name, std::int64_t value) : name_(name), whole_(value), is_whole_(true) {}
  log_field(std::string_view name, double value) : name_(name), real_(value) {}

  /// Appends `"name":value`. A double is written with the fewest digits that read back to the same bits. NaN and the
  /// infinities become null, since JSON lacks them.
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
  std::string_view name_;  // a plain identifier, which needs no escapes
  std::int64_t whole_ = 0;
  double real_ = 0;
  bool is_whole_ = false;
};

/// A file of JSON lines, each an object of numbers: one line a step and one an epoch. Each line is handed to the system
/// in one piece as soon as it is complete: a reader sees whole lines even while the file grows, or after the program
/// died.
class step_log {
 public:
  /// Creates the file, or empties it; writes into anything that is not a regular file, such as /dev/stdout or a pipe.
  /// Throws io_error when it cannot be opened for writing.
  explicit step_log(std::string path) : path_(std::move(path)), file_(detail::open_growing(path_)) {}

  step_log(const step_log&) = delete;
  step_log& operator=(const step_log&) = delete;

  /// `{"step":12,"loss":2.25,"samples_per_s":1400}`
  void step(std::int64_t number, double loss, double samples_per_s) {
    write({{"step", number}, {"loss", loss}, {"samples_per_s", samples_per_s}});
  }

  /// Writes one line with the fields in the order given. Throws io_error when it cannot be written (disk full).
  void write(std::initializer_list<log_field> fields) {
    line_.assign(1, '{');
    for (const log_field& field : fields) {
      if (line_.size() > 1) line_ += ',';
      field.append_to(line_);
    }
    line_ += "}\n";
    detail::write_fully(file_.get(), path_, std::as_bytes(std::span<const char>(line_)));
  }

 private:
  std::string path_;
  std::string line_;  // kept, so that lines after the first allocate nothing
  detail::file_descriptor file_;
};

}  // namespace lockstep
