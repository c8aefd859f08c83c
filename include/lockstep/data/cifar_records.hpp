// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/io/file.hpp>

/// \file
/// What the binary versions of CIFAR-10 and CIFAR-100 have in common: records of some label bytes and 3x32x32 pixels.

namespace lockstep::data::detail {

inline constexpr std::size_t cifar_pixels = 3 * 32 * 32;

struct cifar_format {
  std::string_view name;
  std::size_t label_bytes;
  std::array<std::int64_t, 2> classes;  // of each label byte
  std::size_t label;                    // index of the label byte to read

  [[nodiscard]] constexpr std::size_t record() const { return label_bytes + cifar_pixels; }
  [[nodiscard]] constexpr std::int64_t wanted_classes() const { return classes[label]; }
};

/// Reads the class names in a text file, one a line. Throws io_error unless there are `count`.
template <class = void>
[[nodiscard]] std::vector<std::string> class_names_in(const std::string& path, std::int64_t count) {
  constexpr std::int64_t longest = 4096;
  file_reader file(path);
  if (file.size() > longest)
    throw_io_error(path,
                   {"expected ", count, " class names in at most ", longest, " bytes, got ", file.size(), " bytes"});
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
      throw_io_error(path, {"expected ", count, " class names, one a line, got the control character ", byte});
  }
  std::erase_if(names, [](const std::string& name) { return name.empty(); });
  if (static_cast<std::int64_t>(names.size()) != count)
    throw_io_error(path, {"expected ", count, " class names, one a line, got ", names.size()});
  return names;
}

template <class = void>
[[nodiscard]] dataset<shape<3, 32, 32>> cifar_records(std::span<file_reader> files, const cifar_format& format,
                                                      const std::vector<std::string>& names) {
  const std::size_t record_bytes = format.record();
  std::size_t records = 0;
  for (const file_reader& file : files) {
    const auto size = static_cast<std::size_t>(file.size());
    if (size == 0 || size % record_bytes != 0)
      throw_io_error(file.path(), {"expected ", format.name, " records of ", record_bytes, " bytes, one or more, got ",
                                   size, " bytes (", size % record_bytes,
                                   " left over); the file is truncated, damaged or something else"});
    records += size / record_bytes;
  }
  constexpr std::size_t most_at_once = 128;
  std::vector<std::uint8_t> block((std::min)(records, most_at_once) * record_bytes);
  std::vector<std::uint8_t> pixels(records * cifar_pixels);
  std::vector<std::int64_t> labels;
  labels.reserve(records);
  std::uint8_t* out = pixels.data();
  for (file_reader& file : files) {
    const std::size_t in_file = static_cast<std::size_t>(file.size()) / record_bytes;
    for (std::size_t first = 0; first < in_file; first += most_at_once) {
      const std::size_t count = (std::min)(in_file - first, most_at_once);
      file.read(std::as_writable_bytes(std::span(block.data(), count * record_bytes)));
      for (std::size_t i = 0; i < count; ++i, out += cifar_pixels) {
        const std::uint8_t* const record = block.data() + i * record_bytes;
        for (std::size_t k = 0; k < format.label_bytes; ++k)
          if (record[k] >= format.classes[k])
            throw_io_error(file.path(), {"expected labels from 0 to ", format.classes[k] - 1, ", got ", record[k],
                                         " in record ", first + i, "; the file is damaged or no ", format.name});
        labels.push_back(record[format.label]);
        std::memcpy(out, record + format.label_bytes, cifar_pixels);
      }
    }
  }
  return {std::move(pixels), std::move(labels), format.wanted_classes(), names};
}

}  // namespace lockstep::data::detail
