// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/core/error.hpp>
#include <lockstep/data/cifar10.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/data/idx.hpp>
#include <lockstep/data/text/text_file.hpp>

namespace lockstep::data {

/// What a path leads to, and so the reader that opens it.
enum class data_kind : std::uint8_t { cifar10, idx, cifar100, text };

/// Tells what data `path` leads to: a folder by the names of its files, a file by its bytes. One known name in a folder
/// is enough (train.bin and test.bin count only together), so that an incomplete set goes to its reader, which says
/// what is missing. A file is a text unless one of its first 65,536 bytes is a control character that no text has.
/// Throws io_error when nothing of that name exists, a folder holds none of the sets or more than one, or a file is no
/// text.
template <class = void>
[[nodiscard]] data_kind recognize(const std::string& path) {
  if (detail::is_other_than_folder(path)) {
    detail::require_text(path);
    return data_kind::text;
  }
  const std::string& folder = path;
  detail::require_folder(folder);
  const auto has_idx = [&](std::string_view stem, std::string_view ending) {
    const auto names = detail::idx_spellings(stem, ending);
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return detail::holds_file(folder, name); });
  };
  const bool is_cifar10 = !detail::cifar10_training_files(folder).empty() ||
                          detail::holds_file(folder, "test_batch.bin") || detail::holds_file(folder, "data_batch_1");
  const bool is_idx = has_idx("train-images", "idx3-ubyte") || has_idx("train-labels", "idx1-ubyte") ||
                      has_idx("t10k-images", "idx3-ubyte") || has_idx("t10k-labels", "idx1-ubyte");
  const bool is_cifar100 = (detail::holds_file(folder, "train.bin") && detail::holds_file(folder, "test.bin")) ||
                           detail::holds_file(folder, "fine_label_names.txt");
  if (int{is_cifar10} + int{is_idx} + int{is_cifar100} > 1)
    throw io_error(
        folder, "found files of more than one of CIFAR-10, CIFAR-100 and MNIST; keep each set in a folder of its own");
  if (is_cifar10) return data_kind::cifar10;
  if (is_cifar100) return data_kind::cifar100;
  if (is_idx) return data_kind::idx;
  std::string_view first;
  const bool is_empty = !detail::folder_listing(folder).next(first);
  detail::throw_io_error(
      folder, {is_empty ? "the folder is empty" : "no known data set found",
               "; looked for CIFAR-10 (data_batch_1.bin, test_batch.bin), for CIFAR-100 (train.bin, test.bin) "
               "and for MNIST (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...)"});
}

}  // namespace lockstep::data
