// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>

namespace lockstep_test {

using bytes = std::vector<std::uint8_t>;

/// A new empty folder, removed with all it holds.
class temporary_folder {
 public:
  temporary_folder() {
    std::random_device device;
    do path_ = std::filesystem::temp_directory_path() / ("lockstep-" + std::to_string(device()));
    while (!std::filesystem::create_directory(path_));
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  void write(const std::string& name, const bytes& content) const {
    std::ofstream file(path_ / name, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    file.close();
    if (!file) throw std::runtime_error("cannot write " + (path_ / name).string());
  }

  void write(const std::string& name, const std::string& content) const {
    write(name, bytes(content.begin(), content.end()));
  }

  void remove(const std::string& name) const { std::filesystem::remove_all(path_ / name); }

 private:
  std::filesystem::path path_;
};

/// The message of the Error that `action` throws, or a text no message equals. Other exceptions pass.
template <class Error, class Action>
[[nodiscard]] std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

template <class Action>
[[nodiscard]] std::string io_error_of(Action&& action) {
  return error_of<lockstep::io_error>(action);
}

/// Empty when `text` holds every part; else says which it lacks.
[[nodiscard]] inline std::string lacking(const std::string& text, const std::vector<std::string>& parts) {
  std::string result;
  for (const std::string& part : parts)
    if (text.find(part) == std::string::npos) result += "\"" + part + "\" is not in \"" + text + "\"; ";
  return result;
}

[[nodiscard]] inline bytes random_bytes(std::size_t count, std::uint32_t seed) {
  std::mt19937 engine(seed);
  bytes result(count);
  for (auto& byte : result) byte = static_cast<std::uint8_t>(engine());
  return result;
}

}  // namespace lockstep_test
