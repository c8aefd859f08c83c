// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/model/bound_loss.hpp>
#include <lockstep/model/checks.hpp>
#include <lockstep/model/inputs.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/model/network_plan.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/loss/members.hpp>

namespace lockstep {

namespace detail {

/// Number of elements in the parameters of all leaves, or of those that learn. Tied parameters count once.
template <network_size Size>
consteval std::int64_t parameter_total(const network_data<Size>& network, bool learning_alone) {
  std::int64_t total = 0;
  for (std::size_t i = 0; i < Size.leaves; ++i) {
    const placed_leaf& leaf = network.leaves[i];
    if (leaf.owner == static_cast<int>(i) && !(learning_alone && leaf.frozen))
      total = checked_add(total, leaf.parameters.size());
  }
  return total;
}

}  // namespace detail

/// A network with the shape of its input, or of its `inputs`, and its loss: a type without state whose every quantity
/// is a constant.
///
/// Completing the type checks the shapes; the compiler reports each mismatch in one sentence.
template <class Network, class Input = detail::no_input, class Loss = no_loss, class... Surplus>
struct model {
  // When an argument is wrong, harmless ones replace them all, so that the compiler reports that argument alone.
  using arguments = detail::model_arguments<Network, Input, Loss, Surplus...>;

  using network = typename arguments::network;
  using leaf_list = typename detail::lowering<network>::leaves;

  static constexpr std::size_t leaf_count = leaf_list::size;
  /// The layers and junctions of the network, and which values they read.
  static constexpr auto graph = detail::lower<network>(arguments::inputs);
  /// The composites that may be skipped at run time, and their paths.
  static constexpr const auto& skippable_parts = graph.skips;
  static constexpr auto skippable_paths = detail::skippable_paths<network>();
  /// More than one for a model with `inputs`.
  static constexpr std::size_t input_count = arguments::inputs.size();
  /// The extents of a sample of each input.
  static constexpr std::array<dims, input_count> input_extents = detail::extents_of_inputs(arguments::inputs);
  /// Whether each input is one of tokens.
  static constexpr std::array<bool, input_count> takes_tokens = detail::inputs_of_tokens(arguments::inputs);
  /// The extents of a sample of the only input; of rank 0 where there are several.
  static constexpr dims input_dims = input_count == 1 ? input_extents[0] : dims{};
  /// More than one for a network that ends with `outputs`.
  static constexpr std::size_t output_count = static_cast<std::size_t>(graph.output_count);
  /// The extents of each output.
  static constexpr std::array<dims, output_count> output_extents = detail::output_extents<graph>();
  /// The extents of the only output; of rank 0 where there are several.
  static constexpr dims output_dims = output_count == 1 ? output_extents[0] : dims{};

  /// Its own loss, or the losses of the outputs in the outputs' order, made from the `losses` that the user names.
  using loss_type = typename detail::bound_loss<typename arguments::loss, graph>::type;
  static constexpr bool has_loss = !std::is_same_v<loss_type, no_loss>;
  /// Number of losses.
  static constexpr std::size_t loss_count = detail::loss_count<loss_type>;

  /// False when the compiler has refused an argument.
  static constexpr bool is_valid = arguments::is_valid && (has_loss || !arguments::names_loss);

  /// The position of the output that has this name.
  template <fixed_string Name>
  static constexpr std::size_t output = detail::position_of_output<Name, graph>();

  /// The position of the input that has this name.
  template <fixed_string Name>
  static constexpr std::size_t input = detail::position_of_input<Name, graph>();

  template <std::size_t Index>
  using leaf = typename detail::at<Index, leaf_list>::type;

  /// The plan for a backend. Depends on nothing but a plan_target.
  template <class Backend>
  static constexpr auto plan = [] {
    static_assert(
        detail::check_backend<Backend, (graph.operations.size() > graph.leaves.size() + 2 * skippable_parts.size() ||
                                        output_count > 1)>());
    return detail::planner<model, plan_target{.picture_order = Backend::picture_order,
                                              .converts = converts_values<Backend>,
                                              .adds_to_normalised = adds_to_normalised<Backend>}>::plan;
  }();

  /// Number of elements in all parameters, frozen or not.
  static constexpr std::int64_t parameter_count = detail::parameter_total(graph, false);

  /// Number of elements in the parameters that learn: those outside every `frozen`.
  static constexpr std::int64_t trainable_count = detail::parameter_total(graph, true);

  /// Which leaves may be skipped at run time by themselves.
  static constexpr std::array<bool, leaf_count> skippable_leaves = [] {
    std::array<bool, leaf_count> all{};
    for (std::size_t i = 0; i < leaf_count; ++i) all[i] = graph.leaves[i].traits.is_skippable;
    return all;
  }();

  /// Paths of the leaves: `conv1`, `0`, `features.2`.
  static constexpr auto paths = detail::leaf_paths<network>();

  /// PyTorch's name of a parameter: the path of its layer, a dot, its name in the layer.
  template <class Backend>
  [[nodiscard]] static std::string parameter_name([[maybe_unused]] const plan_parameter& p) {
    if constexpr (leaf_count == 0) {
      return {};
    } else {
      const auto leaf_index = static_cast<std::size_t>(plan<Backend>.nodes[static_cast<std::size_t>(p.node)].leaf);
      std::string name(paths[leaf_index].view());
      if (!name.empty()) name += '.';
      return name.append(graph.leaves[leaf_index].parameters.items[p.index].name);
    }
  }

 private:
  // The checks come last: a compiler may drop the members after one that fails, and then complain of their absence.
  static_assert(arguments::check());
  static constexpr std::size_t checkable = detail::checkable(graph);
  // A plain fold makes the shortest errors, but compilers limit its operands.
  static constexpr std::size_t folded = (std::min)(checkable, std::size_t{200});
  static_assert([]<std::size_t... Index>(std::index_sequence<Index...>) {
    return (... && detail::check_layer<leaf<Index>, graph.leaves[Index].in, graph.leaves[Index].further>());
  }(std::make_index_sequence<folded>{}));
  static_assert([] {
    detail::static_for<checkable - folded>([&]<std::size_t Index>() {
      static_cast<void>(detail::check_layer<leaf<folded + Index>, graph.leaves[folded + Index].in,
                                            graph.leaves[folded + Index].further>());
    });
    return true;
  }());
  static constexpr bool layers_fit = checkable == leaf_count && graph.fault.what == detail::network_fault::none;
  static_assert(detail::check_junctions < checkable == graph.fault.leaves_before ? graph.fault
                                                                                 : detail::found_fault{} > ());
  static_assert([] {
    if constexpr (has_loss && layers_fit) return detail::check_output_of<loss_type, output_dims>();
    return true;
  }());
  static constexpr detail::repeated_name repeated = detail::find_repeated_name(graph);
  static_assert([] {
    if constexpr (layers_fit && !repeated.found) return detail::check_losses<typename arguments::loss, graph>();
    return true;
  }());
  static_assert(detail::check_names<network, repeated>());
};

}  // namespace lockstep
