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

/// What a folder of training data holds, and so which reader opens it.
enum class folder_kind : std::uint8_t { cifar10, idx };

/// Tells by the names of its files which data set `folder` holds. One known name is enough, so that an incomplete
/// set goes to its reader, which says what is missing.
/// Throws io_error when the folder is missing, no folder, or holds neither set or both.
template <class = void>
[[nodiscard]] folder_kind recognize(const std::string& folder) {
  detail::require_folder(folder);
  const auto has_idx = [&](std::string_view stem, std::string_view ending) {
    const auto names = detail::idx_spellings(stem, ending);
    return std::any_of(names.begin(), names.end(), [&](const auto& name) { return detail::holds(folder, name); });
  };
  const bool is_cifar10 = !detail::cifar10_training_files(folder).empty() || detail::holds(folder, "test_batch.bin") ||
                          detail::holds(folder, "data_batch_1");
  const bool is_idx = has_idx("train-images", "idx3-ubyte") || has_idx("train-labels", "idx1-ubyte") ||
                      has_idx("t10k-images", "idx3-ubyte") || has_idx("t10k-labels", "idx1-ubyte");
  if (is_cifar10 && is_idx)
    throw io_error(folder, "found files of both CIFAR-10 and MNIST; keep each set in a folder of its own");
  if (is_cifar10) return folder_kind::cifar10;
  if (is_idx) return folder_kind::idx;
  std::string_view first;
  const bool is_empty = !detail::folder_listing(folder).next(first);
  detail::throw_io_error(folder, {is_empty ? "the folder is empty" : "no known data set found",
                                  "; looked for CIFAR-10 (data_batch_1.bin, test_batch.bin) and for MNIST "
                                  "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...)"});
}

}  // namespace lockstep::data
