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

namespace lockstep::data {

/// The data set that a folder holds, and so the reader that opens it.
enum class folder_kind : std::uint8_t { cifar10, idx, cifar100 };

/// Tells from the names of its files which data set `folder` holds. One known name is enough (train.bin and test.bin
/// count only together), so that an incomplete set goes to its reader, which says what is missing.
/// Throws io_error when `folder` does not exist, is no folder, or holds none of the sets or more than one.
template <class = void>
[[nodiscard]] folder_kind recognize(const std::string& folder) {
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
  if (is_cifar10) return folder_kind::cifar10;
  if (is_cifar100) return folder_kind::cifar100;
  if (is_idx) return folder_kind::idx;
  std::string_view first;
  const bool is_empty = !detail::folder_listing(folder).next(first);
  detail::throw_io_error(
      folder, {is_empty ? "the folder is empty" : "no known data set found",
               "; looked for CIFAR-10 (data_batch_1.bin, test_batch.bin), for CIFAR-100 (train.bin, test.bin) "
               "and for MNIST (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...)"});
}

}  // namespace lockstep::data
