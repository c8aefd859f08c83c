// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/inputs.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/model/path.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/losses.hpp>
#include <lockstep/nn/outputs.hpp>

/// \file
/// The checks of a model. The compiler reports each fault in one sentence.

namespace lockstep::detail {

/// Replaces the layers of a model that has a fault, so that the compiler reports that fault alone.
struct not_a_layer {
  static constexpr std::string_view kind = "not_a_layer";
  static constexpr layer_traits traits{.is_flatten = true, .backward_reads_input = false};

  [[nodiscard]] static constexpr dims output(const dims& in) { return dims{in.size()}; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims&) { return 0; }
};

template <class Loss>
inline constexpr bool is_loss =
    std::is_same_v<Loss, no_loss> || requires { typename Loss::template target_type<float>; };
template <class... Parts>
inline constexpr bool is_loss<losses<Parts...>> =
    (requires { typename loss_part<Parts>::loss::template target_type<float>; } && ...);

/// Instantiated for each leaf, so that the compiler's note names the leaf that is not a layer.
template <class Leaf>
inline constexpr bool require_layer = [] {
  static_assert(layer<Leaf> || joint_layer<Leaf>, "lockstep: sequential: one of its arguments is not a layer");
  return true;
}();
template <class... Ls>
inline constexpr bool require_layer<too_few_parts<sequential<Ls...>>> = [] {
  static_assert(sizeof...(Ls) > 0, "lockstep: sequential: at least one layer");
  return true;
}();
template <class... Ls>
inline constexpr bool require_layer<too_few_parts<sum<Ls...>>> = [] {
  static_assert(sizeof...(Ls) > 1, "lockstep: sum: at least two branches");
  return true;
}();
template <class... Ls>
inline constexpr bool require_layer<too_few_parts<concat<Ls...>>> = [] {
  static_assert(sizeof...(Ls) > 1, "lockstep: concat: at least two branches");
  return true;
}();
template <class... Ls>
inline constexpr bool require_layer<too_few_parts<outputs<Ls...>>> = [] {
  static_assert(sizeof...(Ls) > 1, "lockstep: outputs: at least two branches");
  return true;
}();
template <class L, std::size_t Branches>
inline constexpr bool require_layer<not_fed<L, Branches>> = [] {
  static_assert(feeds<L, Branches>,
                "lockstep: feed: its first argument (L) is a layer that reads several values, and after it comes one "
                "branch for each of them (Branches)");
  return true;
}();
template <int N, class L>
inline constexpr bool require_layer<too_few_parts<repeat<N, L>>> = [] {
  static_assert(N > 0, "lockstep: repeat: at least one copy");
  return true;
}();
template <class... Leaves>
consteval bool require_layers(type_list<Leaves...> list) {
  // A plain fold makes the shortest errors, but compilers limit its operands.
  if constexpr (sizeof...(Leaves) <= 200) {
    return (... && require_layer<Leaves>);
  } else {
    static_for<sizeof...(Leaves)>(
        [&]<std::size_t Index>() { static_cast<void>(require_layer<typename at<Index, decltype(list)>::type>); });
    return true;
  }
}

template <class List>
inline constexpr bool are_layers = false;
template <class... Leaves>
inline constexpr bool are_layers<type_list<Leaves...>> = [] {
  for (const bool is : std::initializer_list<bool>{(layer<Leaves> || joint_layer<Leaves>)...})
    if (!is) return false;
  return true;
}();

/// The arguments of a model. When one is wrong, harmless ones replace them all.
template <class Network, class Input, class Loss, class... Surplus>
struct model_arguments {
  using given = input_list<Input>;
  static constexpr bool has_inputs = given::fault == input_fault::none && given::all[0].extents.rank > 0;
  static constexpr bool is_valid = sizeof...(Surplus) == 0 && has_inputs && is_loss<Loss>;
  static constexpr bool names_loss = !std::is_same_v<Loss, no_loss>;
  static constexpr bool has_network = is_valid && are_layers<typename lowering<Network>::leaves>;
  /// Whether everything reads one value, and every input and value has a reader; if not, what is wrong, and the name
  /// of an input that it has to do with.
  struct found_wiring {
    network_fault fault = network_fault::none;
    std::string_view name;
  };
  static constexpr found_wiring wiring = []() -> found_wiring {
    if constexpr (has_network) {
      constexpr network_size size = lowering<Network>::size;
      if constexpr (given::are_several || given::all[0].tokens || size.outputs > 0 || size.selections > 0 ||
                    size.tokens + size.bindings > 0) {
        const auto lowered = lower<Network>(given::all);
        if (misleads(lowered.fault.what)) return {lowered.fault.what, lowered.fault_name};
      }
    }
    return {};
  }();
  static constexpr bool is_wired = has_network && wiring.fault == network_fault::none;

  using network = std::conditional_t<is_wired, Network, not_a_layer>;
  using loss = std::conditional_t<is_wired || (is_valid && !are_losses<Loss>), Loss, no_loss>;
  static constexpr auto inputs = [] {
    if constexpr (is_valid)
      return given::all;
    else
      return std::array{network_input{.name = {}, .extents = dims{1}}};
  }();

  static consteval bool check() {
    if constexpr (sizeof...(Surplus) > 0 || layer<Input>)
      static_assert(sizeof...(Surplus) == 0 && !layer<Input>,
                    "lockstep: model: takes one network: put the layers inside lockstep::sequential, as in "
                    "model<sequential<...>, input<...>, loss>");
    else if constexpr (std::is_same_v<Input, no_input>)
      static_assert(!std::is_same_v<Input, no_input>,
                    "lockstep: model: the extents of a sample are missing: model<net, input<3, 32, 32>, loss>");
    else if constexpr (given::are_several && !has_inputs)
      return require_inputs<given::fault, Input>();
    else if constexpr (!given::are_several && !is_shape<Input>::value && !has_inputs)
      static_assert(is_shape<Input>::value,
                    "lockstep: model: what follows the network is not the extents of a sample: model<net, "
                    "input<3, 32, 32>, loss>");
    else if constexpr (!has_inputs)
      static_assert(sample_extents<Input>().rank > 0,
                    "lockstep: model: input<...> takes the one to four extents of one sample; a batch may have any "
                    "number of samples, so leave lockstep::dynamic out");
    else if constexpr (are_losses<Loss>)
      static_assert(is_loss<Loss>,
                    "lockstep: losses: one of its arguments is not a loss, such as lockstep::cross_entropy, named or "
                    "weighted");
    else
      static_assert(is_loss<Loss>,
                    "lockstep: model: what follows input<...> is not a loss, such as lockstep::cross_entropy; layers "
                    "go inside lockstep::sequential");
    if constexpr (is_valid && !has_network) return require_layers(typename lowering<Network>::leaves{});
    if constexpr (misleads(wiring.fault) && wiring.fault != network_fault::outputs_not_last)
      return require_reads<wiring.fault, text_of<wiring.name.size()>(wiring.name)>();
    static_assert(
        wiring.fault != network_fault::outputs_not_last,
        "lockstep: outputs: it ends a network, but something reads its outputs as if they were one value; put "
        "what comes after them inside its branches");
    return true;
  }
};

/// How many leaves to check. A layer that needs a picture and gets none is the last: the extents after it mean nothing,
/// and a second error would only hide the first. Nor do those after a junction of values that do not fit.
template <network_size Size>
consteval std::size_t checkable(const network_data<Size>& network) {
  const std::size_t fitting = network.fault.what == network_fault::none ? Size.leaves : network.fault.leaves_before;
  for (std::size_t i = 0; i < fitting; ++i) {
    const layer_traits& traits = network.leaves[i].traits;
    if (traits.needs_picture_order && network.leaves[i].in.rank != (traits.takes_signals ? 2 : 3)) return i + 1;
  }
  return fitting;
}

/// Fails to compile; the compiler's note shows the extents.
template <network_fault What, dims One, dims Other>
consteval bool check_junction() {
  static_assert(
      What != network_fault::sum_of_unlike,
      "lockstep: sum, residual: the branches' outputs (One, Other) have different extents and cannot be added; "
      "a residual may need a shortcut, as in residual<Body, conv2d<channels, 1, stride<2>>>");
  static_assert(What != network_fault::concat_of_unlike,
                "lockstep: concat: the branches' outputs (One, Other) differ in more than their first extent");
  static_assert(
      What != network_fault::skipped_unlike,
      "lockstep: skippable: the extents that leave it (Other) are not those that arrive (One), so that nothing "
      "could stand in for it");
  static_assert(What != network_fault::tied_unlike,
                "lockstep: tied: layers of one name share their parameters, but what is inside, or what arrives there "
                "(One, Other), is not alike");
  static_assert(What != network_fault::tied_skippable,
                "lockstep: tied: a layer that may be skipped cannot share its parameters; take skippable away");
  static_assert(What != network_fault::tied_measuring,
                "lockstep: tied: a layer that normalises the batch has statistics of its own at each place, and cannot "
                "share its parameters; take tied away");
  return true;
}
template <found_fault Fault>
consteval bool check_junctions() {
  return check_junction<Fault.what, Fault.one, Fault.other>();
}

/// The sentence for a backend that cannot run a network. A network without junctions and with one output has no value
/// with two readers.
template <class B, bool Joins>
consteval bool check_backend() {
  static_assert(!Joins || joins_values<B>,
                "lockstep: sum, residual, concat, outputs: this backend (B) cannot join values: it has no `sum` and "
                "`copy_rows` "
                "(backend/capabilities.hpp)");
  return true;
}

/// The sentence for a layer or a loss that a backend cannot run; the compiler's note names both.
template <class Part, class B>
consteval bool require_primitives() {
  static_assert(runs_on<Part, B>,
                "lockstep: this backend (B) has not the primitives that this layer or loss (Part) needs; see the "
                "groups in backend/capabilities.hpp");
  return true;
}
/// The first leaf that does not run on B, or their number.
template <class B, class... Leaves>
consteval std::size_t first_without_primitives(type_list<Leaves...>) {
  std::size_t first = 0;
  for (const bool runs : std::initializer_list<bool>{runs_on<Leaves, B>...}) {
    if (!runs) break;
    ++first;
  }
  return first;
}

/// Fails to compile where the backend lacks what a layer of the model, or its loss, needs.
template <class Model, class B>
consteval bool check_primitives() {
  constexpr std::size_t first = first_without_primitives<B>(typename Model::leaf_list{});
  if constexpr (first < Model::leaf_count)
    return require_primitives<typename Model::template leaf<first>, B>();
  else
    return require_primitives<typename Model::loss_type, B>();
}

template <class L, dims Arriving, std::array<dims, layer_traits::max_operands - 1> Further>
consteval bool check_layer() {
  if constexpr (L::traits.operands == 2) {
    if constexpr (requires { L::template check<Arriving, Further[0]>(); }) L::template check<Arriving, Further[0]>();
  } else if constexpr (L::traits.operands == 3) {
    if constexpr (requires { L::template check<Arriving, Further[0], Further[1]>(); })
      L::template check<Arriving, Further[0], Further[1]>();
  } else if constexpr (requires { L::template check<Arriving>(); }) {
    L::template check<Arriving>();
  }
  return true;
}

/// A parameter with the name of an earlier one: its leaf, and its index among the leaf's parameters.
struct repeated_name {
  bool found = false;
  std::size_t leaf = 0;
  int parameter = 0;
};

/// Finds the first repeated name. Keeps the hashes of names in a table, since there may be a thousand names.
template <network_size Size>
consteval repeated_name find_repeated_name(const network_data<Size>& network) {
  constexpr std::size_t slots =
      std::bit_ceil(2 * Size.leaves * static_cast<std::size_t>(parameter_list::max_count) + 1);
  std::array<std::uint64_t, slots> taken{};  // 0: free
  for (std::size_t leaf = 0; leaf < Size.leaves; ++leaf) {
    const placed_leaf& placed = network.leaves[leaf];
    if (placed.owner != static_cast<int>(leaf)) continue;  // tied: the same parameters, not others of the same name
    for (int i = 0; i < placed.parameters.count; ++i) {
      const path_hash name = child(placed.path, placed.parameters.items[i].name);
      const std::uint64_t key = name.value == 0 ? 1 : name.value;
      std::size_t slot = key % slots;
      while (taken[slot] != 0 && taken[slot] != key) slot = (slot + 1) % slots;
      if (taken[slot] == key) return {.found = true, .leaf = leaf, .parameter = i};
      taken[slot] = key;
    }
  }
  return {};
}

template <path Path>
consteval fixed_string<Path.length + 1> text_of() {
  char text[Path.length + 1]{};
  for (std::size_t i = 0; i < Path.length; ++i) text[i] = Path.text[i];
  return fixed_string<Path.length + 1>(text);
}

/// Fails to compile; the compiler's note shows Name.
template <fixed_string Name>
consteval bool require_another_name() {
  static_assert(is_free<Name>,
                "lockstep: model: two layers have the same path (Name), and so their parameters the same names; give "
                "one of them another name with lockstep::named. A layer without a name has its position as one");
  return true;
}

template <class Network, repeated_name Repeated>
consteval bool check_names() {
  if constexpr (Repeated.found)
    return require_another_name<text_of<leaf_paths<Network>()[Repeated.leaf]>()>();
  else
    return true;
}

}  // namespace lockstep::detail
