// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lockstep/io/file_descriptor.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// Finds where an output path leads: to a file that may be replaced, or to something that must be written into.

namespace lockstep {

namespace detail {

/// The place where the bytes for a path go.
struct output_target {
  std::string path;         ///< its last component is no symbolic link
  struct ::stat status {};  ///< meaningful if it exists and is no descriptor
  bool exists = false;
  bool regular = true;  ///< a regular or absent file, which may be replaced; anything else is written into
  int descriptor = -1;  ///< this process's, if the path names one: /dev/stdout, /dev/fd/3
};

/// The folder that `path` lies in, with its slash; empty for the current one.
[[nodiscard]] inline std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

/// The number of a descriptor in a path like /proc/self/fd/3 or /dev/fd/3; -1 for other paths.
[[nodiscard]] inline int own_descriptor(std::string_view path) {
  for (const std::string_view folder : {"/proc/self/fd/", "/dev/fd/"}) {
    if (path.substr(0, folder.size()) != folder) continue;
    const std::string_view digits = path.substr(folder.size());
    int number = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc{} && end == digits.data() + digits.size()) return number;
  }
  return -1;
}

/// Follows symbolic links to the target of `path`. Throws io_error for an empty path, for a folder and for links that
/// go in a circle.
[[nodiscard]] inline output_target find_output(const std::string& path) {
  if (path.empty()) throw_io_error(path, {"expected the name of a file, got nothing"});
  constexpr int most_links = 40;  // as many as Linux follows
  output_target target{.path = path};
  for (int links = 0; ::lstat(target.path.c_str(), &target.status) == 0; ++links) {
    target.exists = !S_ISLNK(target.status.st_mode);
    if (target.exists) break;
    target.descriptor = own_descriptor(target.path);
    if (target.descriptor >= 0) {
      target.exists = true;
      target.regular = false;
      return target;
    }
    if (links == most_links) throw_write_error(path, "follow its symbolic links", ELOOP);
    std::string text(PATH_MAX, '\0');
    const ::ssize_t length = ::readlink(target.path.c_str(), text.data(), text.size());
    if (length < 0) throw_write_error(path, "read its symbolic link", errno);
    text.resize(static_cast<std::size_t>(length));
    target.path = text.front() == '/' ? text : folder_of(target.path) + text;
  }
  // The text of a link in /proc need not name the file that the link leads to.
  struct ::stat led {};
  if (::stat(path.c_str(), &led) == 0 &&
      (!target.exists || led.st_dev != target.status.st_dev || led.st_ino != target.status.st_ino)) {
    target = {.path = path, .status = led, .exists = true, .regular = false};
  } else if (target.exists) {
    target.regular = S_ISREG(target.status.st_mode);
  }
  if (target.exists && S_ISDIR(target.status.st_mode)) throw_io_error(path, {"expected a file, got a directory"});
  return target;
}

/// Whether something is mounted on the file, so that no other file can replace it. False where the system cannot tell.
[[nodiscard]] inline bool is_mount_point(const std::string& path) {
#if defined(STATX_ATTR_MOUNT_ROOT)
  struct ::statx status {};
  return ::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS, &status) == 0 &&
         (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
#else
  static_cast<void>(path);
  return false;
#endif
}

/// Opens a target to write into it: a file or device, a pipe (waits for a reader), or a copy of a descriptor of this
/// process, at its position. Adds `flags` to the flags for writing, except for a descriptor.
[[nodiscard]] inline file_descriptor open_into(const std::string& path, const output_target& target, int flags = 0) {
  if (target.descriptor >= 0) {
    const int how = ::fcntl(target.descriptor, F_GETFL);
    if (how >= 0 && (how & O_ACCMODE) == O_RDONLY) throw_write_error(path, "write to what is open for reading", EBADF);
    file_descriptor copy(::fcntl(target.descriptor, F_DUPFD_CLOEXEC, 0));
    if (!copy.is_open()) throw_write_error(path, "open for writing", errno);
    return copy;
  }
  for (;;) {
    file_descriptor file(::open(target.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | flags, 0666));
    if (file.is_open()) return file;
    if (errno != EINTR) throw_write_error(path, "open for writing", errno);
  }
}

/// Opens a file that others read while it grows, such as a log. Of a regular file the first `kept` bytes stay; writes
/// into anything else.
[[nodiscard]] inline file_descriptor open_growing(const std::string& path, std::size_t kept = 0) {
  const output_target target = find_output(path);
  if (!target.regular) return open_into(path, target);
  file_descriptor file = open_into(path, target, O_CREAT | O_APPEND | (kept == 0 ? O_TRUNC : 0));
  if (kept > 0 && ::ftruncate(file.get(), static_cast<::off_t>(kept)) != 0) throw_write_error(path, "shorten", errno);
  return file;
}

}  // namespace detail

/// Throws the io_error that a write to `path` would throw, as far as that can be known without touching the file: a
/// missing folder, a missing permission, a directory. For programs that write at the end of long work. `grows`: the
/// file is written in place, as a log is, so that an existing one needs no permission to its folder.
inline void check_output(const std::string& path, bool grows = false) {
  const detail::output_target target = detail::find_output(path);
  if (target.descriptor >= 0) {
    static_cast<void>(detail::open_into(path, target));
    return;
  }
  const auto writable = [](const std::string& name) {
    return ::faccessat(AT_FDCWD, name.c_str(), W_OK, AT_EACCESS) == 0;
  };
  if (!target.regular || (target.exists && (grows || detail::is_mount_point(target.path)))) {
    if (!writable(target.path)) detail::throw_write_error(path, "open for writing", errno);
    return;
  }
  const std::string folder = detail::folder_of(target.path);
  if (!writable(folder.empty() ? "." : folder)) detail::throw_write_error(path, "write to its folder", errno);
}

}  // namespace lockstep
