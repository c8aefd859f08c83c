// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <lockstep/io/checkpoint_file.hpp>
#include <lockstep/io/checkpoint_metadata.hpp>
#include <lockstep/io/checkpoint_state.hpp>
#include <lockstep/io/safetensors_format.hpp>

/// \file
/// The state of a run as one safetensors file. Training that continues from it gives the same bits as uninterrupted
/// training. checkpoints.hpp keeps such files in a folder while a run goes on.

namespace lockstep {

/// Writes everything that the rest of a run depends on: parameters, buffers, the optimizer's state and averages, the
/// seed, the counts of steps, which layers are skipped, the state of a schedule that has any, and the position of the
/// loader, which is the batch that its user has not got yet. A loader is any `data::resumable_loader`.
///
/// Parameters have PyTorch's names, so that other programs can read the file; the first state of conv1.weight is
/// `optimizer_state.0.conv1.weight`. All the rest is in the metadata, with a checksum of the whole file, and with the
/// pairs of name and text in `notes`, which a load returns. The file appears whole or not at all, and is on the disk
/// when the call returns (see atomic_file_writer). All ranks hold the same state, so one rank writes it.
///
/// The states that layers carry from step to step are in it too, but not those of several ranks, each of which has the
/// states of its own samples: such a run goes on with zeros.
///
/// The file names the optimizer and its options, so that another one can be refused, but a load sets no options. It
/// does not contain the state of a hook. Throws value_error between accumulate() and the step that uses its gradients,
/// and after an update that failed on some replicas; io_error when the file cannot be written.
template <class Trainer, class Loader>
void save_checkpoint(Trainer& trainer, Loader& loader, const std::string& path,
                     const safetensors_metadata& notes = {}) {
  detail::checkpoint_image image;
  detail::take_image(trainer, loader, notes, image);
  image.write(path);
}

/// The same without the position of a loader.
template <class Trainer>
void save_checkpoint(Trainer& trainer, const std::string& path) {
  detail::no_loader none;
  save_checkpoint(trainer, none, path);
}

/// Restores the state that `save_checkpoint` wrote, from a trainer with any number of replicas. Drops accumulated
/// gradients, and ends a walk of the loader: the next begin() goes on at the saved position. With several ranks, either
/// every rank loads the file, or one rank does and all call broadcast() and resume their loaders. Optimizer states that
/// the file lacks become zero.
///
/// Returns what the file says of its run, and which options of the optimizer have changed since.
///
/// Throws io_error, and changes nothing, for a file that is damaged or no checkpoint; for one of another model, naming
/// the first tensor that differs; of an optimizer of another kind, with other options that choose what it computes, or
/// with more states; with averages of the parameters where this trainer has none, or the other way round; of a schedule
/// with other state; and for one without a position, or from a loader with other options, data or order.
template <class Trainer, class Loader>
checkpoint_info load_checkpoint(Trainer& trainer, Loader& loader, const std::string& path) {
  return detail::restore_image(trainer, loader, detail::read_checkpoint(path));
}

/// The same for the trainer alone, also from a file with a loader's position.
template <class Trainer>
checkpoint_info load_checkpoint(Trainer& trainer, const std::string& path) {
  detail::no_loader none;
  return load_checkpoint(trainer, none, path);
}

/// Reads a whole checkpoint and returns what it says of its run. Throws io_error for a file that is damaged or no
/// checkpoint.
template <class = void>
[[nodiscard]] checkpoint_info inspect_checkpoint(const std::string& path) {
  return detail::info_of(path, detail::read_checkpoint(path).metadata());
}

}  // namespace lockstep
