// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/io/checkpoints.hpp>
#include <lockstep/observe/step_log.hpp>

#include "data.hpp"
#include "networks.hpp"
#include "options.hpp"

namespace lockstep_train {

/// What the steps of an epoch add up, and a checkpoint in its midst keeps.
struct epoch_sums {
  std::int64_t samples = 0;
  double loss = 0;
};

/// The checkpoints of a run, in the folder that the command line names, and where the run goes on from.
class checkpointing {
 public:
  /// With --resume goes on from the newest checkpoint that is whole, where there is any: sets the trainer and the
  /// training data to it, tells on stderr of damaged ones. Throws usage_error when its run had other flags, or when
  /// there is a checkpoint and no --resume; lockstep::io_error when the folder cannot be used.
  checkpointing(const options& o, trainer& t, data_set& data);

  /// The checkpoint that the run goes on from; empty when it begins.
  [[nodiscard]] const std::string& resumed_from() const noexcept { return resumed_from_; }
  /// Of the epoch that it goes on in.
  [[nodiscard]] const epoch_sums& sums() const noexcept { return sums_; }
  /// What of the run's log stays.
  [[nodiscard]] lockstep::log_place log() const;

  /// After each step: saves where one is due.
  void after_step(const epoch_sums& sums);
  /// At the end of the run: saves it unless that is done, and waits until it is written.
  void finish(const epoch_sums& sums);

 private:
  void save(const epoch_sums& sums);

  trainer& trainer_;
  batch_source& batches_;
  std::vector<std::pair<std::string, std::string>> flags_;
  lockstep::checkpoints folder_;
  std::int64_t every_;
  std::int64_t saved_ = 0;  ///< steps at the last checkpoint
  std::string resumed_from_;
  epoch_sums sums_;
};

}  // namespace lockstep_train
