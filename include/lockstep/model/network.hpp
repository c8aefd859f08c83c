// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/core/shape.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/network_data.hpp>
#include <lockstep/model/path.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// Makes a network's data of its type. Nothing here depends on a backend.

namespace lockstep::detail {

/// Receives the walk of `lowering`, computes extents, and keeps everything as data.
template <network_size Size>
class network_builder {
 public:
  using inputs = std::array<network_input, network_data<Size>::input_count>;

  constexpr explicit network_builder(const inputs& all) { data_.inputs = all; }

  /// The input of this name, which takes the place of the value `in`.
  constexpr int input(int in, std::string_view name) {
    if constexpr (Size.selections > 0) {
      if (in == several_outputs) one_value(in);
      replaced_[selections_++] = {in, name};
      for (std::size_t k = bindings_; k-- > 0;)
        if (bound_[k].by == name) return bound_[k].value;
      for (std::size_t k = 0; k < data_.inputs.size(); ++k)
        if (!name.empty() && data_.inputs[k].name == name) return input_value(k);
      fault(network_fault::unknown_input, name);
    }
    return user_input;
  }

  template <class L>
  constexpr int leaf(int in, const scope<path_hash>& s) {
    in = one_value(in);
    check_tokens<L>(in, 0, extents_of(in));
    placed_leaf& placed = place<L>(extents_of(in), s);
    placed.out = L::output(placed.in);
    placed.parameters = L::parameters(placed.in);
    placed.flops = L::flops(placed.in);
    return add_leaf(placed, &in, 1);
  }

  template <class L, std::size_t Count>
  constexpr int joint_leaf(const int (&given)[Count], const scope<path_hash>& s) {
    int values[Count]{};
    std::array<dims, Count> in{};
    for (std::size_t i = 0; i < Count; ++i) {
      values[i] = one_value(given[i]);
      in[i] = extents_of(values[i]);
    }
    for (std::size_t i = 0; i < Count; ++i) check_tokens<L>(values[i], static_cast<unsigned>(i), in);
    placed_leaf& placed = place<L>(in[0], s);
    for (std::size_t i = 1; i < Count; ++i) placed.further[i - 1] = in[i];
    placed.out = L::output(in);
    placed.parameters = L::parameters(in);
    placed.flops = L::flops(in);
    return add_leaf(placed, values, Count);
  }

  constexpr void bind(std::string_view name, int value) {
    bound_[bindings_++] = {.value = one_value(value), .by = name};
  }
  constexpr void unbind() {
    const replaced_value& last = bound_[--bindings_];
    if (last.value >= 0 && data_.operations[static_cast<std::size_t>(last.value)].readers == 0)
      fault(network_fault::unread_binding, last.by);
  }

  template <std::size_t Count>
  constexpr int join(junction how, const int (&given)[Count]) {
    int values[Count]{};
    for (std::size_t i = 0; i < Count; ++i) check_values(values[i] = one_value(given[i]));
    dims out = extents_of(values[0]);
    for (std::size_t i = 1; i < Count; ++i) {
      const dims other = extents_of(values[i]);
      if (how == junction::sum ? other != out : !joinable(out, other))
        fault(how == junction::sum ? network_fault::sum_of_unlike : network_fault::concat_of_unlike, out, other);
      else if (how == junction::concat)
        out.extent[0] = checked_add(out.extent[0], other.extent[0]);
    }
    const int value = add(out, values, Count);
    data_.operations[static_cast<std::size_t>(value)].joins = how;
    return value;
  }

  constexpr int begin_skip(int in, const scope<path_hash>&) {
    data_.skips[skips_] = {.parent = skip_, .first_leaf = leaves_};
    skip_ = static_cast<int>(skips_++);
    check_values(in = one_value(in));
    const int value = add(extents_of(in), &in, 1);
    data_.operations[static_cast<std::size_t>(value)].joins = junction::skip_begin;
    begins_[static_cast<std::size_t>(skip_)] = value;
    return value;
  }
  constexpr int end_skip(int body) {
    skippable_part& part = data_.skips[static_cast<std::size_t>(skip_)];
    const int values[]{one_value(body), begins_[static_cast<std::size_t>(skip_)]};
    if constexpr (Size.selections > 0)
      if (values[0] != values[1]) find_unread(values[1]);
    if (extents_of(values[0]) != extents_of(values[1]))
      fault(network_fault::skipped_unlike, extents_of(values[1]), extents_of(values[0]));
    const int value = add(extents_of(values[1]), values, 2);
    data_.operations[static_cast<std::size_t>(value)].joins = junction::skip_end;
    part.last_leaf = leaves_;
    skip_ = part.parent;
    return value;
  }

  template <std::size_t Count>
  constexpr int outputs(const int (&values)[Count], const std::string_view (&names)[Count]) {
    data_.output_count = 0;
    for (std::size_t k = 0; k < Count; ++k) add_output(values[k], names[k]);
    return several_outputs;
  }

  [[nodiscard]] constexpr network_data<Size> finish(int output) {
    if (output != several_outputs) {
      data_.output_count = 0;
      add_output(output, {});
    }
    if constexpr (Size.selections > 0) find_unread();
    return data_;
  }

 private:
  /// A layer of this walk, whose first value has the extents `in`.
  template <class L>
  constexpr placed_leaf& place(const dims& in, const scope<path_hash>& s) {
    placed_leaf& placed = data_.leaves[leaves_];
    placed.kind = L::kind;
    placed.traits = L::traits;
    placed.in = in;
    placed.path = s.path;
    placed.frozen = s.frozen;
    placed.tied = s.tied;
    placed.part = s.part;
    placed.owner = static_cast<int>(leaves_++);
    return placed;
  }
  /// The operation of a layer whose extents and parameters are known.
  constexpr int add_leaf(placed_leaf& placed, const int* values, std::size_t count) {
    const int index = placed.owner;
    if (placed.tied) tie(placed);
    const int value = add(placed.out, values, count);
    data_.operations[static_cast<std::size_t>(value)].leaf = index;
    return value;
  }
  /// Value k of a layer, which reads values of the extents `in`: tokens where it reads tokens, else values.
  template <class L, class Extents>
  constexpr void check_tokens(int value, unsigned k, [[maybe_unused]] const Extents& in) {
    if constexpr (L::traits.token_operands == 0)
      check_values(value);
    else if ((L::traits.token_operands >> k & 1U) == 0)
      check_values(value);
    else if constexpr (requires { L::vocabulary(in); })
      read_tokens(value, L::vocabulary(in));
    else
      read_tokens(value, L::vocabulary);
  }

  /// A value, and the input that takes its place; or a value, and the name that it is bound to.
  struct replaced_value {
    int value = user_input;
    std::string_view by;
  };

  /// `value`, which is to be read. Where it stands for several values, that is a fault, and another replaces it.
  constexpr int one_value(int value) {
    if (value > several_inputs) return value;
    fault(value == several_inputs ? network_fault::inputs_as_one : network_fault::outputs_not_last,
          data_.inputs[0].name);
    return user_input;
  }
  [[nodiscard]] constexpr bool are_tokens(int value) const { return value < 0 && data_.inputs[input_of(value)].tokens; }
  constexpr void check_values(int value) {
    if (are_tokens(value)) fault(network_fault::tokens_as_values, data_.inputs[input_of(value)].name);
  }
  constexpr void read_tokens(int value, std::int64_t vocabulary) {
    if (!are_tokens(value)) return fault(network_fault::values_as_tokens, {});
    std::int64_t& all = data_.inputs[input_of(value)].vocabulary;
    all = all == 0 ? vocabulary : (std::min)(all, vocabulary);
  }
  /// `from` can leave inputs and layers unread.
  constexpr void find_unread() {
    for (const network_input& each : data_.inputs)
      if (each.readers == 0) fault(network_fault::unread_input, each.name);
    for (const replaced_value& each : replaced_)
      if (each.value >= 0) find_unread(each.value);
  }
  constexpr void find_unread(int value) {
    if (data_.operations[static_cast<std::size_t>(value)].readers > 0) return;
    for (const replaced_value& each : replaced_)
      if (each.value == value) fault(network_fault::unread_value, each.by);
  }
  constexpr void add_output(int value, std::string_view name) {
    check_values(value = one_value(value));
    count_reader(value);
    data_.outputs[static_cast<std::size_t>(data_.output_count++)] = {value, extents_of(value), name};
  }
  [[nodiscard]] constexpr dims extents_of(int value) const {
    return value < 0 ? data_.inputs[input_of(value)].extents : data_.operations[static_cast<std::size_t>(value)].out;
  }
  constexpr void count_reader(int value) {
    if (value < 0)
      ++data_.inputs[input_of(value)].readers;
    else
      ++data_.operations[static_cast<std::size_t>(value)].readers;
  }
  constexpr int add(const dims& out, const int* values, std::size_t count) {
    operation& added = data_.operations[operations_];
    added.out = out;
    added.skip = skip_;
    added.first_operand = static_cast<int>(operands_);
    added.operands = static_cast<int>(count);
    for (std::size_t i = 0; i < count; ++i) {
      data_.operands[operands_++] = values[i];
      count_reader(values[i]);
    }
    return static_cast<int>(operations_++);
  }
  /// True when all extents but the first are equal.
  [[nodiscard]] static constexpr bool joinable(const dims& a, const dims& b) {
    if (a.rank != b.rank) return false;
    for (int i = 1; i < a.rank; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }
  [[nodiscard]] static constexpr bool alike(const parameter_list& a, const parameter_list& b) {
    if (a.count != b.count) return false;
    for (int i = 0; i < a.count; ++i)
      if (a.items[i].name != b.items[i].name || a.items[i].shape != b.items[i].shape) return false;
    return true;
  }
  /// Finds the first leaf of the same path, and part, among those that are tied. Frozen at one place, they are so at
  /// all.
  constexpr void tie(placed_leaf& placed) {
    if (placed.traits.is_skippable || skip_ >= 0) fault(network_fault::tied_skippable, placed.in, placed.in);
    if (placed.traits.measures_batch) fault(network_fault::tied_measuring, placed.in, placed.in);
    const int index = placed.owner;
    for (int i = 0; i < index; ++i) {
      placed_leaf& earlier = data_.leaves[static_cast<std::size_t>(i)];
      if (!earlier.tied || earlier.path != placed.path || earlier.part != placed.part) continue;
      if (placed.owner == index) {
        // What arrives may differ between places that read one table, such as an embedding and the logits.
        const bool one_table = earlier.traits.is_table && placed.traits.is_table;
        const bool fits =
            one_table || (earlier.kind == placed.kind && earlier.in == placed.in && earlier.out == placed.out);
        if (!fits || !alike(earlier.parameters, placed.parameters))
          fault(network_fault::tied_unlike, earlier.in, placed.in);
        placed.owner = i;
        placed.frozen = placed.frozen || earlier.frozen;
      }
      earlier.frozen = placed.frozen;
    }
  }
  constexpr void fault(network_fault what, const dims& one, const dims& other) {
    if (data_.fault.what == network_fault::none)
      data_.fault = {.what = what, .leaves_before = leaves_, .one = one, .other = other};
  }

  constexpr void fault(network_fault what, std::string_view name) {
    if (data_.fault.what == network_fault::none) data_.fault_name = name;
    fault(what, data_.inputs[0].extents, data_.inputs[0].extents);
  }

  network_data<Size> data_;
  std::array<replaced_value, Size.selections> replaced_{};
  std::array<replaced_value, Size.bindings> bound_{};
  std::array<int, Size.skips> begins_{};
  int skip_ = -1;  ///< the innermost skippable composite around what is being lowered
  std::size_t skips_ = 0;
  std::size_t leaves_ = 0;
  std::size_t operations_ = 0;
  std::size_t operands_ = 0;
  std::size_t selections_ = 0;
  std::size_t bindings_ = 0;
};

/// The size of a network that reads so many inputs.
[[nodiscard]] consteval network_size size_of(network_size network, std::size_t inputs) {
  network.inputs = inputs > 1 ? inputs : 0;
  return network;
}

/// `Network` as data, for these inputs.
template <class Network, std::size_t Inputs>
consteval auto lower(const std::array<network_input, Inputs>& inputs) {
  network_builder<size_of(lowering<Network>::size, Inputs)> builder(inputs);
  const int output = lowering<Network>::run(builder, Inputs > 1 ? several_inputs : user_input, scope<path_hash>{});
  return builder.finish(output);
}

/// Receives the walk of `lowering`, and keeps the paths alone.
template <network_size Size>
struct path_builder {
  std::array<path, Size.leaves> paths{};
  std::array<path, Size.skips> skips{};
  std::size_t count = 0;
  std::size_t skip_count = 0;

  template <class L>
  constexpr int leaf(int, const scope<path>& s) {
    paths[count++] = s.path;
    return 0;
  }
  template <class L, std::size_t Count>
  constexpr int joint_leaf(const int (&)[Count], const scope<path>& s) {
    paths[count++] = s.path;
    return 0;
  }
  constexpr int input(int, std::string_view) { return 0; }
  constexpr void bind(std::string_view, int) {}
  constexpr void unbind() {}
  constexpr int begin_skip(int, const scope<path>& s) {
    skips[skip_count++] = s.path;
    return 0;
  }
  constexpr int end_skip(int) { return 0; }
  template <std::size_t Count>
  constexpr int join(junction, const int (&)[Count]) {
    return 0;
  }
  template <std::size_t Count>
  constexpr int outputs(const int (&)[Count], const std::string_view (&)[Count]) {
    return 0;
  }
};

/// Walks a network and keeps its paths as text.
template <class Network>
consteval auto walk_paths() {
  path_builder<lowering<Network>::size> builder;
  lowering<Network>::run(builder, user_input, scope<path>{});
  return builder;
}

/// The paths of a network's leaves as text.
template <class Network>
consteval auto leaf_paths() {
  return walk_paths<Network>().paths;
}

/// The paths of the composites that may be skipped.
template <class Network>
consteval auto skippable_paths() {
  if constexpr (lowering<Network>::size.skips > 0)
    return walk_paths<Network>().skips;
  else
    return std::array<path, 0>{};
}

}  // namespace lockstep::detail
