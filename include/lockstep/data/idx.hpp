// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
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

/// A picture of MNIST or Fashion-MNIST: one plane of 28 rows and 28 columns.
using idx_sample = shape<1, 28, 28>;

namespace detail {

inline constexpr std::int64_t idx_classes = 10;

/// The spellings in use for one file; the last two are still packed.
[[nodiscard]] inline std::array<std::string, 4> idx_spellings(std::string_view stem, std::string_view ending) {
  return {message({stem, "-", ending}), message({stem, ".", ending}), message({stem, "-", ending, ".gz"}),
          message({stem, ".", ending, ".gz"})};
}

template <class = void>
[[nodiscard]] file_reader open_idx(const std::string& folder, std::string_view stem, std::string_view ending) {
  const auto spellings = idx_spellings(stem, ending);
  for (const std::string& name : spellings)
    if (holds(folder, name)) return file_reader(path_in(folder, name));
  throw_io_error(path_in(folder, spellings[0]),
                 {"expected this file, or the same with a dot before idx, found neither"});
}

/// Reads the header and returns its extents. The element type must be 0x08, unsigned byte.
template <std::size_t Rank>
[[nodiscard]] std::array<std::uint64_t, Rank> read_idx_header(file_reader& file) {
  std::array<std::uint8_t, 4 + 4 * Rank> header{};
  const std::span bytes = std::as_writable_bytes(std::span(header));
  const auto size = static_cast<std::size_t>(file.size());
  constexpr std::size_t magic = 2;
  if (size >= magic) file.read(bytes.first(magic));
  if (header[0] == 0x1f && header[1] == 0x8b)
    throw_io_error(file.path(), {"expected an unpacked IDX file, got a gzip archive; unpack it with gunzip"});
  if (size < header.size())
    throw_io_error(file.path(), {"expected an IDX header of ", header.size(), " bytes, got a file of ", size,
                                 "; the file is truncated"});
  file.read(bytes.subspan(magic));
  if (header[0] != 0 || header[1] != 0)
    throw_io_error(file.path(),
                   {"expected an IDX file, which begins with two zero bytes, got ", header[0], " and ", header[1]});
  if (header[2] != 0x08) throw_io_error(file.path(), {"expected IDX element type 8 (unsigned byte), got ", header[2]});
  if (header[3] != Rank)
    throw_io_error(file.path(), {"expected IDX data of ", Rank, Rank == 1 ? " dimension" : " dimensions", ", got ",
                                 header[3], "; images have 3, labels have 1"});
  std::array<std::uint64_t, Rank> extents{};
  for (std::size_t i = 0; i < extents.size(); ++i)
    for (std::size_t byte = 0; byte < 4; ++byte) extents[i] = extents[i] << 8U | header[4 + 4 * i + byte];
  return extents;
}

inline void require_idx_length(const file_reader& file, std::uint64_t header, std::uint64_t body) {
  const auto size = static_cast<std::uint64_t>(file.size());
  if (size != header + body)
    throw_io_error(file.path(), {"expected ", header + body, " bytes, as its header says, got ", size, "; the file is ",
                                 size < header + body ? "truncated" : "followed by something else"});
}

template <class = void>
[[nodiscard]] dataset<idx_sample> idx_part(const std::string& folder, const std::string& part) {
  constexpr auto side = static_cast<std::uint64_t>(idx_sample::extents.extent[1]);
  file_reader images = open_idx(folder, message({part, "-images"}), "idx3-ubyte");
  file_reader labels = open_idx(folder, message({part, "-labels"}), "idx1-ubyte");
  const auto [count, rows, columns] = read_idx_header<3>(images);
  const auto [label_count] = read_idx_header<1>(labels);
  if (rows != side || columns != side)
    throw_io_error(images.path(), {"expected images of 28x28, got ", rows, "x", columns});
  if (count == 0) throw_io_error(images.path(), {"expected one image or more, got none"});
  // Fits: both factors are below 2^32, and rows and columns are known by now.
  require_idx_length(images, 16, count * side * side);
  require_idx_length(labels, 8, label_count);
  if (count != label_count)
    throw_io_error(labels.path(), {"expected one label for each of ", count, " images, got ", label_count});
  std::vector<std::uint8_t> bytes(label_count);
  labels.read(std::as_writable_bytes(std::span(bytes)));
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] >= idx_classes)
      throw_io_error(labels.path(), {"expected labels from 0 to 9, got ", bytes[i], " for image ", i});
  std::vector<std::uint8_t> pixels(count * side * side);
  images.read(std::as_writable_bytes(std::span(pixels)));
  return {std::move(pixels), std::vector<std::int64_t>(bytes.begin(), bytes.end()), idx_classes};
}

}  // namespace detail

/// Reads MNIST or a set in its format (Fashion-MNIST, KMNIST) from `folder`: train-images-idx3-ubyte,
/// train-labels-idx1-ubyte and the two t10k- files, each also with a dot instead of the hyphen before `idx`.
/// Throws io_error, naming the file, when one is missing, still packed, truncated or too long, when counts
/// disagree, images are not 28x28, or a label is not 0 to 9.
/// Source: http://yann.lecun.com/exdb/mnist/, "file formats".
template <class = void>
[[nodiscard]] split<idx_sample> idx(const std::string& folder) {
  detail::require_folder(folder);
  // The small part first: damage there is reported before the large one is read.
  auto test = detail::idx_part(folder, "t10k");
  return {detail::idx_part(folder, "train"), std::move(test)};
}

}  // namespace lockstep::data
