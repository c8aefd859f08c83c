// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <lockstep/core/error.hpp>

namespace lockstep::data::detail {

/// A regular file opened for reading, whose size is known before memory is asked for it.
class input_file {
 public:
  /// Throws io_error when the path is missing, is no regular file, or cannot be opened.
  explicit input_file(const std::filesystem::path& path) : name_(path.string()) {
    std::error_code code;
    const auto status = std::filesystem::status(path, code);
    if (status.type() == std::filesystem::file_type::none) fail("it cannot be reached: " + code.message());
    if (!std::filesystem::exists(status)) fail("expected a file, found nothing of that name");
    if (!std::filesystem::is_regular_file(status)) fail("expected a regular file, found something else");
    size_ = std::filesystem::file_size(path, code);
    if (code) fail("its size cannot be read: " + code.message());
    handle_.reset(std::fopen(name_.c_str(), "rb"));
    if (!handle_) fail("it cannot be opened for reading; check its permissions");
  }

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

  /// Fills `bytes` from the current position. Throws io_error when the file ends first.
  void read(std::span<std::uint8_t> bytes) {
    if (std::fread(bytes.data(), 1, bytes.size(), handle_.get()) != bytes.size())
      fail("it could not be read to its end of " + std::to_string(size_) +
           " bytes; the disk failed or the file changed");
  }

  [[noreturn]] void fail(std::string_view reason) const { throw io_error(name_, reason); }

 private:
  struct close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  std::string name_;
  std::uint64_t size_ = 0;
  std::unique_ptr<std::FILE, close> handle_;
};

/// Throws io_error unless `folder` is an existing folder that can be listed.
inline void require_folder(const std::filesystem::path& folder) {
  std::error_code code;
  const auto status = std::filesystem::status(folder, code);
  if (status.type() == std::filesystem::file_type::none)
    throw io_error(folder.string(), "the folder cannot be reached: " + code.message());
  if (!std::filesystem::exists(status))
    throw io_error(folder.string(), "expected a folder, found nothing of that name");
  if (!std::filesystem::is_directory(status)) throw io_error(folder.string(), "expected a folder, found a file");
  const std::filesystem::directory_iterator listing(folder, code);
  if (code) throw io_error(folder.string(), "the folder cannot be listed: " + code.message());
}

/// Whether anything of that name lies in `folder`.
[[nodiscard]] inline bool holds(const std::filesystem::path& folder, std::string_view name) {
  std::error_code code;
  return std::filesystem::exists(folder / name, code);
}

}  // namespace lockstep::data::detail
