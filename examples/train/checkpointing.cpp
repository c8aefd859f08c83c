// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "checkpointing.hpp"

#include <cstddef>
#include <cstdlib>
#include <optional>

#include <fmt/core.h>

#include <lockstep/core/error.hpp>

#include "complain.hpp"

namespace lockstep_train {

namespace {

using notes = std::vector<std::pair<std::string, std::string>>;

constexpr const char* epoch_samples = "epoch_samples";
constexpr const char* epoch_loss = "epoch_loss";

/// The flags on which the rest of a run depends, in the order in which a difference is told, and their values. The data
/// is told apart by its samples, wherever it lies.
notes flags_of(const options& o) {
  notes flags{{"--model", o.model},
              {"--batch", fmt::format("{}", o.batch)},
              {"--optimizer", o.optimizer},
              {"--learning-rate", fmt::format("{}", o.learning_rate)},
              {"--momentum", fmt::format("{}", o.momentum)},
              {"--weight-decay", fmt::format("{}", o.weight_decay)},
              {"--dropout", fmt::format("{}", o.dropout)},
              {"--decay", o.decay_matrices ? "matrices" : "all"},
              {"--schedule", o.schedule},
              {"--warmup", fmt::format("{}", o.warmup)},
              {"--max-norm", fmt::format("{}", o.max_norm)},
              {"--seed", fmt::format("{}", o.seed)},
              {"--no-shuffle", o.shuffle ? "off" : "on"},
              {"--augment", o.augment ? "on" : "off"},
              {"--normalise", o.normalise ? "on" : "off"},
              {"--reduce", o.reproducible ? "reproducible" : "automatic"},
              {"--precision", std::string(arithmetic_names[static_cast<std::size_t>(o.precision)])},
              {"--convolution", o.convolution}};
  // A schedule's course depends on how long the training is.
  if (o.schedule != "constant") {
    flags.emplace_back("--epochs", o.steps ? "none" : fmt::format("{}", o.epochs));
    flags.emplace_back("--steps", o.steps ? fmt::format("{}", *o.steps) : "none");
  }
  return flags;
}

const std::string* find(const notes& all, const std::string& name) {
  for (const auto& [key, text] : all)
    if (key == name) return &text;
  return nullptr;
}

/// Throws usage_error for the first flag that is not as in the checkpoint's run.
void require_same_flags(const std::string& path, const notes& saved, const notes& own) {
  for (const auto& [flag, value] : own) {
    const std::string* const was = find(saved, flag);
    if (was != nullptr && *was != value)
      throw usage_error(fmt::format("--resume: the run of {} has {} {}, not {}; give the flags that it began with",
                                    path, flag, *was, value));
  }
}

template <class T>
T number_in(const notes& all, const char* name, T (*parse)(const char*)) {
  const std::string* const text = find(all, name);
  return text == nullptr ? T{} : parse(text->c_str());
}

/// Opens the folder. One with checkpoints belongs to a run that --resume goes on with.
lockstep::checkpoints open_folder(const options& o) {
  return lockstep::checkpoints(o.checkpoint, {.every = o.checkpoint_every});
}

}  // namespace

checkpointing::checkpointing(const options& o, trainer& t, data_set& data)
    : trainer_(t), batches_(*data.train), flags_(flags_of(o)), folder_(open_folder(o)), every_(o.checkpoint_every) {
  const lockstep::checkpoint_search search = folder_.latest();
  if (!o.resume) {
    if (search.found || !search.damaged.empty())
      throw usage_error(
          fmt::format("--checkpoint: {} has the checkpoints of an earlier run; --resume goes on with it, "
                      "or name another folder",
                      o.checkpoint));
    return;
  }
  if (search.found) {
    require_same_flags(search.found->path, search.found->notes, flags_);
    for (const auto& [path, reason] : search.damaged)
      complain(fmt::format("{}: {}; the run goes on from {}", path, reason, search.found->path));
  }
  t.restore_checkpoint(folder_, batches_);
  if (!search.found) return;
  resumed_from_ = search.found->path;
  saved_ = t.steps();
  sums_ = {number_in(search.found->notes, epoch_samples, &std::atoll),
           number_in(search.found->notes, epoch_loss, &std::atof)};
}

lockstep::log_place checkpointing::log() const {
  return {.steps = trainer_.steps(), .epochs = static_cast<std::int64_t>(batches_.position().epoch)};
}

void checkpointing::after_step(const epoch_sums& sums) {
  folder_.check();
  if (trainer_.steps() % every_ == 0) save(sums);
}

void checkpointing::finish(const epoch_sums& sums) {
  save(sums);
  folder_.wait();
}

void checkpointing::save(const epoch_sums& sums) {
  if (trainer_.steps() == saved_) return;
  notes all = flags_;
  all.emplace_back(epoch_samples, fmt::format("{}", sums.samples));
  all.emplace_back(epoch_loss, fmt::format("{}", sums.loss));
  trainer_.save_checkpoint(folder_, batches_, all);
  saved_ = trainer_.steps();
}

}  // namespace lockstep_train
