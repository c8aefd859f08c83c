// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <sys/stat.h>

#include <lockstep/core/error.hpp>
#include <lockstep/io/file.hpp>

namespace lockstep::data::detail {

using lockstep::detail::message;
using lockstep::detail::throw_io_error;
using lockstep::detail::throw_system_error;

[[nodiscard]] inline std::string path_in(const std::string& folder, std::string_view name) {
  std::string path(folder);
  if (!path.empty() && path.back() != '/') path += '/';
  path.append(name);
  return path;
}

/// An open folder, whose entries are read one by one.
class folder_listing {
 public:
  /// Throws io_error unless `folder` is an existing folder that can be listed.
  explicit folder_listing(const std::string& folder) : folder_(folder), handle_(::opendir(folder_.c_str())) {
    if (handle_ != nullptr) return;
    if (errno == ENOENT) throw_io_error(folder_, {"expected a folder, found nothing of that name"});
    if (errno == ENOTDIR) throw_io_error(folder_, {"expected a folder, found a file"});
    throw_system_error(folder_, "list the folder", errno);
  }

  folder_listing(const folder_listing&) = delete;
  folder_listing& operator=(const folder_listing&) = delete;
  ~folder_listing() { ::closedir(handle_); }

  /// Sets `name` to the next entry and returns true, or returns false at the end. Skips `.` and `..`.
  [[nodiscard]] bool next(std::string_view& name) {
    for (;;) {
      errno = 0;
      const ::dirent* const entry = ::readdir(handle_);
      if (entry == nullptr && errno != 0) throw_system_error(folder_, "list the folder", errno);
      if (entry == nullptr) return false;
      name = entry->d_name;
      if (name != "." && name != "..") return true;
    }
  }

 private:
  std::string folder_;
  ::DIR* handle_;
};

/// Throws io_error unless `folder` is an existing folder that can be listed.
inline void require_folder(const std::string& folder) { static_cast<void>(folder_listing(folder)); }

/// Whether there is something of that name, and no folder.
[[nodiscard]] inline bool is_other_than_folder(const std::string& path) {
  struct ::stat status {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode);
}

/// Whether `folder` holds a file of that name. A folder of that name does not count: archives are often unpacked into
/// one.
[[nodiscard]] inline bool holds_file(const std::string& folder, std::string_view name) {
  return is_other_than_folder(path_in(folder, name));
}

/// Whether `folder` holds a folder of that name.
[[nodiscard]] inline bool holds_folder(const std::string& folder, std::string_view name) {
  struct ::stat status {};
  return ::stat(path_in(folder, name).c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

}  // namespace lockstep::data::detail
