// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

namespace lockstep {

// Constructors are cold and stay out of line: many places throw, and inlining would put a copy into each.

/// Base of every exception that lockstep throws. The message reads
/// `lockstep: WHERE: expected E, got G; ADVICE`.
class error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;

  [[gnu::cold, gnu::noinline]] error(std::string_view where, std::string_view expected, std::string_view given,
                                     std::string_view advice = {})
      : std::runtime_error(sentence(where, expected, given, advice)) {}

 private:
  [[gnu::cold, gnu::noinline]] static std::string sentence(std::string_view where, std::string_view expected,
                                                           std::string_view given, std::string_view advice) {
    std::string text{"lockstep: "};
    text.append(where).append(": expected ").append(expected).append(", got ").append(given);
    if (!advice.empty()) text.append("; ").append(advice);
    return text;
  }
};

/// Extents that do not fit each other, or whose product overflows.
class shape_error : public error {
  using error::error;
};

/// An argument outside its domain: a label that is no class, a replica that does not exist.
class value_error : public error {
  using error::error;
};

/// A vendor library refused a call.
class backend_error : public error {
  using error::error;
};

/// The operating system refused a resource, such as a thread.
class resource_error : public error {
  using error::error;
};

/// A file that cannot be read or written, or is not what it claims to be. The message begins with the file's name.
class io_error : public error {
 public:
  [[gnu::cold, gnu::noinline]] io_error(std::string_view file, std::string_view reason)
      : error(std::string("lockstep: ").append(file).append(": ").append(reason)), file_(file) {}

  [[nodiscard]] const std::string& file() const noexcept { return file_; }

 private:
  std::string file_;
};

/// Reports an exception that was thrown in a replica. The original is nested in it (std::rethrow_if_nested).
class replica_error : public error {
 public:
  [[gnu::cold, gnu::noinline]] replica_error(int replica, std::string_view reason)
      : error(std::string("lockstep: replica ").append(std::to_string(replica)).append(": ").append(reason)),
        replica_(replica) {}

  [[nodiscard]] int replica() const noexcept { return replica_; }

 private:
  int replica_;
};

}  // namespace lockstep
