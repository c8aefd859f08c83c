// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lockstep/core/error.hpp>
#include <lockstep/io/file_descriptor.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/output_target.hpp>

namespace lockstep {

/// A regular file open for reading from its start. Paths are POSIX paths; std::filesystem::path converts to one.
class file_reader {
 public:
  /// Throws io_error when the file is missing, unreadable or not a regular file.
  explicit file_reader(std::string path) : path_(std::move(path)) {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
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

  /// Length of the whole file in bytes when it was opened.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }

  /// Fills `destination` with the next bytes. Throws io_error when the file ends before `destination` is full.
  void read(std::span<std::byte> destination) {
    while (!destination.empty()) {
      const auto wanted = (std::min)(destination.size(), detail::largest_request);
      const ::ssize_t count = ::read(file_.get(), destination.data(), wanted);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) detail::throw_system_error(path_, "read", errno);
      if (count == 0)
        detail::throw_io_error(path_, {"expected ", destination.size(), " more bytes, got the end of the file"});
      destination = destination.subspan(static_cast<std::size_t>(count));
    }
  }

 private:
  std::string path_;
  detail::file_descriptor file_;
  std::int64_t size_ = 0;
};

/// The bytes of a whole regular file. Throws io_error when it cannot be read or is longer than `max_bytes`, and checks
/// the length before it allocates memory.
[[nodiscard]] inline std::vector<std::byte> read_file(const std::string& path, std::int64_t max_bytes) {
  file_reader file(path);
  if (file.size() > max_bytes)
    detail::throw_io_error(path, {"expected at most ", max_bytes, " bytes, got ", file.size()});
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
  file.read(bytes);
  return bytes;
}

/// Writes a file. A regular file appears whole or not at all: the bytes go to a temporary file in the same folder, and
/// `commit` flushes it to the disk and renames it over the target. Without a commit, or when anything fails, the
/// temporary file is removed and the target is as it was. The new file has the mode of the file it replaces, and its
/// owner and group where the system allows it; other hard links to the old file keep the old bytes.
///
/// A symbolic link stays, and the file it leads to is replaced. A device (/dev/stdout, /dev/null) or pipe is never
/// replaced but written into; the constructor waits for a pipe's reader. A file on which something is mounted cannot be
/// replaced either: `commit` copies the bytes into it, and if that fails keeps the temporary file and names it in the
/// error. Where the folder takes no temporary file, the constructor empties the mounted file and `write` fills it.
class atomic_file_writer {
 public:
  /// Throws io_error when the folder is missing or not writable, when the path is a folder, and when a device or pipe
  /// cannot be opened.
  explicit atomic_file_writer(std::string path) : path_(std::move(path)), target_(detail::find_output(path_)) {
    if (!target_.regular) {
      file_ = detail::open_into(path_, target_);
      return;
    }
    if (const int code = create_temporary(); code != 0) {
      temporary_.clear();
      // The folder around a file on which something is mounted is often not writable.
      if (!target_.exists || !detail::is_mount_point(target_.path))
        detail::throw_write_error(path_, "create a temporary file beside it", code);
      file_ = detail::open_into(path_, target_, O_TRUNC);
    }
  }

  atomic_file_writer(const atomic_file_writer&) = delete;
  atomic_file_writer& operator=(const atomic_file_writer&) = delete;

  ~atomic_file_writer() {
    if (!temporary_.empty() && !keep_temporary_) ::unlink(temporary_.c_str());
  }

  /// Appends `bytes`. Throws io_error with the system's reason (disk full, file too large).
  void write(std::span<const std::byte> bytes) {
    const bool failed_before = std::exchange(failed_, true);
    detail::write_fully(file_.get(), path_, bytes);
    failed_ = failed_before;
  }

  /// Makes the bytes written so far the content of the target. Call it once, last. Throws io_error, also when a write
  /// has failed before.
  void commit() {
    if (failed_)
      throw io_error(path_, "expected bytes that were all written, got a write that failed; write the file anew");
    flush(file_);
    if (temporary_.empty()) return;
    // The data reaches the disk before the rename; otherwise a power cut could leave an empty target.
    if (std::rename(temporary_.c_str(), target_.path.c_str()) == 0) {
      keep_temporary_ = true;
      flush_folder();
    } else if (errno == EBUSY || errno == EXDEV) {
      copy_into_target();
    } else {
      detail::throw_write_error(path_, "rename the temporary file to it", errno);
    }
  }

 private:
  /// Returns 0, or errno's value on failure.
  [[nodiscard]] int create_temporary() {
    constexpr int max_attempts = 1000;
    constexpr std::size_t longest_name = 200;  // file systems take 255 bytes, suffix included
    const std::string folder = detail::folder_of(target_.path);
    const std::string name = target_.path.substr(folder.size(), longest_name);
    for (int attempt = 0; attempt < max_attempts; ++attempt) {
      temporary_ = detail::message({folder, name, ".", ::getpid(), ".", attempt, ".tmp"});
      // The old file may be unreadable to others, so they must not read the new one before it has the old mode.
      file_ = detail::file_descriptor(
          ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, target_.exists ? 0600 : 0666));
      if (file_.is_open()) {
        if (target_.exists) take_identity();
        return 0;
      }
      // EEXIST: another thread writes the same target, or a process that died left its file behind.
      if (errno != EEXIST) return errno;
    }
    return EEXIST;
  }

  /// Gives the temporary file the target's owner, group and mode, as far as the system lets it.
  void take_identity() noexcept {
    const struct ::stat& old = target_.status;
    ::mode_t mode = old.st_mode & 07777U;
    if (::fchown(file_.get(), old.st_uid, old.st_gid) != 0) {
      // A set-user-ID program must not run as its new owner.
      mode &= ~static_cast<::mode_t>(S_ISUID | S_ISGID);
      if (::fchown(file_.get(), static_cast<::uid_t>(-1), old.st_gid) != 0) mode &= 0777U;
    }
    static_cast<void>(::fchmod(file_.get(), mode));
  }

  /// Flushes the bytes to the disk and closes the file.
  void flush(detail::file_descriptor& file) const {
    // Pipes and terminals have nothing to flush, and fsync fails on them.
    if (::fsync(file.get()) != 0 && (!temporary_.empty() || (errno != EINVAL && errno != EROFS && errno != ENOTSUP)))
      detail::throw_write_error(path_, "flush", errno);
    if (const int code = file.close(); code != 0) detail::throw_write_error(path_, "close", code);
  }

  /// Copies the temporary file into a target that cannot be replaced. When that fails, the temporary file stays.
  void copy_into_target() {
    keep_temporary_ = true;
    try {
      const auto source = detail::file_descriptor(::open(temporary_.c_str(), O_RDONLY | O_CLOEXEC));
      if (!source.is_open()) detail::throw_write_error(path_, "read the temporary file", errno);
      std::vector<std::byte> piece(std::size_t{1} << 20U);  // before the target is emptied
      detail::file_descriptor target = detail::open_into(path_, target_, O_TRUNC);
      for (;;) {
        const ::ssize_t count = ::read(source.get(), piece.data(), piece.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) detail::throw_write_error(path_, "read the temporary file", errno);
        if (count == 0) break;
        detail::write_fully(target.get(), path_, std::span(piece).first(static_cast<std::size_t>(count)));
      }
      flush(target);
    } catch (const io_error& error) {
      throw io_error(path_, detail::message({detail::reason_of(error), "; the whole file is kept as ", temporary_}));
    }
    keep_temporary_ = false;
  }

  /// Makes the rename durable. The target is already whole, and some file systems refuse to flush a folder, so a
  /// failure here is not a failure of the write.
  void flush_folder() const noexcept {
    try {
      const std::string folder = detail::folder_of(target_.path);
      const detail::file_descriptor handle(
          ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (handle.is_open()) static_cast<void>(::fsync(handle.get()));
    } catch (const std::bad_alloc&) {
      return;
    }
  }

  std::string path_;
  detail::output_target target_;
  std::string temporary_;  // empty when the bytes go straight into the target
  detail::file_descriptor file_;
  bool keep_temporary_ = false;
  bool failed_ = false;  ///< a write has
};

/// Makes `bytes` the content of the file through an atomic_file_writer. Throws io_error when that fails.
inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
  atomic_file_writer file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace lockstep
