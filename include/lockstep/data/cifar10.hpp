// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/file.hpp>

namespace lockstep::data {

/// A CIFAR-10 picture: red, green and blue planes of 32 rows and 32 columns.
using cifar10_sample = shape<3, 32, 32>;

namespace detail {

inline constexpr std::int64_t cifar10_classes = 10;
inline constexpr std::uint64_t cifar10_record = 1 + 3 * 32 * 32;

/// The `data_batch_N.bin` in `folder`, by rising N.
[[nodiscard]] inline std::vector<std::filesystem::path> cifar10_training_files(const std::filesystem::path& folder) {
  constexpr std::string_view prefix = "data_batch_";
  constexpr std::string_view suffix = ".bin";
  std::vector<std::pair<std::uint64_t, std::filesystem::path>> found;
  std::error_code code;
  for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) continue;
    const char* const last = name.data() + name.size() - suffix.size();
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(name.data() + prefix.size(), last, number);
    if (parsed.ec == std::errc{} && parsed.ptr == last) found.emplace_back(number, entry->path());
  }
  if (code) throw io_error(folder.string(), "the folder cannot be listed: " + code.message());
  std::sort(found.begin(), found.end());
  std::vector<std::filesystem::path> files;
  for (auto& [number, path] : found) files.push_back(std::move(path));
  return files;
}

/// The names in batches.meta.txt, one a line.
[[nodiscard]] inline std::vector<std::string> cifar10_names(const std::filesystem::path& path) {
  constexpr std::uint64_t longest = 4096;
  input_file file(path);
  if (file.size() > longest)
    file.fail("expected ten class names in at most " + std::to_string(longest) + " bytes, got " +
              std::to_string(file.size()) + " bytes");
  std::vector<std::uint8_t> bytes(file.size());
  file.read(bytes);
  std::vector<std::string> names(1);
  for (const std::uint8_t byte : bytes) {
    if (byte == '\n')
      names.emplace_back();
    else if (byte >= 0x20 && byte != 0x7f)
      names.back() += static_cast<char>(byte);
    else if (byte != '\r')
      file.fail("expected ten class names, one a line, got the control character " + std::to_string(int{byte}));
  }
  std::erase_if(names, [](const std::string& name) { return name.empty(); });
  if (static_cast<std::int64_t>(names.size()) != cifar10_classes)
    file.fail("expected ten class names, one a line, got " + std::to_string(names.size()));
  return names;
}

[[nodiscard]] inline dataset<cifar10_sample> cifar10_records(std::span<input_file> files,
                                                             const std::vector<std::string>& names) {
  std::uint64_t records = 0;
  for (const input_file& file : files) {
    if (file.size() == 0 || file.size() % cifar10_record != 0)
      file.fail("expected CIFAR-10 records of " + std::to_string(cifar10_record) + " bytes, one or more, got " +
                std::to_string(file.size()) + " bytes (" + std::to_string(file.size() % cifar10_record) +
                " left over); the file is truncated, damaged or something else");
    records += file.size() / cifar10_record;
  }
  std::vector<std::uint8_t> pixels(records * (cifar10_record - 1));
  std::vector<std::int64_t> labels;
  labels.reserve(records);
  std::span<std::uint8_t> rest(pixels);
  for (input_file& file : files) {
    for (std::uint64_t record = 0; record < file.size() / cifar10_record; ++record) {
      std::uint8_t label = 0;
      file.read({&label, 1});
      if (label >= cifar10_classes)
        file.fail("expected labels from 0 to 9, got " + std::to_string(int{label}) + " in record " +
                  std::to_string(record) + "; the file is damaged or no CIFAR-10");
      labels.push_back(label);
      file.read(rest.first(cifar10_record - 1));
      rest = rest.subspan(cifar10_record - 1);
    }
  }
  return {std::move(pixels), std::move(labels), cifar10_classes, names};
}

}  // namespace detail

/// Reads CIFAR-10's binary version from `folder`: every data_batch_N.bin by rising N (one or more, each of any
/// number of records), test_batch.bin, and the class names of batches.meta.txt where there is one.
/// Throws io_error, naming the file, when one is missing, its length is no multiple of 3073 bytes, or a label is
/// not 0 to 9.
/// Source: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
[[nodiscard]] inline split<cifar10_sample> cifar10(const std::filesystem::path& folder) {
  detail::require_folder(folder);
  const auto paths = detail::cifar10_training_files(folder);
  if (paths.empty())
    throw io_error(folder.string(),
                   detail::holds(folder, "data_batch_1")
                       ? "found CIFAR-10's Python version; expected its binary version, data_batch_1.bin and "
                         "so on"
                       : "expected CIFAR-10's data_batch_1.bin and so on, found none");
  std::vector<detail::input_file> train;
  for (const auto& path : paths) train.emplace_back(path);
  detail::input_file test(folder / "test_batch.bin");
  std::vector<std::string> names;
  if (detail::holds(folder, "batches.meta.txt")) names = detail::cifar10_names(folder / "batches.meta.txt");
  // The small file first: damage there is reported before the large ones are read.
  auto test_set = detail::cifar10_records({&test, 1}, names);
  return {detail::cifar10_records(train, names), std::move(test_set)};
}

}  // namespace lockstep::data
