// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/loader_position.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_format.hpp>

/// \file
/// What a checkpoint says of its run in the metadata of its file.

namespace lockstep {

/// What a checkpoint says of its run.
struct checkpoint_info {
  std::string path;
  std::int64_t steps = 0;
  std::uint64_t seed = 0;
  std::optional<data::loader_position> position;  ///< of the loader, where it was saved with one
  std::string optimizer;                          ///< its kind; empty when it does not say
  /// After a load: the options of the trainer's optimizer that are not those of the saved run,
  /// `learning_rate 0.1 in place of 0.01`. Training goes on with the trainer's.
  std::vector<std::string> changed_options;
  safetensors_metadata notes;  ///< what the program gave save_checkpoint to keep
};

namespace detail {

/// The newest form of checkpoints that this version reads, and the one that it writes. The first had no version, no
/// checksum, and nothing of the loader or the optimizer's options.
inline constexpr std::uint64_t checkpoint_version = 2;

inline constexpr std::string_view own_keys = "lockstep.";  ///< what the names of all below begin with
inline constexpr std::string_view version_key = "lockstep.version";
inline constexpr std::string_view checksum_key = "lockstep.checksum";
inline constexpr std::string_view seed_key = "lockstep.seed";
inline constexpr std::string_view steps_key = "lockstep.steps";
inline constexpr std::string_view state_steps_key = "lockstep.state_steps";
inline constexpr std::string_view states_key = "lockstep.optimizer_states";
inline constexpr std::string_view averaged_key =
    "lockstep.averaged";  ///< there when a state is an average of parameters
inline constexpr std::string_view optimizer_key = "lockstep.optimizer";
inline constexpr std::string_view option_keys = "lockstep.option.";          ///< and an option's name
inline constexpr std::string_view schedule_key = "lockstep.schedule_state";  ///< the bits of doubles
inline constexpr std::string_view skipped_key = "lockstep.skipped";          ///< a 1 for each layer that is skipped
inline constexpr std::string_view carried_key = "lockstep.carried_samples";  ///< that have states, of layers that carry
inline constexpr std::string_view epoch_key = "lockstep.loader_epoch";
inline constexpr std::string_view batch_key = "lockstep.loader_batch";
inline constexpr std::string_view loader_keys = "lockstep.loader.";  ///< and a name of its identity
inline constexpr std::string_view note_keys = "note.";               ///< and the program's own name

/// The names in files of the first form.
inline constexpr std::array<std::string_view, 5> first_keys{seed_key, steps_key, state_steps_key, states_key,
                                                            averaged_key};

/// A count of steps above this one is damage: no run gets there.
inline constexpr std::uint64_t most_steps = std::uint64_t{1} << 53U;

/// The text of a metadata entry; null when there is none.
[[nodiscard]] inline const std::string* find_metadata(const safetensors_metadata& metadata, std::string_view key) {
  const auto at = std::find_if(metadata.begin(), metadata.end(), [&](const auto& entry) { return entry.first == key; });
  return at == metadata.end() ? nullptr : &at->second;
}

/// The comma-separated integers up to `most` of a metadata entry. Throws io_error when the entry is missing or has
/// other text.
template <class = void>
[[nodiscard]] std::vector<std::uint64_t> numbers_of(const std::string& path, const safetensors_metadata& metadata,
                                                    std::string_view key, std::uint64_t most = most_steps) {
  const std::string* const text = find_metadata(metadata, key);
  if (text == nullptr)
    throw_io_error(path, {"expected a checkpoint, whose metadata has ", key,
                          ", got a safetensors file without; load_safetensors reads parameters alone"});
  std::vector<std::uint64_t> numbers;
  const char* at = text->data();
  const char* const end = at + text->size();
  for (;;) {
    std::uint64_t number = 0;
    const auto [stop, failure] = std::from_chars(at, end, number);
    if (failure != std::errc{} || (stop != end && *stop != ',') || number > most) break;
    numbers.push_back(number);
    if (stop == end) return numbers;
    at = stop + 1;
  }
  throw_io_error(path, {"expected numbers in its metadata's ", key, ", got '", clipped(*text), "'"});
}

/// The integer of a metadata entry. Throws io_error as numbers_of does, and when there are several.
[[nodiscard]] inline std::uint64_t number_of(const std::string& path, const safetensors_metadata& metadata,
                                             std::string_view key, std::uint64_t most = most_steps) {
  const auto numbers = numbers_of(path, metadata, key, most);
  if (numbers.size() != 1) throw_io_error(path, {"expected one number in its metadata's ", key, ", got several"});
  return numbers.front();
}

/// Appends `number` to a list that numbers_of reads.
inline void append_number(std::string& list, std::uint64_t number) {
  list.append(list.empty() ? "" : ",").append(std::to_string(number));
}

/// The entries whose keys begin with `prefix`, without it.
template <class = void>
[[nodiscard]] safetensors_metadata entries_under(const safetensors_metadata& metadata, std::string_view prefix) {
  safetensors_metadata found;
  for (const auto& [key, text] : metadata)
    if (key.substr(0, prefix.size()) == prefix) found.emplace_back(key.substr(prefix.size()), text);
  return found;
}

/// What the metadata says. Throws io_error when it is not that of a checkpoint.
template <class = void>
[[nodiscard]] checkpoint_info info_of(const std::string& path, const safetensors_metadata& metadata) {
  checkpoint_info info;
  info.path = path;
  info.seed = number_of(path, metadata, seed_key, ~std::uint64_t{0});
  info.steps = static_cast<std::int64_t>(number_of(path, metadata, steps_key));
  if (find_metadata(metadata, epoch_key) != nullptr)
    info.position = {number_of(path, metadata, epoch_key),
                     static_cast<std::int64_t>(number_of(path, metadata, batch_key))};
  if (const std::string* const kind = find_metadata(metadata, optimizer_key); kind != nullptr) info.optimizer = *kind;
  info.notes = entries_under(metadata, note_keys);
  return info;
}

}  // namespace detail

}  // namespace lockstep
