// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

#include <lockstep/core/static_for.hpp>
#include <lockstep/model/path.hpp>
#include <lockstep/model/type_list.hpp>
#include <lockstep/nn/from.hpp>
#include <lockstep/nn/frozen.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/layer.hpp>

/// \file
/// The walk over a network's type, as far as layers go and what stands around one: names, `frozen`, `from`.

namespace lockstep::detail {

/// How many layers a network has, how many operations (layers and junctions), how many values these read, how many of
/// the layers measure the whole batch, how many outputs `outputs` names, how many inputs `inputs` names (0: the model
/// has one input), how often `from` reads one, how many composites may be skipped, how many layers read tokens, and how
/// many values `bind` names.
struct network_size {
  std::size_t leaves = 0;
  std::size_t operations = 0;
  std::size_t operands = 0;
  std::size_t measures = 0;
  std::size_t outputs = 0;
  std::size_t inputs = 0;
  std::size_t selections = 0;
  std::size_t skips = 0;
  std::size_t tokens = 0;
  std::size_t bindings = 0;

  friend constexpr network_size operator+(const network_size& a, const network_size& b) {
    return {a.leaves + b.leaves,   a.operations + b.operations, a.operands + b.operands,     a.measures + b.measures,
            a.outputs + b.outputs, a.inputs + b.inputs,         a.selections + b.selections, a.skips + b.skips,
            a.tokens + b.tokens,   a.bindings + b.bindings};
  }
  friend constexpr bool operator==(const network_size&, const network_size&) = default;
};

constexpr network_size sum_of(std::initializer_list<network_size> parts) {
  network_size sum;
  for (const network_size& part : parts) sum = sum + part;
  return sum;
}

/// An operation that is no layer. `sum` and `concat` make one of several values; `skip_begin` and `skip_end` stand
/// before and after a composite that may be skipped.
enum class junction : std::uint8_t { sum, concat, skip_begin, skip_end };

/// What surrounds a layer.
template <class Path>
struct scope {
  Path path{};
  bool frozen = false;
  bool tied = false;
  int part = 0;  ///< of a stack of layers, which share a path

  [[nodiscard]] constexpr scope enter(std::string_view name) const { return {child(path, name), frozen, tied}; }
  [[nodiscard]] constexpr scope enter(std::size_t position) const { return {child(path, position), frozen, tied}; }
  [[nodiscard]] constexpr scope freeze() const { return {path, true, tied}; }
  [[nodiscard]] constexpr scope tie(std::string_view name) const { return {child(Path{}, name), frozen, true}; }
};

// Recognises `named` and `tied` by their members, since not every compiler deduces a string among template arguments.
template <class L>
concept named_layer = requires {
  typename L::named_layer;
  L::own_name;
};
template <class L>
concept tied_layer = requires {
  typename L::tied_layer;
  L::own_name;
};

template <class L>
concept input_reader = requires {
  typename L::from_body;
  L::input_name;
};

/// A module that is a stack of layers.
template <class L>
concept is_layer_stack = requires { typename L::stacked_layers; };

/// 1 for a layer that measures the whole batch.
template <class L>
inline constexpr std::size_t measures_batch = 0;
template <class L>
  requires requires { L::traits.measures_batch; }
inline constexpr std::size_t measures_batch<L> = L::traits.measures_batch ? 1 : 0;
/// 1 for a layer that reads tokens.
template <class L>
inline constexpr std::size_t reads_tokens = 0;
template <class L>
  requires requires { L::traits.token_operands; }
inline constexpr std::size_t reads_tokens<L> = L::traits.token_operands != 0 ? 1 : 0;

/// Lowers a network L. Has `leaves`, the list of its layers in the order of execution; `size`; and
/// `run(builder, in, scope)`, which tells the builder what L does with the value `in`, and returns L's output value.
/// The builder's `leaf<Layer>(in, scope)`, `joint_leaf<Layer>(values, scope)` and `join(junction, values)` return the
/// values that they add, as do `begin_skip(in, scope)` and `end_skip(body)` around a composite that may be skipped;
/// `input(in, name)` returns an input of the model, or the value that `bind(name, value)` has named, until `unbind()`;
/// `outputs(values, names)` returns what stands for several values, which nobody may read.
template <class L>
struct lowering {
  using leaves = type_list<L>;
  static constexpr network_size size{
      .leaves = 1, .operations = 1, .operands = 1, .measures = measures_batch<L>, .tokens = reads_tokens<L>};

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return b.template leaf<L>(in, s);
  }
};

/// True for a layer that has a name, inside or outside of `frozen`, `skippable` (lowering.hpp) and `from`.
template <class L>
inline constexpr bool has_name = named_layer<L> || tied_layer<L>;
template <class L>
inline constexpr bool has_name<frozen<L>> = has_name<L>;
template <input_reader L>
inline constexpr bool has_name<L> = has_name<typename L::from_body>;

/// Lowers L. If L has no name of its own, `name` is its name: a text, or its position.
template <class L, class Builder, class Path, class Name>
constexpr int run_child(Builder& b, int in, const scope<Path>& s, const Name& name) {
  if constexpr (has_name<L>)
    return lowering<L>::run(b, in, s);
  else
    return lowering<L>::run(b, in, s.enter(name));
}

template <>
struct lowering<identity> {
  using leaves = type_list<>;
  static constexpr network_size size{};

  template <class Builder, class Path>
  static constexpr int run(Builder&, int in, const scope<Path>&) {
    return in;
  }
};

template <named_layer L>
struct lowering<L> : lowering<typename L::named_layer> {
  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return lowering<typename L::named_layer>::run(b, in, s.enter(L::own_name));
  }
};

template <tied_layer L>
struct lowering<L> : lowering<typename L::tied_layer> {
  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return lowering<typename L::tied_layer>::run(b, in, s.tie(L::own_name));
  }
};

template <class L>
struct lowering<frozen<L>> : lowering<L> {
  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return lowering<L>::run(b, in, s.freeze());
  }
};

template <input_reader L>
struct lowering<L> {
  using body = lowering<typename L::from_body>;
  using leaves = typename body::leaves;
  static constexpr network_size size = body::size + network_size{.selections = 1};

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return body::run(b, b.input(in, L::input_name), s);
  }
};

}  // namespace lockstep::detail
