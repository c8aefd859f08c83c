// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <lockstep/io/file_descriptor.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// A folder of checkpoints: the names of its files, and the lock that keeps a second writer out.

namespace lockstep::detail {

inline constexpr std::string_view checkpoint_prefix = "step-";
inline constexpr std::string_view checkpoint_suffix = ".safetensors";

/// A file in a folder of checkpoints, by its name.
struct checkpoint_name {
  std::int64_t steps = 0;
  std::string path;
};

/// The path of the checkpoint after `steps`: `step-000001500.safetensors`, so that names sort as numbers do.
[[nodiscard]] inline std::string checkpoint_path(const std::string& folder, std::int64_t steps) {
  std::string digits = std::to_string(steps);
  constexpr std::size_t width = 9;
  if (digits.size() < width) digits.insert(0, width - digits.size(), '0');
  return message({folder, "/", checkpoint_prefix, digits, checkpoint_suffix});
}

/// The number of steps that a name begins with, and what is left of the name after it; -1 for other names.
[[nodiscard]] inline std::int64_t steps_in_name(std::string_view& name) {
  if (name.substr(0, checkpoint_prefix.size()) != checkpoint_prefix) return -1;
  name.remove_prefix(checkpoint_prefix.size());
  std::int64_t steps = -1;
  const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), steps);
  if (failure != std::errc{} || steps < 0) return -1;
  name.remove_prefix(static_cast<std::size_t>(end - name.data()));
  if (name.substr(0, checkpoint_suffix.size()) != checkpoint_suffix) return -1;
  name.remove_prefix(checkpoint_suffix.size());
  return steps;
}

/// Calls f(steps, path, whether it is the temporary file of a checkpoint) for each file of a checkpoint in the folder.
/// Throws io_error when the folder cannot be read; a folder that is missing has no files.
template <class F>
void each_checkpoint(const std::string& folder, const F& f) {
  std::error_code failure;
  auto at = std::filesystem::directory_iterator(folder, failure);
  for (; !failure && at != std::filesystem::directory_iterator(); at.increment(failure)) {
    const std::string file = at->path().filename().string();
    std::string_view rest = file;
    const std::int64_t steps = steps_in_name(rest);
    constexpr std::string_view temporary = ".tmp";
    if (steps < 0) continue;
    if (rest.empty())
      f(steps, at->path().string(), false);
    else if (rest.size() > temporary.size() && rest.substr(rest.size() - temporary.size()) == temporary)
      f(steps, at->path().string(), true);
  }
  if (failure && failure != std::errc::no_such_file_or_directory)
    throw_system_error(folder, "list its checkpoints", failure.value());
}

/// The checkpoints in a folder, those of the most steps first.
[[nodiscard]] inline std::vector<checkpoint_name> list_checkpoints(const std::string& folder) {
  std::vector<checkpoint_name> all;
  each_checkpoint(folder, [&](std::int64_t steps, std::string path, bool is_temporary) {
    if (!is_temporary) all.push_back({steps, std::move(path)});
  });
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.steps > b.steps; });
  return all;
}

/// Removes a file; one that is gone already is fine. Throws io_error.
inline void remove_file(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_write_error(path, "remove", errno);
}

/// The right to write into a folder of checkpoints, which one process has at a time, for as long as it and its
/// forked children live: the system takes it back however they end.
class folder_lock {
 public:
  folder_lock() = default;

  /// Makes the folder if it is missing. Throws io_error when that fails, and when another owner has the lock.
  explicit folder_lock(const std::string& folder) {
    std::error_code failure;
    const bool is_new = std::filesystem::create_directories(folder, failure);
    if (failure && !std::filesystem::is_directory(folder))
      throw_write_error(folder, "make the folder", failure.value());
    if (is_new) flush_parent(folder);
    const std::string path = folder + "/.lock";
    file_ = file_descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!file_.is_open()) throw_write_error(path, "open for writing", errno);
    while (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK)
        throw_io_error(folder, {"expected a folder that nobody else writes checkpoints to, got one in use; give each "
                                "run a folder of its own"});
      is_held_ = false;  // a file system without locks
      return;
    }
    is_held_ = true;
  }

  /// False where the file system has no locks.
  [[nodiscard]] bool is_held() const noexcept { return is_held_; }

 private:
  /// Puts the folder's name on the disk, as far as the system lets it.
  static void flush_parent(const std::string& folder) {
    const std::string parent = std::filesystem::absolute(folder + "/").parent_path().parent_path().string();
    const file_descriptor handle(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (handle.is_open()) static_cast<void>(::fsync(handle.get()));
  }

  file_descriptor file_;
  bool is_held_ = false;
};

}  // namespace lockstep::detail
