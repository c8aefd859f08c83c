// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lockstep/core/error.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep {

namespace detail {

/// Throws io_error `FILE: cannot WHAT: REASON` with the system's words for `code`.
[[noreturn, gnu::cold]] inline void throw_system_error(const std::string& file, std::string_view what, int code) {
  throw_io_error(file, {"cannot ", what, ": ", std::strerror(code)});
}

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

  /// Closes, and returns errno's value or 0: some file systems report a failed write only here.
  [[nodiscard]] int close() noexcept { return ::close(std::exchange(handle_, -1)) == 0 ? 0 : errno; }

 private:
  int handle_ = -1;
};

}  // namespace detail

/// A regular file open for reading from its start. Paths are POSIX paths; std::filesystem::path converts to one.
class file_reader {
 public:
  /// Throws io_error when the file is missing, unreadable or not a regular file.
  explicit file_reader(std::string path) : path_(std::move(path)) {
    // Without O_NONBLOCK, opening a pipe nobody writes to would wait for ever.
    file_ = detail::file_descriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file_.is_open()) detail::throw_system_error(path_, "open for reading", errno);
    struct ::stat status {};
    if (::fstat(file_.get(), &status) != 0) detail::throw_system_error(path_, "ask for its size", errno);
    if (S_ISDIR(status.st_mode)) detail::throw_io_error(path_, {"expected a file, got a directory"});
    if (!S_ISREG(status.st_mode))
      detail::throw_io_error(path_, {"expected a regular file, got a device, pipe or socket"});
    size_ = status.st_size;
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Length of the whole file in bytes, as it was when opened.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }

  /// Fills `destination` with the next bytes. Throws io_error when the file ends before it is full.
  void read(std::span<std::byte> destination) {
    while (!destination.empty()) {
      const auto wanted = std::min(destination.size(), largest_request);
      const ::ssize_t count = ::read(file_.get(), destination.data(), wanted);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::throw_system_error(path_, "read", errno);
      if (count == 0)
        detail::throw_io_error(path_, {"expected ", destination.size(), " more bytes, got the end of the file"});
      destination = destination.subspan(static_cast<std::size_t>(count));
    }
  }

 private:
  // Linux moves at most 2 GiB - 4 KiB a call and other systems refuse more.
  static constexpr std::size_t largest_request = std::size_t{1} << 30U;

  std::string path_;
  detail::file_descriptor file_;
  std::int64_t size_ = 0;
};

/// The bytes of a whole regular file. Throws io_error when it cannot be read or is longer than `max_bytes`; the
/// length is checked before any memory is asked for.
[[nodiscard]] inline std::vector<std::byte> read_file(const std::string& path, std::int64_t max_bytes) {
  file_reader file(path);
  if (file.size() > max_bytes)
    detail::throw_io_error(path, {"expected at most ", max_bytes, " bytes, got ", file.size()});
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
  file.read(bytes);
  return bytes;
}

/// Writes a file that appears whole or not at all. Bytes go to a temporary file in the same folder; `commit` flushes
/// it to the disk and renames it over the target. Without a commit, or when anything fails, the temporary file is
/// removed and the target is as it was. A symbolic link at the target is replaced, not followed.
class atomic_file_writer {
 public:
  /// Throws io_error when the folder is missing or cannot be written.
  explicit atomic_file_writer(std::string path) : path_(std::move(path)) {
    for (int attempt = 0; attempt < max_attempts; ++attempt) {
      temporary_ = detail::message({path_, ".", ::getpid(), ".", attempt, ".tmp"});
      file_ = detail::file_descriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (file_.is_open()) return;
      // EEXIST: another thread writes the same target, or a process that died left its file behind.
      if (errno != EEXIST) break;
    }
    const int code = errno;
    detail::throw_system_error(path_, "create a temporary file beside it", code);
  }

  atomic_file_writer(const atomic_file_writer&) = delete;
  atomic_file_writer& operator=(const atomic_file_writer&) = delete;

  ~atomic_file_writer() {
    if (!committed_) ::unlink(temporary_.c_str());
  }

  /// Appends `bytes`. Throws io_error with the system's reason (disk full, file too large).
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto wanted = std::min(bytes.size(), largest_request);
      const ::ssize_t count = ::write(file_.get(), bytes.data(), wanted);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::throw_system_error(path_, "write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }

  /// Makes the bytes written so far the content of the target. To be called once, last.
  void commit() {
    // Renaming before the data is on the disk could leave an empty target after a power cut.
    if (::fsync(file_.get()) != 0) detail::throw_system_error(path_, "flush", errno);
    if (const int code = file_.close(); code != 0) detail::throw_system_error(path_, "close", code);
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      detail::throw_system_error(path_, "rename the temporary file to it", errno);
    committed_ = true;
    flush_folder();
  }

 private:
  static constexpr int max_attempts = 1000;
  static constexpr std::size_t largest_request = std::size_t{1} << 30U;

  /// Makes the rename itself durable. The target is already whole, and some file systems refuse to flush a folder,
  /// so a failure here is no failure of the write.
  void flush_folder() const noexcept {
    const auto slash = path_.rfind('/');
    const char* const folder = slash == std::string::npos ? "." : slash == 0 ? "/" : nullptr;
    try {
      const detail::file_descriptor handle(
          ::open(folder != nullptr ? folder : path_.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (handle.is_open()) static_cast<void>(::fsync(handle.get()));
    } catch (const std::bad_alloc&) {
      return;
    }
  }

  std::string path_;
  std::string temporary_;
  detail::file_descriptor file_;
  bool committed_ = false;
};

}  // namespace lockstep
