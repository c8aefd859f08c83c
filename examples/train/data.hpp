// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/data/loader_position.hpp>

#include "networks.hpp"
#include "options.hpp"

namespace lockstep_train {

/// What samples look like.
enum class sample_format : std::uint8_t {
  rows,     ///< 10 values, with 10 values to predict
  cifar10,  ///< 3x32x32, ten classes
  idx,      ///< 1x28x28, ten classes
  text      ///< 128 bytes, with the byte that comes after each
};

/// A data set as a sequence of batches, walked once an epoch.
class batch_source {
 public:
  batch_source() = default;
  batch_source(const batch_source&) = delete;
  batch_source& operator=(const batch_source&) = delete;
  virtual ~batch_source() = default;

  /// Starts the next epoch.
  virtual void start() = 0;
  /// The next batch of the epoch, valid until the next call; false at its end.
  virtual bool next(batch& b) = 0;
  /// Batches in an epoch.
  [[nodiscard]] virtual std::int64_t batches() const = 0;
  /// Samples in an epoch.
  [[nodiscard]] virtual std::int64_t samples() const = 0;

  // See lockstep::data::resumable_loader.
  [[nodiscard]] virtual lockstep::data::loader_position position() const = 0;
  virtual void resume_at(const lockstep::data::loader_position& at) = 0;
  [[nodiscard]] virtual lockstep::data::loader_identity identity(std::uint64_t epoch) = 0;
};

struct data_set {
  std::string description;
  std::vector<std::pair<std::string, std::string>> notes;  ///< what else a model trained on it needs, by name
  std::unique_ptr<batch_source> train;                     ///< in batches of o.batch
  std::unique_ptr<batch_source> test;
};

/// The format of the samples that o.model and o.data ask for. Reads no more than a folder's listing.
/// Throws lockstep::io_error for a folder that is missing or holds no known data, usage_error for data that o.model
/// does not take.
[[nodiscard]] sample_format format_of(const options& o);

/// Reads or draws the data. Throws lockstep::io_error for files that are damaged.
[[nodiscard]] data_set open_data(const options& o, sample_format format);

}  // namespace lockstep_train
