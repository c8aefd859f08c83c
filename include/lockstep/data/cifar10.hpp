// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/cifar_records.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/io/file.hpp>

namespace lockstep::data {

/// A CIFAR-10 picture: red, green and blue planes of 32 rows and 32 columns.
using cifar10_sample = shape<3, 32, 32>;

namespace detail {

inline constexpr cifar_format cifar10_format{"CIFAR-10", 1, {10, 0}, 0};

/// The number of training files: data_batch_1.bin to data_batch_5.bin.
inline constexpr std::int64_t cifar10_parts = 5;

/// Returns the N of data_batch_N.bin, or -1 for any other name.
[[nodiscard]] inline std::int64_t cifar10_file_number(std::string_view name) {
  constexpr std::string_view prefix = "data_batch_";
  constexpr std::string_view suffix = ".bin";
  constexpr std::size_t most_digits = 18;  // any number of 18 digits fits 63 bits
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) return -1;
  const std::string_view digits = name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
  if (digits.size() > most_digits) return -1;
  std::int64_t number = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return -1;
    number = 10 * number + (digit - '0');
  }
  return number;
}

/// Returns the names data_batch_N.bin in `folder`, in order of N.
template <class = void>
[[nodiscard]] std::vector<std::string> cifar10_training_files(const std::string& folder) {
  std::vector<std::string> names;
  folder_listing listing(folder);
  for (std::string_view name; listing.next(name);)
    if (cifar10_file_number(name) >= 0 && holds_file(folder, name)) names.emplace_back(name);
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const auto a_number = cifar10_file_number(a);
    const auto b_number = cifar10_file_number(b);
    return a_number != b_number ? a_number < b_number : a < b;
  });
  return names;
}

/// Returns one line that names the training files missing from `names`; empty when data_batch_1.bin to data_batch_5.bin
/// are all there.
template <class = void>
[[nodiscard]] std::string cifar10_note(const std::string& folder, const std::vector<std::string>& names) {
  std::string missing;
  std::int64_t found = 0;
  for (std::int64_t number = 1; number <= cifar10_parts; ++number) {
    const std::string name = message({"data_batch_", number, ".bin"});
    if (std::find(names.begin(), names.end(), name) != names.end())
      ++found;
    else
      missing.append(missing.empty() ? "" : ", ").append(name);
  }
  if (missing.empty()) return {};
  return message({folder, ": found ", found, " of CIFAR-10's ", cifar10_parts, " training files, without ", missing,
                  "; training uses what is there"});
}

}  // namespace detail

/// Reads CIFAR-10's binary version from `folder`: every data_batch_N.bin in order of N (one file or more, each of one
/// record or more), test_batch.bin, and the class names in batches.meta.txt if that file exists. When some of
/// data_batch_1.bin to data_batch_5.bin are missing, `train.note()` says so in one line.
/// Throws io_error, naming the file, when there is no training file or no test file, a file is empty or its length is
/// no multiple of 3073 bytes, a label is not 0 to 9, or there are not ten class names.
/// Source: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
template <class = void>
[[nodiscard]] split<cifar10_sample> cifar10(const std::string& folder) {
  const auto file_names = detail::cifar10_training_files(folder);
  if (file_names.empty())
    throw io_error(folder, detail::holds_file(folder, "data_batch_1")
                               ? "found CIFAR-10's Python version; expected its binary version, data_batch_1.bin and "
                                 "so on"
                               : "expected CIFAR-10's data_batch_1.bin and so on, found none");
  std::vector<file_reader> train_files;
  for (const auto& name : file_names) train_files.emplace_back(detail::path_in(folder, name));
  file_reader test_file(detail::path_in(folder, "test_batch.bin"));
  std::vector<std::string> names;
  if (detail::holds_file(folder, "batches.meta.txt"))
    names =
        detail::class_names_in(detail::path_in(folder, "batches.meta.txt"), detail::cifar10_format.wanted_classes());
  // Read the small file first, so that damage there is reported before the large files are read.
  auto test = detail::cifar_records({&test_file, 1}, detail::cifar10_format, names);
  auto train = detail::cifar_records(train_files, detail::cifar10_format, names);
  train.set_note(detail::cifar10_note(folder, file_names));
  return {std::move(train), std::move(test)};
}

}  // namespace lockstep::data
