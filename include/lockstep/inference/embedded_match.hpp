// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/inference/state.hpp>
#include <lockstep/io/safetensors_match.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/model/path.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// Finds the tensors of a model in a header that lockstep-embed has written. All of it runs in the compiler.

namespace lockstep::detail::infer {

/// What lockstep-embed writes: a type with a table of tensors and the values of all of them.
template <class Weights>
concept embedded_weights = requires {
  { Weights::tensors[0].name } -> std::convertible_to<std::string_view>;
  { Weights::tensors[0].rank } -> std::convertible_to<int>;
  { Weights::tensors[0].extents[0] } -> std::convertible_to<std::int64_t>;
  { Weights::tensors[0].begin } -> std::convertible_to<std::int64_t>;
  { Weights::tensors[0].whole } -> std::convertible_to<bool>;
  { Weights::values[0] } -> std::convertible_to<float>;
  { Weights::values.size() } -> std::convertible_to<std::size_t>;
};

/// A short text that the compiler writes; what does not fit is cut off.
struct short_text {
  static constexpr std::size_t capacity = 160;

  char text[capacity]{};
  std::size_t length = 0;

  constexpr void append(std::string_view part) {
    for (const char c : part)
      if (length < capacity) text[length++] = c;
  }
  constexpr void append(std::int64_t number) {
    char digits[20]{};
    std::size_t first = sizeof(digits);
    do {
      digits[--first] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    append(std::string_view(digits + first, sizeof(digits) - first));
  }
  /// `6x1x5x5`, or `scalar`.
  constexpr void append_shape(std::int64_t rank, const std::int64_t* extents) {
    if (rank == 0) append("scalar");
    for (std::int64_t i = 0; i < rank; ++i) {
      if (i > 0) append("x");
      append(extents[i]);
    }
  }
  [[nodiscard]] constexpr std::string_view view() const { return {text, length}; }
};

enum class embedded_fault : std::uint8_t {
  none,
  missing,   ///< the header lacks a tensor of the model
  foreign,   ///< it has one that the model lacks
  shape,     ///< a tensor has another shape
  integers,  ///< whole numbers in the file where the model has weights
  no_count   ///< the model counts, and the value is no whole number
};

/// Where a model's tensors begin among the values of a header; or why they cannot be found, and in which tensor.
template <std::size_t Tensors>
struct embedded_places {
  std::array<std::int64_t, Tensors> begin{};
  std::array<std::int64_t, Tensors> size{};
  embedded_fault fault = embedded_fault::none;
  short_text name{};
  short_text wanted{};
  short_text given{};
};

/// One tensor of a model's state.
struct wanted_place {
  std::string_view path;
  const parameter_spec& spec;

  [[nodiscard]] constexpr std::string_view dot() const { return path.empty() ? "" : "."; }
};

/// Calls f(wanted_place) for each tensor of a model's state, in order.
template <class Model, class F>
constexpr void each_wanted(F f) {
  for (std::size_t i = 0; i < Model::leaf_count; ++i) {
    const placed_leaf& leaf = Model::graph.leaves[i];
    if (leaf.owner != static_cast<int>(i)) continue;
    for (int p = 0; p < leaf.parameters.count; ++p) f(wanted_place{Model::paths[i].view(), leaf.parameters.items[p]});
  }
}

template <class Model>
inline constexpr std::size_t state_tensors = [] {
  std::size_t count = 0;
  each_wanted<Model>([&](const wanted_place&) { ++count; });
  return count;
}();

/// Finds the tensors of a header by the hashes of their names: compilers limit the steps of a computation, and texts
/// take many.
template <class Weights>
inline constexpr auto embedded_index = [] {
  constexpr std::size_t count = std::size(Weights::tensors);
  struct {
    std::array<std::uint64_t, count> hashes{};
    std::array<std::size_t, 2 * count> slots{};  // a position in the table, and 1; or 0
  } index;
  for (std::size_t i = 0; i < count; ++i) {
    path_hash hash;
    hash.append(Weights::tensors[i].name);
    index.hashes[i] = hash.value;
    std::size_t slot = hash.value % index.slots.size();
    while (index.slots[slot] != 0) slot = (slot + 1) % index.slots.size();
    index.slots[slot] = i + 1;
  }
  return index;
}();

/// The position of a tensor in the table, or the table's length.
template <class Weights>
[[nodiscard]] constexpr std::size_t find_embedded(std::string_view prefix, const wanted_place& wanted) {
  const auto& index = embedded_index<Weights>;
  const std::string_view parts[] = {prefix, wanted.path, wanted.dot(), wanted.spec.name};
  path_hash hash;
  for (const std::string_view part : parts) hash.append(part);
  for (std::size_t slot = hash.value;; ++slot) {
    slot %= index.slots.size();
    if (index.slots[slot] == 0) return index.hashes.size();
    const std::size_t at = index.slots[slot] - 1;
    if (index.hashes[at] != hash.value) continue;
    std::string_view rest = Weights::tensors[at].name;
    bool equal = true;
    for (const std::string_view part : parts) {
      equal = equal && rest.starts_with(part);
      if (equal) rest.remove_prefix(part.size());
    }
    if (equal && rest.empty()) return at;
  }
}

/// The prefix that load_safetensors would remove.
template <class Model, class Weights>
inline constexpr std::string_view embedded_prefix = wrapper_prefix([](std::string_view prefix) {
  std::ptrdiff_t found = 0;
  bool occurs = false;  // where it does not, looking for every name would only cost the compiler steps
  for (const auto& tensor : Weights::tensors) occurs = occurs || std::string_view(tensor.name).starts_with(prefix);
  if (!occurs) return found;
  each_wanted<Model>([&](const wanted_place& wanted) {
    if (find_embedded<Weights>(prefix, wanted) < std::size(Weights::tensors)) ++found;
  });
  return found;
});

/// Why a tensor of the header is not the one that is wanted.
template <class Weights>
[[nodiscard]] constexpr embedded_fault misfit_of(const auto& tensor, const parameter_spec& spec) {
  bool equal = tensor.rank == spec.shape.rank;
  for (int i = 0; equal && i < spec.shape.rank; ++i) equal = tensor.extents[i] == spec.shape[i];
  if (!equal) return embedded_fault::shape;
  if (!spec.counts) return tensor.whole ? embedded_fault::integers : embedded_fault::none;
  for (std::int64_t i = 0; i < spec.shape.size(); ++i) {
    const float value = Weights::values[static_cast<std::size_t>(tensor.begin + i)];
    constexpr float most = 16'777'216;  // 2^24: all whole numbers up to here are floats
    if (!(value >= 0 && value <= most) || static_cast<float>(static_cast<std::int64_t>(value)) != value)
      return embedded_fault::no_count;
  }
  return embedded_fault::none;
}

/// Finds all tensors, or the first that is at fault.
template <class Model, class Weights>
consteval auto match_embedded() {
  embedded_places<state_tensors<Model>> places;
  std::array<bool, std::size(Weights::tensors)> used{};
  constexpr std::string_view prefix = embedded_prefix<Model, Weights>;
  std::size_t next = 0;
  each_wanted<Model>([&](const wanted_place& wanted) {
    if (places.fault != embedded_fault::none) return;
    const parameter_spec& spec = wanted.spec;
    const std::size_t at = find_embedded<Weights>(prefix, wanted);
    const bool found = at < used.size();
    places.fault = found ? misfit_of<Weights>(Weights::tensors[at], spec) : embedded_fault::missing;
    if (places.fault == embedded_fault::none) {
      used[at] = true;
      places.begin[next] = Weights::tensors[at].begin;
      places.size[next++] = spec.shape.size();
      return;
    }
    for (const std::string_view part : {found ? prefix : std::string_view(), wanted.path, wanted.dot(), spec.name})
      places.name.append(part);
    places.wanted.append_shape(spec.shape.rank, spec.shape.extent);
    if (found) places.given.append_shape(Weights::tensors[at].rank, Weights::tensors[at].extents);
  });
  for (std::size_t i = 0; i < used.size() && places.fault == embedded_fault::none; ++i) {
    if (used[i]) continue;
    places.fault = embedded_fault::foreign;
    places.name.append(Weights::tensors[i].name);
  }
  return places;
}

/// Fails to compile where there is a fault; the compiler's note shows Name, Wanted and Given.
template <embedded_fault What, fixed_string Name, fixed_string Wanted, fixed_string Given>
consteval bool require_embedded() {
  static_assert(What != embedded_fault::missing,
                "lockstep: embedded_state: the header lacks a tensor of the model (Name, of the shape Wanted); embed "
                "the file of this model");
  static_assert(What != embedded_fault::foreign,
                "lockstep: embedded_state: the header has a tensor that the model lacks (Name); embed the file of this "
                "model");
  static_assert(What != embedded_fault::shape,
                "lockstep: embedded_state: a tensor (Name) has another shape in the header (Given) than in the model "
                "(Wanted); embed the file of this model");
  static_assert(What != embedded_fault::integers,
                "lockstep: embedded_state: the file has whole numbers (I64) where the model has weights (Name)");
  static_assert(What != embedded_fault::no_count,
                "lockstep: embedded_state: the model counts in a tensor (Name) whose value in the header is no whole "
                "number from 0 to 2^24");
  return true;
}

}  // namespace lockstep::detail::infer
