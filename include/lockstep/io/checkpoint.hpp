// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors.hpp>

/// \file
/// A trainer's state as one safetensors file. Training that continues from it gives the same bits as uninterrupted
/// training.

namespace lockstep {

namespace detail {

/// Gives checkpoints access to a trainer's private engine.
struct checkpoint_access {
  template <class Trainer>
  [[nodiscard]] static auto& engine(Trainer& trainer) noexcept {
    return trainer.engine_;
  }
};

/// Names of the numbers that a checkpoint keeps in the file's metadata.
inline constexpr std::string_view seed_key = "lockstep.seed";
inline constexpr std::string_view steps_key = "lockstep.steps";
inline constexpr std::string_view state_steps_key = "lockstep.state_steps";
inline constexpr std::string_view states_key = "lockstep.optimizer_states";
inline constexpr std::string_view averaged_key = "lockstep.averaged";  // there when a state is an average of parameters

/// A count of steps above this one is damage: no run gets there.
inline constexpr std::uint64_t most_steps = std::uint64_t{1} << 53U;

/// The tensor name of optimizer state number `state` of a parameter.
[[nodiscard]] inline std::string state_name(std::size_t state, std::string_view parameter) {
  return message({"optimizer_state.", state, ".", parameter});
}

/// The comma-separated integers of a metadata entry. Throws io_error when the entry is missing or has other text.
[[nodiscard]] inline std::vector<std::uint64_t> numbers_of(const std::string& path,
                                                           const safetensors_metadata& metadata, std::string_view key) {
  for (const auto& [name, text] : metadata) {
    if (name != key) continue;
    std::vector<std::uint64_t> numbers;
    const char* at = text.data();
    const char* const end = at + text.size();
    for (;;) {
      std::uint64_t number = 0;
      const auto [stop, failure] = std::from_chars(at, end, number);
      if (failure != std::errc{} || (stop != end && *stop != ',')) break;
      if (key != seed_key && number > most_steps) break;
      numbers.push_back(number);
      if (stop == end) return numbers;
      at = stop + 1;
    }
    throw_io_error(path, {"expected numbers in its metadata's ", key, ", got '", clipped(text), "'"});
  }
  throw_io_error(path, {"expected a checkpoint, whose metadata has ", key,
                        ", got a safetensors file without; load_safetensors reads parameters alone"});
}

/// True for an optimizer one of whose states is an average of the parameters.
template <class Optimizer>
inline constexpr bool keeps_average = requires { Optimizer::average_state; };

/// The integer of a metadata entry. Throws io_error as numbers_of does, and when there are several.
[[nodiscard]] inline std::uint64_t number_of(const std::string& path, const safetensors_metadata& metadata,
                                             std::string_view key) {
  const auto numbers = numbers_of(path, metadata, key);
  if (numbers.size() != 1) throw_io_error(path, {"expected one number in its metadata's ", key, ", got several"});
  return numbers.front();
}

}  // namespace detail

/// Writes everything that a trainer's next step depends on except the batch: parameters, buffers, the optimizer's
/// state, the seed, and the counts of steps. Parameters have PyTorch's names, so that other programs can read the file;
/// the first state of conv1.weight is `optimizer_state.0.conv1.weight`. The file appears whole or not at all (see
/// atomic_file_writer). All ranks hold the same state, so one rank writes it.
///
/// The file contains neither options (learning rate, ...) nor the state of a hook. Throws value_error between
/// accumulate() and the step that uses its gradients, and after an update that failed on some replicas; io_error when
/// the file cannot be written.
template <class Trainer>
void save_checkpoint(Trainer& trainer, const std::string& path) {
  auto& engine = detail::checkpoint_access::engine(trainer);
  const auto entered = engine.enter();
  engine.check_whole();
  if (engine.pending)
    throw value_error("save_checkpoint", "a trainer between steps", "one with accumulated gradients",
                      "save after the step that uses them");

  detail::tensors_to_write<typename Trainer::value_type> all;
  for (const auto& tensor : trainer.state()) all.add(tensor, tensor.name());
  std::size_t states = 0;
  engine.each_optimizer_state([&](const auto& state) {
    for (const auto& part : state) all.add(part, detail::state_name(states, part.name()));
    ++states;
  });
  std::string state_steps;
  for (const std::int64_t count : engine.skips.state_steps())
    state_steps.append(state_steps.empty() ? "" : ",").append(std::to_string(count));
  safetensors_metadata metadata{{"format", "pt"},
                                {std::string(detail::seed_key), std::to_string(engine.key.value)},
                                {std::string(detail::steps_key), std::to_string(engine.steps)},
                                {std::string(detail::state_steps_key), state_steps},
                                {std::string(detail::states_key), std::to_string(states)}};
  if (detail::keeps_average<std::remove_cvref_t<decltype(engine.optimizer)>>)
    metadata.emplace_back(detail::averaged_key, "1");
  write_safetensors(path, all.tensors, metadata);
}

/// Restores the state that `save_checkpoint` wrote, from a trainer with any number of replicas. Drops accumulated
/// gradients. With several ranks, either every rank loads the file, or one rank does and all call broadcast().
/// Optimizer states that the file lacks become zero.
///
/// Throws io_error, and changes nothing, for a file that is no checkpoint, is of another model, has more optimizer
/// states than this trainer's optimizer, or has averages of the parameters where this trainer has none, or the other
/// way round.
template <class Trainer>
void load_checkpoint(Trainer& trainer, const std::string& path) {
  using value = typename Trainer::value_type;
  auto& engine = detail::checkpoint_access::engine(trainer);
  const auto entered = engine.enter();
  const auto file = safetensors_file::read(path);
  const std::uint64_t from_seed = detail::number_of(path, file.metadata(), detail::seed_key);
  const std::uint64_t steps = detail::number_of(path, file.metadata(), detail::steps_key);
  const std::uint64_t states = detail::number_of(path, file.metadata(), detail::states_key);
  const auto state_steps = detail::numbers_of(path, file.metadata(), detail::state_steps_key);
  const auto own_state_steps = engine.skips.state_steps();
  if (state_steps.size() != own_state_steps.size())
    detail::throw_io_error(path, {"expected ", own_state_steps.size(), " counts of steps, got ", state_steps.size(),
                                  "; the checkpoint is of another model"});
  engine.prepare();
  std::size_t own_states = 0;
  engine.each_optimizer_state([&](const auto&) { ++own_states; });
  const bool averaged = std::any_of(file.metadata().begin(), file.metadata().end(),
                                    [](const auto& entry) { return entry.first == detail::averaged_key; });
  constexpr bool own_averaged = detail::keeps_average<std::remove_cvref_t<decltype(engine.optimizer)>>;
  if (states > 0 && averaged != own_averaged)
    detail::throw_io_error(path, {"expected a run ", own_averaged ? "with" : "without",
                                  " averages of the parameters (averaged<>), got one ", averaged ? "with" : "without",
                                  "; give the trainer the optimizer of the run that was saved"});
  if (states > own_states)
    detail::throw_io_error(path, {"expected an optimizer with ", own_states, " states a parameter, got ", states,
                                  "; give the trainer the options of the run that was saved"});

  std::vector<detail::wanted_tensor> wanted;
  detail::append_wanted(trainer, wanted);
  std::size_t state_number = 0;
  engine.each_optimizer_state([&](const auto& state) {
    if (state_number < states)
      for (const auto& part : state)
        wanted.push_back(detail::wanted_for(part, detail::state_name(state_number, part.name())));
    ++state_number;
  });
  const detail::tensor_match found = detail::match_tensors(file, wanted);
  detail::require_complete(path, found, "the checkpoint is of another model");
  std::vector<std::vector<value>> lists;
  for (const safetensors_entry* entry : found.entries) lists.push_back(detail::counted_values<value>(*entry));
  // The run that was saved may have had no state of some number yet.
  std::size_t checked = 0;
  engine.each_optimizer_state([&](const auto& state) {
    if (checked++ >= states)
      for (const auto& part : state) lists.emplace_back(static_cast<std::size_t>(part.size()));
  });

  engine.half_updated = true;  // until all has been assigned
  std::size_t next = 0;
  for (const auto& tensor : trainer.state()) tensor.assign(lists[next++]);
  engine.each_optimizer_state([&](const auto& state) {
    for (const auto& part : state) part.assign(lists[next++]);
  });
  for (std::size_t i = 0; i < state_steps.size(); ++i) own_state_steps[i] = static_cast<std::int64_t>(state_steps[i]);
  engine.resume(seed{from_seed}, static_cast<std::int64_t>(steps));
}

}  // namespace lockstep
