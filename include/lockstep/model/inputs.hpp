// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/network.hpp>

namespace lockstep {

/// The extents of one sample that enters a model: `input<3, 32, 32>`, `input<784>`.
template <std::int64_t... Extents>
using input = shape<Extents...>;

/// A sample of T tokens: integers of any type, which an `embedding` looks up. A step, and every other call, checks that
/// the vocabulary has them before it begins.
template <std::int64_t T>
struct tokens {};

/// Several inputs of a model, each of which has a name: `inputs<named<"image", input<3, 32, 32>>, named<"words",
/// tokens<16>>>`. The network reads them where it says `from<"image">`. A batch is a std::tuple, or a struct, of the
/// samples of each, in this order.
template <class... Inputs>
struct inputs {};

}  // namespace lockstep

namespace lockstep::detail {

/// The Input of a model that is given none.
struct no_input {};

template <class T>
struct is_shape : std::false_type {};
template <std::int64_t... Extents>
struct is_shape<shape<Extents...>> : std::true_type {};

/// The tokens of a sample; 0 for an input of values.
template <class Input>
inline constexpr std::int64_t tokens_in = 0;
template <std::int64_t T>
inline constexpr std::int64_t tokens_in<tokens<T>> = T;

/// The extents of one sample, or rank 0 when Input does not give them. One dimension is left for the batch.
template <class Input>
consteval dims sample_extents() {
  if constexpr (is_shape<Input>::value)
    if (!Input::is_dynamic && Input::rank < dims::max_rank) return Input::extents;
  if (tokens_in<Input> > 0) return dims{tokens_in<Input>};
  return {};
}

template <class Input>
consteval network_input input_of_type(std::string_view name) {
  return {.name = name, .extents = sample_extents<Input>(), .tokens = tokens_in<Input> > 0};
}

/// Takes an input apart: its extents, and its name, which is empty when it has none.
template <class Input>
struct input_part {
  using extents = Input;
  static constexpr std::string_view name{};
};
template <named_layer Input>
struct input_part<Input> {
  using extents = typename Input::named_layer;
  static constexpr std::string_view name = Input::own_name;
};

/// What is wrong with the inputs of a model.
enum class input_fault : std::uint8_t { none, too_few, not_an_input, without_name, repeated };

/// The inputs of a model as data, and the first fault in them.
template <class Input>
struct input_list {
  static constexpr bool are_several = false;
  static constexpr std::array<network_input, 1> all{input_of_type<Input>({})};
  static constexpr input_fault fault = input_fault::none;
};
template <class... Inputs>
struct input_list<inputs<Inputs...>> {
  static constexpr bool are_several = true;
  static constexpr std::size_t count = (std::max)(sizeof...(Inputs), std::size_t{1});
  static constexpr std::array<network_input, count> all{
      input_of_type<typename input_part<Inputs>::extents>(input_part<Inputs>::name)...};
  static constexpr input_fault fault = [] {
    if (sizeof...(Inputs) < 2) return input_fault::too_few;
    for (const network_input& each : all)
      if (each.extents.rank == 0) return input_fault::not_an_input;
    for (const network_input& each : all)
      if (each.name.empty()) return input_fault::without_name;
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (all[i].name == all[j].name) return input_fault::repeated;
    return input_fault::none;
  }();
};

template <std::size_t Count>
consteval std::array<dims, Count> extents_of_inputs(const std::array<network_input, Count>& inputs) {
  std::array<dims, Count> all{};
  for (std::size_t k = 0; k < Count; ++k) all[k] = inputs[k].extents;
  return all;
}

/// Whether each input is one of tokens.
template <std::size_t Count>
consteval std::array<bool, Count> inputs_of_tokens(const std::array<network_input, Count>& inputs) {
  std::array<bool, Count> all{};
  for (std::size_t k = 0; k < Count; ++k) all[k] = inputs[k].tokens;
  return all;
}

/// Fails to compile; the compiler's note shows the inputs.
template <input_fault What, class Inputs>
consteval bool require_inputs() {
  static_assert(What != input_fault::too_few,
                "lockstep: inputs: at least two inputs; a model with one names it alone, as in model<net, input<784>, "
                "loss>");
  static_assert(What != input_fault::not_an_input,
                "lockstep: inputs: each is the one to four extents of one sample, or tokens<T>, with a name, as in "
                "named<\"image\", input<3, 32, 32>>; one of them (Inputs) is not");
  static_assert(What != input_fault::without_name,
                "lockstep: inputs: each has a name, by which the network reads it; one of them (Inputs) has none: "
                "write named<\"image\", input<3, 32, 32>>");
  static_assert(What != input_fault::repeated,
                "lockstep: inputs: two of them (Inputs) have the same name; give one of them another");
  return true;
}

template <fixed_string>
inline constexpr bool is_free = false;

/// Fails to compile where a network does not read its inputs as it must; the compiler's note shows Name, of an input.
template <network_fault What, fixed_string Name>
consteval bool require_reads() {
  static_assert(What != network_fault::unknown_input || is_free<Name>,
                "lockstep: from: no input of the model has this name (Name); inputs get their names as in "
                "inputs<named<\"image\", input<3, 32, 32>>, ...>");
  static_assert(What != network_fault::unread_input || is_free<Name>,
                "lockstep: inputs: no layer reads this input (Name); begin a branch of the network with from<...> of "
                "its name, or leave the input out");
  static_assert(What != network_fault::inputs_as_one || is_free<Name>,
                "lockstep: inputs: a layer reads all inputs of the model as if they were one value; begin its branch "
                "with one of them, as in sequential<from<\"image\">, ...>");
  static_assert(What != network_fault::unread_value || is_free<Name>,
                "lockstep: from: it takes an input (Name) in place of what arrives, so that nothing reads the layers "
                "before it; put them and it into branches of a concat or a sum");
  static_assert(What != network_fault::unread_binding || is_free<Name>,
                "lockstep: bind: nothing reads the value that has this name (Name); begin a branch of its body with "
                "from<...> of the name, or leave bind out");
  static_assert(What != network_fault::tokens_as_values || is_free<Name>,
                "lockstep: tokens: something computes with the tokens of an input (Name) as if they were values; put "
                "embedding<Vocabulary, Width> before it");
  static_assert(What != network_fault::values_as_tokens || is_free<Name>,
                "lockstep: embedding: it looks up tokens, but what arrives are values; make the input of the model "
                "tokens<T>, and let embedding be the first to read it");
  return true;
}

/// The position of an input by its name.
template <fixed_string Name, const auto& Graph>
consteval std::size_t position_of_input() {
  constexpr std::size_t position = [] {
    std::size_t k = 0;
    while (k < Graph.inputs.size() && Graph.inputs[k].name != Name.view()) ++k;
    return k;
  }();
  static_assert(position < Graph.inputs.size(), "lockstep: model: no input has this name (Name)");
  return position;
}

}  // namespace lockstep::detail
