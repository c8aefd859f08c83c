// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/data/idx_file.hpp>
#include <lockstep/data/table.hpp>

namespace lockstep::data {

/// A picture of MNIST or Fashion-MNIST: one plane of 28 rows and 28 columns.
using idx_sample = shape<1, 28, 28>;

namespace detail {

/// Returns the names in use for one file, those of packed files last.
template <class = void>
[[nodiscard]] std::vector<std::string> idx_spellings(std::string_view stem, std::string_view ending) {
  return {message({stem, "-", ending}), message({stem, ".", ending}), message({stem, "-", ending, ".gz"}),
          message({stem, ".", ending, ".gz"})};
}

/// Returns the path of the first of these names that is a file in `folder`. Throws io_error when none is.
template <class = void>
[[nodiscard]] std::string find_idx(const std::string& folder, const std::vector<std::string>& spellings) {
  for (const std::string& name : spellings)
    if (holds_file(folder, name)) return path_in(folder, name);
  for (const std::string& name : spellings)
    if (holds_folder(folder, name))
      throw_io_error(path_in(folder, name), {"expected a file, found a folder of that name; the file may lie inside"});
  throw_io_error(path_in(folder, spellings[0]),
                 {"expected this file, or the same with a dot before idx or with .gz at the end, found none of them"});
}

/// Returns the names in use for a file of images, which may tell the file's rank and element type.
template <class = void>
[[nodiscard]] std::vector<std::string> idx_image_spellings(const std::string& stem, const dims& sample) {
  std::vector<std::string> all;
  for (const char* type : {"ubyte", "float"})
    for (const int rank : {3, 1 + without_leading_ones(sample).rank, 1 + sample.rank})
      for (auto& name : idx_spellings(stem, message({"idx", rank, "-", type})))
        if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(std::move(name));
  // Files that are not packed come first.
  std::stable_partition(all.begin(), all.end(), [](const std::string& name) { return !name.ends_with(".gz"); });
  return all;
}

/// One part of a set. Its labels are not checked against a number of classes.
struct idx_part {
  idx_array images;
  std::vector<std::int64_t> labels;
};

template <class Unpack>
[[nodiscard]] idx_part read_idx_part(const std::string& folder, const std::string& part, const Unpack& unpack,
                                     const dims& sample, bool floats) {
  const std::string image_path = find_idx(folder, idx_image_spellings(message({part, "-images"}), sample));
  const std::string label_path = find_idx(folder, idx_spellings(message({part, "-labels"}), "idx1-ubyte"));
  const idx_array labels = read_idx(label_path, unpack, {{}, false, "labels"});
  idx_array images = read_idx(image_path, unpack, {sample, floats, "images"});
  if (images.count == 0) throw_io_error(image_path, {"expected one image or more, got none"});
  if (images.count != labels.count)
    throw_io_error(label_path, {"expected one label for each of ", images.count, " images, got ", labels.count});
  return {std::move(images), {labels.bytes.begin(), labels.bytes.end()}};
}

/// Returns the big-endian floats of a file unchanged, or its bytes as x / 255.
template <class = void>
[[nodiscard]] std::vector<float> idx_values(const idx_array& array) {
  std::vector<float> values(array.type == idx_floats ? array.bytes.size() / 4 : array.bytes.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (array.type == idx_floats) {
      std::uint32_t bits = 0;
      for (std::size_t byte = 0; byte < 4; ++byte) bits = bits << 8U | array.bytes[4 * i + byte];
      values[i] = std::bit_cast<float>(bits);
    } else {
      values[i] = unit_values[array.bytes[i]];
    }
  }
  return values;
}

/// How to read a set whose samples have the type `Sample`.
template <class Sample>
struct idx_reading;

template <std::int64_t... Extents>
struct idx_reading<shape<Extents...>> {
  using result = split<shape<Extents...>>;
  static constexpr dims sample = shape<Extents...>::extents;
  static constexpr bool floats = false;

  [[nodiscard]] static auto make(idx_part part, std::int64_t classes) {
    return dataset<shape<Extents...>>(std::move(part.images.bytes), std::move(part.labels), classes);
  }
};

template <std::int64_t... Extents>
struct idx_reading<field<float, Extents...>> {
  using result = split<field<float, Extents...>, field<std::int64_t>>;
  static constexpr dims sample = shape<Extents...>::extents;
  static constexpr bool floats = true;

  [[nodiscard]] static auto make(const idx_part& part, std::int64_t /*classes*/) {
    return dataset<field<float, Extents...>, field<std::int64_t>>(idx_values(part.images), part.labels);
  }
};

}  // namespace detail

/// Reads MNIST or a set in its format (Fashion-MNIST, KMNIST, EMNIST) from `folder`: train-images-idx3-ubyte,
/// train-labels-idx1-ubyte and the two t10k- files, each also with a dot instead of the hyphen before `idx`. The number
/// of classes is the largest label plus one.
///
/// `Sample` describes an image. A shape, as in `idx<input<1, 32, 32>>(folder)`, reads unsigned bytes. A field of float,
/// as in `idx<field<float, 28, 28>>(folder)`, reads floats, and bytes as x / 255. The file may leave out leading
/// extents of 1. `idx(folder, gzip{})`, of lockstep/data/gzip.hpp, also reads packed files (.gz); without it they are
/// refused.
///
/// Throws io_error, naming the file, when a file is missing, packed (without an unpacker), truncated or too long, when
/// it holds no image, when counts disagree, when elements are of another type, and when images have another shape than
/// `Sample`.
template <class Sample = idx_sample, class Unpack = detail::no_unpacker>
[[nodiscard]] auto idx(const std::string& folder, const Unpack& unpack = {}) {
  using reading = detail::idx_reading<Sample>;
  detail::require_folder(folder);
  // Read the small part first, so that damage there is reported before the large part is read.
  auto test = detail::read_idx_part(folder, "t10k", unpack, reading::sample, reading::floats);
  auto train = detail::read_idx_part(folder, "train", unpack, reading::sample, reading::floats);
  std::int64_t largest = 0;
  for (const auto* part : {&train, &test})
    for (const std::int64_t label : part->labels) largest = (std::max)(largest, label);
  return typename reading::result{reading::make(std::move(train), largest + 1),
                                  reading::make(std::move(test), largest + 1)};
}

}  // namespace lockstep::data
