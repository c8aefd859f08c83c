// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/io/file.hpp>

namespace lockstep::data {

/// A CIFAR-10 picture: red, green and blue planes of 32 rows and 32 columns.
using cifar10_sample = shape<3, 32, 32>;

namespace detail {

inline constexpr std::int64_t cifar10_classes = 10;
inline constexpr std::size_t cifar10_record = 1 + 3 * 32 * 32;

/// The N of data_batch_N.bin, or -1 for any other name.
[[nodiscard]] inline std::int64_t cifar10_file_number(std::string_view name) {
  constexpr std::string_view prefix = "data_batch_";
  constexpr std::string_view suffix = ".bin";
  constexpr std::size_t most_digits = 18;  // of which every number fits 63 bits
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

/// The names data_batch_N.bin in `folder`, by rising N.
template <class = void>
[[nodiscard]] std::vector<std::string> cifar10_training_files(const std::string& folder) {
  std::vector<std::string> names;
  folder_listing listing(folder);
  for (std::string_view name; listing.next(name);)
    if (cifar10_file_number(name) >= 0) names.emplace_back(name);
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const auto a_number = cifar10_file_number(a);
    const auto b_number = cifar10_file_number(b);
    return a_number != b_number ? a_number < b_number : a < b;
  });
  return names;
}

/// The names in batches.meta.txt, one a line.
template <class = void>
[[nodiscard]] std::vector<std::string> cifar10_names(const std::string& path) {
  constexpr std::int64_t longest = 4096;
  file_reader file(path);
  if (file.size() > longest)
    throw_io_error(path, {"expected ten class names in at most ", longest, " bytes, got ", file.size(), " bytes"});
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(std::as_writable_bytes(std::span(text)));
  std::vector<std::string> names(1);
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte == '\n')
      names.emplace_back();
    else if (byte >= 0x20 && byte != 0x7f)
      names.back() += letter;
    else if (byte != '\r')
      throw_io_error(path, {"expected ten class names, one a line, got the control character ", byte});
  }
  std::erase_if(names, [](const std::string& name) { return name.empty(); });
  if (static_cast<std::int64_t>(names.size()) != cifar10_classes)
    throw_io_error(path, {"expected ten class names, one a line, got ", names.size()});
  return names;
}

template <class = void>
[[nodiscard]] dataset<cifar10_sample> cifar10_records(std::span<file_reader> files,
                                                      const std::vector<std::string>& names) {
  std::size_t records = 0;
  for (const file_reader& file : files) {
    const auto size = static_cast<std::size_t>(file.size());
    if (size == 0 || size % cifar10_record != 0)
      throw_io_error(file.path(),
                     {"expected CIFAR-10 records of ", cifar10_record, " bytes, one or more, got ", size, " bytes (",
                      size % cifar10_record, " left over); the file is truncated, damaged or something else"});
    records += size / cifar10_record;
  }
  constexpr std::size_t most_at_once = 128;
  std::vector<std::uint8_t> block(std::min(records, most_at_once) * cifar10_record);
  std::vector<std::uint8_t> pixels(records * (cifar10_record - 1));
  std::vector<std::int64_t> labels;
  labels.reserve(records);
  std::uint8_t* out = pixels.data();
  for (file_reader& file : files) {
    const std::size_t in_file = static_cast<std::size_t>(file.size()) / cifar10_record;
    for (std::size_t first = 0; first < in_file; first += most_at_once) {
      const std::size_t count = std::min(in_file - first, most_at_once);
      file.read(std::as_writable_bytes(std::span(block.data(), count * cifar10_record)));
      for (std::size_t i = 0; i < count; ++i, out += cifar10_record - 1) {
        const std::uint8_t* const record = block.data() + i * cifar10_record;
        if (record[0] >= cifar10_classes)
          throw_io_error(file.path(), {"expected labels from 0 to 9, got ", record[0], " in record ", first + i,
                                       "; the file is damaged or no CIFAR-10"});
        labels.push_back(record[0]);
        std::memcpy(out, record + 1, cifar10_record - 1);
      }
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
template <class = void>
[[nodiscard]] split<cifar10_sample> cifar10(const std::string& folder) {
  const auto file_names = detail::cifar10_training_files(folder);
  if (file_names.empty())
    throw io_error(folder, detail::holds(folder, "data_batch_1")
                               ? "found CIFAR-10's Python version; expected its binary version, data_batch_1.bin and "
                                 "so on"
                               : "expected CIFAR-10's data_batch_1.bin and so on, found none");
  std::vector<file_reader> train;
  for (const auto& name : file_names) train.emplace_back(detail::path_in(folder, name));
  file_reader test(detail::path_in(folder, "test_batch.bin"));
  std::vector<std::string> names;
  if (detail::holds(folder, "batches.meta.txt"))
    names = detail::cifar10_names(detail::path_in(folder, "batches.meta.txt"));
  // The small file first: damage there is reported before the large ones are read.
  auto test_set = detail::cifar10_records({&test, 1}, names);
  return {detail::cifar10_records(train, names), std::move(test_set)};
}

}  // namespace lockstep::data
