// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include <lockstep/core/error.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// The system's file calls, with errors in words.

namespace lockstep::detail {

/// Throws io_error `FILE: cannot WHAT: REASON` with the system's words for `code`.
[[noreturn, gnu::cold]] inline void throw_system_error(const std::string& file, std::string_view what, int code) {
  throw_io_error(file, {"cannot ", what, ": ", std::strerror(code)});
}

/// Advice for a write that failed with `code`; empty when there is none.
[[nodiscard]] inline std::string_view write_remedy(int code) {
  switch (code) {
    case ENOENT:
      return "; make its folder first";
    case ENOTDIR:
      return "; what should be its folder is a file: choose another path";
    case EACCES:
    case EPERM:
      return "; choose a place that you may write to";
    case EROFS:
      return "; its file system is read-only: choose another place";
    case ENOSPC:
    case EDQUOT:
      return "; free some space or choose another disk";
    case EFBIG:
      return "; raise the limit of file sizes (ulimit -f)";
    case EPIPE:
      return "; its reader has gone: keep it until all is written";
    case ENXIO:
      return "; nothing takes what is written there: choose a file";
    case ELOOP:
      return "; its symbolic links lead in a circle";
    case ENAMETOOLONG:
      return "; choose a shorter name";
    case EBADF:
      return "; name what is open for writing";
    default:
      return {};
  }
}

/// As throw_system_error, with write_remedy's advice.
[[noreturn, gnu::cold]] inline void throw_write_error(const std::string& file, std::string_view what, int code) {
  throw_io_error(file, {"cannot ", what, ": ", std::strerror(code), write_remedy(code)});
}

/// The part of an io_error's text after the name of its file.
[[nodiscard]] inline std::string reason_of(const io_error& error) {
  constexpr std::string_view before = "lockstep: ";
  return std::string(error.what()).substr(before.size() + error.file().size() + 2);
}

/// Most bytes to pass to one system call: Linux moves at most 2 GiB - 4 KiB at once, and other systems refuse more.
inline constexpr std::size_t largest_request = std::size_t{1} << 30U;

/// Owns a file descriptor.
class file_descriptor {
 public:
  file_descriptor() = default;
  explicit file_descriptor(int handle) : handle_(handle) {}
  file_descriptor(file_descriptor&& other) noexcept : handle_(std::exchange(other.handle_, -1)) {}
  file_descriptor& operator=(file_descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~file_descriptor() {
    if (handle_ >= 0) ::close(handle_);
  }

  [[nodiscard]] int get() const noexcept { return handle_; }
  [[nodiscard]] bool is_open() const noexcept { return handle_ >= 0; }

  /// Closes the file; returns 0, or errno's value on failure. Some file systems report a failed write only here.
  [[nodiscard]] int close() noexcept { return ::close(std::exchange(handle_, -1)) == 0 ? 0 : errno; }

 private:
  int handle_ = -1;
};

/// Writes all of `bytes`, in as many calls as that takes. Throws io_error about `path` when a call fails.
inline void write_fully(int file, const std::string& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ::ssize_t count = ::write(file, bytes.data(), (std::min)(bytes.size(), largest_request));
    if (count >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {  // a pipe or terminal that another program made non-blocking
      ::pollfd room{.fd = file, .events = POLLOUT, .revents = 0};
      static_cast<void>(::poll(&room, 1, -1));
    } else if (errno != EINTR) {
      throw_write_error(path, "write", errno);
    }
  }
}

}  // namespace lockstep::detail
