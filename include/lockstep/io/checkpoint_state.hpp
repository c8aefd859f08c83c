// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/data/loader_position.hpp>
#include <lockstep/io/checkpoint_file.hpp>
#include <lockstep/io/checkpoint_metadata.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors.hpp>
#include <lockstep/io/safetensors_file.hpp>
#include <lockstep/io/safetensors_match.hpp>
#include <lockstep/optim/describe.hpp>

/// \file
/// The state of a run, from a trainer and a loader into a checkpoint and back.

namespace lockstep::detail {

/// Gives checkpoints access to a trainer's private engine.
struct checkpoint_access {
  template <class Trainer>
  [[nodiscard]] static auto& engine(Trainer& trainer) noexcept {
    return trainer.engine_;
  }
};

/// Stands for the loader of a run whose batches are no part of the checkpoint.
struct no_loader {};

template <class Loader>
constexpr void check_loader_type() {
  static_assert(std::is_same_v<Loader, no_loader> || data::resumable_loader<Loader>,
                "lockstep: save_checkpoint: a loader has position(), and resume_at(position) to go on from there");
}

/// The tensor name of optimizer state number `state` of a parameter.
[[nodiscard]] inline std::string state_name(std::size_t state, std::string_view parameter) {
  return message({"optimizer_state.", state, ".", parameter});
}

/// Whether a trainer's model has layers that carry states.
template <class Trainer>
inline constexpr bool carries_states =
    std::remove_cvref_t<decltype(checkpoint_access::engine(std::declval<Trainer&>()))>::states_type::any;

/// That of what layer number `layer` of those that carry states carries.
[[nodiscard]] inline std::string carried_name(std::size_t layer, std::string_view path) {
  return message({"carried_state.", layer, path.empty() ? "" : ".", path});
}

template <class Loader>
[[nodiscard]] data::loader_identity identity_of(Loader& loader, std::uint64_t epoch) {
  if constexpr (requires { loader.identity(epoch); })
    return loader.identity(epoch);
  else
    return {};
}

/// Copies the state of a run. Throws value_error as save_checkpoint does.
template <class Trainer, class Loader>
void take_image(Trainer& trainer, Loader& loader, const safetensors_metadata& notes, checkpoint_image& to) {
  check_loader_type<Loader>();
  auto& engine = checkpoint_access::engine(trainer);
  const auto entered = engine.enter();
  engine.check_whole();
  if (engine.pending)
    throw value_error("save_checkpoint", "a trainer between steps", "one with accumulated gradients",
                      "save after the step that uses them");

  using optimizer = std::remove_cvref_t<decltype(engine.optimizer)>;
  const auto values = static_cast<std::size_t>(Trainer::plan.value_count) +
                      optimizer::max_states * static_cast<std::size_t>(Trainer::plan.trainable_count);
  const auto tensors = static_cast<std::size_t>(Trainer::plan.parameter_tensors) * (1 + optimizer::max_states);
  to.clear(values * sizeof(typename Trainer::value_type) + tensors * sizeof(std::int64_t));
  for (const auto& tensor : trainer.state()) to.add(tensor, tensor.name());
  std::size_t states = 0;
  engine.each_optimizer_state([&](const auto& state) {
    for (const auto& part : state) to.add(part, state_name(states, part.name()));
    ++states;
  });

  if constexpr (carries_states<Trainer> && !Trainer::has_ranks)
    if (const std::int64_t samples = engine.states.samples(); samples > 0) {
      std::size_t layer = 0;
      engine.states.each_layer([&](std::string_view path, std::int64_t size) {
        to.add(carried_name(layer, path), {samples, size}, engine.states.values(layer));
        ++layer;
      });
      to.note(carried_key, std::to_string(samples));
    }

  to.note(seed_key, std::to_string(engine.key.value));
  to.note(steps_key, std::to_string(engine.steps));
  to.note(states_key, std::to_string(states));
  std::string state_steps;
  for (const std::int64_t count : engine.skips.state_steps())
    append_number(state_steps, static_cast<std::uint64_t>(count));
  to.note(state_steps_key, std::move(state_steps));
  if (keeps_average<optimizer>) to.note(averaged_key, "1");
  if (auto flags = engine.skips.flag_text(); !flags.empty()) to.note(skipped_key, std::move(flags));
  if (auto kind = optimizer_kind(engine.optimizer); !kind.empty()) to.note(optimizer_key, std::move(kind));
  std::vector<described_option> options;
  append_options(options, engine.optimizer, engine.steps);
  for (auto& option : options) to.note(message({option_keys, option.name}), std::move(option.value));
  with_stateful_schedule(engine.optimizer, [&](auto& schedule) {
    std::string bits;
    for (const double number : schedule.state()) append_number(bits, std::bit_cast<std::uint64_t>(number));
    to.note(schedule_key, std::move(bits));
  });
  if constexpr (data::resumable_loader<Loader>) {
    const data::loader_position at = loader.position();
    to.note(epoch_key, std::to_string(at.epoch));
    to.note(batch_key, std::to_string(at.batch));
    for (auto& [name, text] : identity_of(loader, at.epoch)) to.note(message({loader_keys, name}), std::move(text));
  }
  for (const auto& [name, text] : notes) to.note(message({note_keys, name}), text);
}

/// Throws io_error unless the file has just the wanted tensors; names the first that differs, in the model's order.
template <class = void>
void require_same_tensors(const std::string& path, const std::vector<wanted_tensor>& wanted,
                          const tensor_match& found) {
  const auto& [missing, foreign, misfit] = found.report;
  std::string difference;
  for (std::size_t i = 0; i < wanted.size() && difference.empty(); ++i) {
    if (found.entries[i] != nullptr) continue;
    const bool is_missing = std::find(missing.begin(), missing.end(), wanted[i].name) != missing.end();
    difference = is_missing ? message({"expected a tensor '", clipped(wanted[i].name), "' of shape ", wanted[i].shape,
                                       ", got none of that name"})
                            : found.misfits.front();
  }
  if (difference.empty() && !foreign.empty())
    difference =
        message({"expected no tensor '", clipped(foreign.front()), "', which the model does not have, got one"});
  if (!difference.empty())
    throw_io_error(path, {difference, "; nothing was loaded; the checkpoint is of another model"});
}

/// Throws io_error unless the optimizer is of the kind that the checkpoint has states of. Returns which of its options
/// differ otherwise.
template <class Optimizer>
[[nodiscard]] std::vector<std::string> compare_optimizer(const std::string& path, const safetensors_metadata& metadata,
                                                         const Optimizer& own, std::int64_t steps) {
  constexpr std::string_view advice = "; give the trainer the optimizer of the run that was saved";
  const std::string own_kind = optimizer_kind(own);
  const std::string* const kind = find_metadata(metadata, optimizer_key);
  if (kind == nullptr || own_kind.empty()) return {};
  if (*kind != own_kind)
    throw_io_error(path, {"expected a run of ", own_kind, ", got one of ", clipped(*kind), advice});
  std::vector<described_option> options;
  append_options(options, own, steps);
  std::vector<std::string> changed;
  for (const auto& [name, value, is_choice] : options) {
    const std::string* const saved = find_metadata(metadata, message({option_keys, name}));
    if (saved != nullptr && *saved == value) continue;
    const std::string_view had = saved == nullptr ? std::string_view("none") : clipped(*saved);
    if (is_choice && saved != nullptr)
      throw_io_error(path, {"expected a run of ", own_kind, " with ", name, " ", value, ", got one with ", name, " ",
                            had, advice});
    changed.push_back(message({name, " ", value, " in place of ", had}));
  }
  for (const auto& [name, text] : entries_under(metadata, option_keys))
    if (std::none_of(options.begin(), options.end(), [&own_name = name](const auto& o) { return o.name == own_name; }))
      changed.push_back(message({name, " none in place of ", clipped(text)}));
  return changed;
}

/// Throws io_error unless the loader gives the batches of the run that was saved, from the position on.
template <class = void>
void compare_loader(const checkpoint_info& info, const safetensors_metadata& metadata,
                    const data::loader_identity& own) {
  for (const auto& [name, text] : own) {
    const std::string* const saved = find_metadata(metadata, message({loader_keys, name}));
    if (saved != nullptr && *saved == text) continue;
    // Older files know the number of transforms alone.
    if (saved == nullptr && name == "augmentation" && find_metadata(metadata, message({loader_keys, "transforms"})))
      continue;
    const std::string_view had = saved == nullptr ? std::string_view("none") : clipped(*saved);
    if (name == "data" || name == "draws")
      throw_io_error(info.path, {"expected a run on the loader's ", name == "data" ? "data" : "sampler",
                                 ", got one on other ", name == "data" ? "data" : "draws", " (checksum ", had, ", not ",
                                 text, "); give it what the run that was saved had"});
    throw_io_error(info.path, {"expected a run whose loader has ", name, " ", text, ", got one with ", name, " ", had,
                               "; give it the options of the run that was saved"});
  }
  for (const auto& [name, text] : entries_under(metadata, loader_keys))
    if (std::none_of(own.begin(), own.end(), [&saved = name](const auto& each) { return each.first == saved; }))
      throw_io_error(info.path, {"expected a run whose loader has no ", clipped(name), ", got one with ", clipped(name),
                                 " ", clipped(text), "; give it the options of the run that was saved"});
}

/// Gives a trainer and a loader the state in a file that is whole. Throws as load_checkpoint does.
template <class Trainer, class Loader>
checkpoint_info restore_image(Trainer& trainer, Loader& loader, const safetensors_file& file) {
  using value = typename Trainer::value_type;
  check_loader_type<Loader>();
  const std::string& path = file.path();
  const safetensors_metadata& metadata = file.metadata();
  auto& engine = checkpoint_access::engine(trainer);
  const auto entered = engine.enter();
  checkpoint_info info = info_of(path, metadata);
  const std::uint64_t states = number_of(path, metadata, states_key);
  const auto state_steps = numbers_of(path, metadata, state_steps_key);
  info.changed_options = compare_optimizer(path, metadata, engine.optimizer, info.steps);

  engine.prepare();
  std::size_t own_states = 0;
  engine.each_optimizer_state([&](const auto&) { ++own_states; });
  const bool averaged = find_metadata(metadata, averaged_key) != nullptr;
  constexpr bool own_averaged = keeps_average<std::remove_cvref_t<decltype(engine.optimizer)>>;
  if (states > 0 && averaged != own_averaged)
    throw_io_error(path, {"expected a run ", own_averaged ? "with" : "without",
                          " averages of the parameters (averaged<>), got one ", averaged ? "with" : "without",
                          "; give the trainer the optimizer of the run that was saved"});
  if (states > own_states)
    throw_io_error(path, {"expected an optimizer with ", own_states, " states a parameter, got ", states,
                          "; give the trainer the options of the run that was saved"});

  std::vector<wanted_tensor> wanted;
  append_wanted(trainer, wanted);
  std::size_t state_number = 0;
  engine.each_optimizer_state([&](const auto& state) {
    if (state_number < states)
      for (const auto& part : state) wanted.push_back(wanted_for(part, state_name(state_number, part.name())));
    ++state_number;
  });
  std::int64_t carried = 0;  // samples with states; a run that was saved before its first step has none
  const std::size_t before_carried = wanted.size();
  if constexpr (carries_states<Trainer>)
    if (find_metadata(metadata, carried_key) != nullptr) {
      carried = static_cast<std::int64_t>(number_of(path, metadata, carried_key));
      std::size_t layer = 0;
      engine.states.each_layer([&](std::string_view layer_path, std::int64_t size) {
        wanted.push_back({carried_name(layer++, layer_path), {carried, size}});
      });
    }
  const tensor_match found = match_tensors(file, wanted);
  require_same_tensors(path, wanted, found);
  const auto own_state_steps = engine.skips.state_steps();
  if (state_steps.size() != own_state_steps.size())
    throw_io_error(path, {"expected ", own_state_steps.size(), " counts of steps, got ", state_steps.size(),
                          "; the checkpoint is of another model"});
  const std::string* const skipped = find_metadata(metadata, skipped_key);
  if (skipped != nullptr && !engine.skips.accepts(*skipped))
    throw_io_error(path, {"expected skipped layers that can be, got '", clipped(*skipped),
                          "'; the checkpoint is of another model"});

  std::vector<std::uint64_t> seen;
  if (find_metadata(metadata, schedule_key) != nullptr)
    seen = numbers_of(path, metadata, schedule_key, (std::numeric_limits<std::uint64_t>::max)());
  std::size_t own_seen = 0;
  with_stateful_schedule(engine.optimizer, [&](auto& schedule) { own_seen = schedule.state().size(); });
  const bool keeps_schedules = find_metadata(metadata, version_key) != nullptr;
  if (keeps_schedules && seen.size() != own_seen)
    throw_io_error(path, {"expected a schedule with ", own_seen, " numbers of state, got one with ", seen.size(),
                          "; give the trainer the schedule of the run that was saved"});

  if constexpr (data::resumable_loader<Loader>) {
    if (!info.position)
      throw_io_error(path, {"expected the position of a loader, got a checkpoint that was saved without one; load it "
                            "without the loader, which then begins its epoch"});
    compare_loader(info, metadata, identity_of(loader, info.position->epoch));
  }

  std::vector<std::vector<value>> lists;
  std::vector<std::vector<value>> carried_lists;
  for (std::size_t i = 0; i < found.entries.size(); ++i)
    (i < before_carried ? lists : carried_lists).push_back(counted_values<value>(*found.entries[i]));
  // The run that was saved may have had no state of some number yet.
  std::size_t checked = 0;
  engine.each_optimizer_state([&](const auto& state) {
    if (checked++ >= states)
      for (const auto& part : state) lists.emplace_back(static_cast<std::size_t>(part.size()));
  });

  if constexpr (data::resumable_loader<Loader>) loader.resume_at(*info.position);
  engine.half_updated = true;  // until all has been assigned
  std::size_t next = 0;
  for (const auto& tensor : trainer.state()) tensor.assign(lists[next++]);
  engine.each_optimizer_state([&](const auto& state) {
    for (const auto& part : state) part.assign(lists[next++]);
  });
  for (std::size_t i = 0; i < state_steps.size(); ++i) own_state_steps[i] = static_cast<std::int64_t>(state_steps[i]);
  if (skipped != nullptr) engine.skips.set_flags(*skipped);
  if (!seen.empty())
    with_stateful_schedule(engine.optimizer, [&](auto& schedule) {
      auto state = schedule.state();
      for (std::size_t i = 0; i < state.size(); ++i) state[i] = std::bit_cast<double>(seen[i]);
      schedule.set_state(state);
    });
  engine.resume(seed{info.seed}, info.steps);
  if constexpr (carries_states<Trainer> && !Trainer::has_ranks)
    if (carried > 0) engine.states.restore(carried, carried_lists);
  return info;
}

}  // namespace lockstep::detail
