// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/data/cifar_records.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/io/file.hpp>

namespace lockstep::data {

/// Which of a picture's two labels to read.
enum class cifar100_label : std::uint8_t {
  fine,   ///< one of 100 classes
  coarse  ///< one of 20 groups of classes
};

/// Reads CIFAR-100's binary version from `folder`: train.bin, test.bin, and the class names in fine_label_names.txt or
/// coarse_label_names.txt if that file exists.
/// Throws io_error, naming the file, when train.bin or test.bin is missing, empty, or no multiple of 3074 bytes long, a
/// label is out of range, or the number of class names is wrong.
/// Source: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
template <class = void>
[[nodiscard]] split<shape<3, 32, 32>> cifar100(const std::string& folder, cifar100_label label = cifar100_label::fine) {
  const bool fine = label == cifar100_label::fine;
  const detail::cifar_format format{"CIFAR-100", 2, {20, 100}, fine ? std::size_t{1} : std::size_t{0}};
  detail::require_folder(folder);
  if (!detail::holds_file(folder, "train.bin") && detail::holds_file(folder, "train"))
    throw io_error(folder, "found CIFAR-100's Python version; expected its binary version, train.bin and test.bin");
  file_reader train_file(detail::path_in(folder, "train.bin"));
  file_reader test_file(detail::path_in(folder, "test.bin"));
  const char* const names_file = fine ? "fine_label_names.txt" : "coarse_label_names.txt";
  std::vector<std::string> names;
  if (detail::holds_file(folder, names_file))
    names = detail::class_names_in(detail::path_in(folder, names_file), format.wanted_classes());
  auto test = detail::cifar_records({&test_file, 1}, format, names);
  return {detail::cifar_records({&train_file, 1}, format, names), std::move(test)};
}

}  // namespace lockstep::data
