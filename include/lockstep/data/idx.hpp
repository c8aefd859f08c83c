// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/file.hpp>

namespace lockstep::data {

/// A picture of MNIST or Fashion-MNIST: one plane of 28 rows and 28 columns.
using idx_sample = shape<1, 28, 28>;

namespace detail {

inline constexpr std::int64_t idx_classes = 10;

/// The spellings in use for one file; the last two are still packed.
[[nodiscard]] inline std::array<std::string, 4> idx_spellings(std::string_view stem, std::string_view ending) {
  const std::string hyphen = std::string(stem) + "-" + std::string(ending);
  const std::string dot = std::string(stem) + "." + std::string(ending);
  return {hyphen, dot, hyphen + ".gz", dot + ".gz"};
}

[[nodiscard]] inline input_file open_idx(const std::filesystem::path& folder, std::string_view stem,
                                         std::string_view ending) {
  for (const std::string& name : idx_spellings(stem, ending))
    if (holds(folder, name)) return input_file(folder / name);
  throw io_error((folder / idx_spellings(stem, ending)[0]).string(),
                 "expected this file, or the same with a dot before idx, found neither");
}

/// Reads the header and returns its extents. The element type must be 0x08, unsigned byte.
template <std::size_t Rank>
[[nodiscard]] std::array<std::uint64_t, Rank> read_idx_header(input_file& file) {
  std::array<std::uint8_t, 4 + 4 * Rank> header{};
  const std::string what = std::to_string(Rank) + (Rank == 1 ? " dimension" : " dimensions");
  std::array<std::uint8_t, 2> packed{};
  if (file.size() >= packed.size()) file.read(packed);
  if (packed == std::array<std::uint8_t, 2>{0x1f, 0x8b})
    file.fail("expected an unpacked IDX file, got a gzip archive; unpack it with gunzip");
  if (file.size() < header.size())
    file.fail("expected an IDX header of " + std::to_string(header.size()) + " bytes, got a file of " +
              std::to_string(file.size()) + "; the file is truncated");
  header[0] = packed[0];
  header[1] = packed[1];
  file.read(std::span(header).subspan(packed.size()));
  if (header[0] != 0 || header[1] != 0)
    file.fail("expected an IDX file, which begins with two zero bytes, got " + std::to_string(int{header[0]}) +
              " and " + std::to_string(int{header[1]}));
  if (header[2] != 0x08)
    file.fail("expected IDX element type 8 (unsigned byte), got " + std::to_string(int{header[2]}));
  if (header[3] != Rank)
    file.fail("expected IDX data of " + what + ", got " + std::to_string(int{header[3]}) +
              "; images have 3, labels have 1");
  std::array<std::uint64_t, Rank> extents{};
  for (std::size_t i = 0; i < extents.size(); ++i)
    for (std::size_t byte = 0; byte < 4; ++byte) extents[i] = extents[i] << 8U | header[4 + 4 * i + byte];
  return extents;
}

inline void require_idx_length(const input_file& file, std::uint64_t header, std::uint64_t body) {
  if (file.size() != header + body)
    file.fail("expected " + std::to_string(header + body) + " bytes, as its header says, got " +
              std::to_string(file.size()) + "; the file is " +
              (file.size() < header + body ? "truncated" : "followed by something else"));
}

[[nodiscard]] inline dataset<idx_sample> idx_part(const std::filesystem::path& folder, const std::string& part) {
  constexpr auto side = static_cast<std::uint64_t>(idx_sample::extents.extent[1]);
  input_file images = open_idx(folder, part + "-images", "idx3-ubyte");
  input_file labels = open_idx(folder, part + "-labels", "idx1-ubyte");
  const auto [count, rows, columns] = read_idx_header<3>(images);
  const auto [label_count] = read_idx_header<1>(labels);
  if (rows != side || columns != side)
    images.fail("expected images of 28x28, got " + std::to_string(rows) + "x" + std::to_string(columns));
  if (count == 0) images.fail("expected one image or more, got none");
  // Fits: both factors are below 2^32, and rows and columns are known by now.
  require_idx_length(images, 16, count * side * side);
  require_idx_length(labels, 8, label_count);
  if (count != label_count)
    labels.fail("expected one label for each of " + std::to_string(count) + " images, got " +
                std::to_string(label_count));
  std::vector<std::uint8_t> bytes(label_count);
  labels.read(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] >= idx_classes)
      labels.fail("expected labels from 0 to 9, got " + std::to_string(int{bytes[i]}) + " for image " +
                  std::to_string(i));
  std::vector<std::uint8_t> pixels(count * side * side);
  images.read(pixels);
  return {std::move(pixels), std::vector<std::int64_t>(bytes.begin(), bytes.end()), idx_classes};
}

}  // namespace detail

/// Reads MNIST or a set in its format (Fashion-MNIST, KMNIST) from `folder`: train-images-idx3-ubyte,
/// train-labels-idx1-ubyte and the two t10k- files, each also with a dot instead of the hyphen before `idx`.
/// Throws io_error, naming the file, when one is missing, still packed, truncated or too long, when counts
/// disagree, images are not 28x28, or a label is not 0 to 9.
/// Source: http://yann.lecun.com/exdb/mnist/, "file formats".
[[nodiscard]] inline split<idx_sample> idx(const std::filesystem::path& folder) {
  detail::require_folder(folder);
  // The small part first: damage there is reported before the large one is read.
  auto test = detail::idx_part(folder, "t10k");
  return {detail::idx_part(folder, "train"), std::move(test)};
}

}  // namespace lockstep::data
