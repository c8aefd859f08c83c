// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <lockstep/io/file.hpp>
#include <lockstep/io/output_target.hpp>

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

/// How far a run is that goes on: the lines of its log up to here stay.
struct log_place {
  std::int64_t steps = 0;
  std::int64_t epochs = 0;  ///< that are complete
};

namespace detail {

/// The number after `{"key":` at the beginning of a line; -1 when it begins otherwise.
[[nodiscard]] inline std::int64_t number_in_line(std::string_view line, std::string_view beginning) {
  if (line.substr(0, beginning.size()) != beginning) return -1;
  std::int64_t number = -1;
  std::from_chars(line.data() + beginning.size(), line.data() + line.size(), number);
  return number;
}

/// The length of a log up to the first line of a later step or epoch, or that was not written to its end.
[[nodiscard]] inline std::size_t kept_bytes(std::string_view log, const log_place& at) {
  for (std::size_t begin = 0;;) {
    const std::size_t end = log.find('\n', begin);
    if (end == std::string_view::npos) return begin;
    const std::string_view line = log.substr(begin, end - begin);
    if (number_in_line(line, "{\"step\":") > at.steps || number_in_line(line, "{\"epoch\":") > at.epochs) return begin;
    begin = end + 1;
  }
}

/// The same for a file; 0 for one that is missing or no regular file.
[[nodiscard]] inline std::size_t kept_bytes_of(const std::string& path, const log_place& at) {
  const output_target target = find_output(path);
  if (!target.exists || !target.regular) return 0;
  const auto bytes = read_file(path, (std::numeric_limits<std::int64_t>::max)());
  return kept_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, at);
}

}  // namespace detail

/// A file of JSON lines, each an object of numbers: one line a step and one an epoch. Each line is handed to the system
/// in one piece as soon as it is complete: a reader sees whole lines even while the file grows, or after the program
/// died.
class step_log {
 public:
  /// Creates the file, or empties it; writes into anything that is not a regular file, such as /dev/stdout or a pipe.
  /// Throws io_error when it cannot be opened for writing.
  explicit step_log(std::string path) : path_(std::move(path)), file_(detail::open_growing(path_)) {}

  /// Goes on with the log of a run that is resumed: keeps its lines up to there, and drops those of later steps and
  /// epochs, which come again. Throws io_error as above, and when an existing file cannot be read.
  step_log(std::string path, const log_place& at)
      : path_(std::move(path)), file_(detail::open_growing(path_, detail::kept_bytes_of(path_, at))) {}

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
