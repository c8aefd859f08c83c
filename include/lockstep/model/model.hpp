// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/backend/backend.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/model/checks.hpp>
#include <lockstep/model/leaves.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/nn/loss.hpp>

namespace lockstep {

/// The extents of one sample that enters a model: `input<3, 32, 32>`, `input<784>`.
template <std::int64_t... Extents>
using input = shape<Extents...>;

namespace detail {

/// The leaves when all of them are layers, else `not_a_layer` alone.
template <class List>
struct layers_of;
template <class... Leaves>
struct layers_of<type_list<Leaves...>> {
  using type = std::conditional_t<(layer<Leaves> && ...), type_list<Leaves...>, type_list<not_a_layer>>;
};

/// The extents that arrive at each leaf, then those that leave the last one.
template <class... Leaves>
consteval std::array<dims, sizeof...(Leaves) + 1> flow(type_list<Leaves...>, const dims& input) {
  std::array<dims, sizeof...(Leaves) + 1> all{};
  all[0] = input;
  std::size_t i = 0;
  ((all[i + 1] = Leaves::output(all[i]), ++i), ...);
  return all;
}

/// Number of elements in the parameters of all leaves except those flagged in `left_out`.
template <class... Leaves>
consteval std::int64_t parameter_total(type_list<Leaves...>, const std::array<dims, sizeof...(Leaves) + 1>& arriving,
                                       const std::array<bool, sizeof...(Leaves)>& left_out) {
  std::int64_t total = 0;
  std::size_t i = 0;
  ((total = checked_add(total, left_out[i] ? 0 : Leaves::parameters(arriving[i]).size()), ++i), ...);
  return total;
}

}  // namespace detail

/// A network with the shape of its input and its loss: a type without state whose every quantity is a constant.
///
/// Completing the type checks the shapes; the compiler reports each mismatch in one sentence.
template <class Network, class Input = detail::no_input, class Loss = no_loss, class... Surplus>
struct model {
  // When an argument is wrong, harmless ones replace them all, so that the compiler reports that argument alone.
  using arguments = detail::model_arguments<Network, Input, Loss, Surplus...>;

  using network = typename arguments::network;
  using loss_type = typename arguments::loss;
  using leaf_list = typename detail::layers_of<typename detail::leaves<network>::type>::type;

  /// False when the compiler has refused an argument.
  static constexpr bool is_valid = arguments::is_valid;

  static constexpr std::size_t leaf_count = leaf_list::size;
  static constexpr dims input_dims = arguments::input_dims;
  static constexpr auto arriving = detail::flow(leaf_list{}, input_dims);
  static constexpr dims output_dims = arriving[leaf_count];
  static constexpr bool has_loss = !std::is_same_v<loss_type, no_loss>;

  template <std::size_t Index>
  using leaf = typename detail::at<Index, leaf_list>::type;

  /// The plan for a backend. Depends only on its order of pictures and on whether its passes compute in another type.
  template <class Backend>
  static constexpr network_plan<leaf_count> plan =
      make_plan(leaf_list{}, input_dims, Backend::picture_order, detail::frozen_leaves<network, leaf_count>(),
                converts_values<Backend>);

  /// Number of elements in all parameters, frozen or not.
  static constexpr std::int64_t parameter_count = detail::parameter_total(leaf_list{}, arriving, {});

  /// Number of elements in the parameters that learn: those outside every `frozen`.
  static constexpr std::int64_t trainable_count =
      detail::parameter_total(leaf_list{}, arriving, detail::frozen_leaves<network, leaf_count>());

  /// Which leaves may be skipped at run time.
  static constexpr std::array<bool, leaf_count> skippable_leaves =
      []<std::size_t... Index>(std::index_sequence<Index...>) {
        return std::array<bool, leaf_count>{leaf<Index>::traits.is_skippable...};
      }(std::make_index_sequence<leaf_count>{});

  /// Paths of the leaves: `conv1`, `0`, `features.2`.
  static constexpr auto paths = detail::leaf_paths<network, detail::path, leaf_count>();

  /// PyTorch's name of a parameter: the path of its layer, a dot, its name in the layer.
  template <class Backend>
  [[nodiscard]] static std::string parameter_name(const plan_parameter& p) {
    static constexpr auto lists = []<std::size_t... Index>(std::index_sequence<Index...>) {
      return std::array<parameter_list, leaf_count>{leaf<Index>::parameters(arriving[Index])...};
    }(std::make_index_sequence<leaf_count>{});
    const auto leaf_index = static_cast<std::size_t>(plan<Backend>.nodes[static_cast<std::size_t>(p.node)].leaf);
    std::string name(paths[leaf_index].view());
    if (!name.empty()) name += '.';
    return name.append(lists[leaf_index].items[p.index].name);
  }

 private:
  // The checks come last: a compiler may drop the members after one that fails, and then complain of their absence.
  static_assert(arguments::check());
  static_assert(detail::require_layers(typename detail::leaves<network>::type{}));
  static constexpr std::size_t checkable = detail::checkable(leaf_list{}, arriving);
  static_assert([]<std::size_t... Index>(std::index_sequence<Index...>) {
    return (... && detail::check_layer<leaf<Index>, arriving[Index]>());
  }(std::make_index_sequence<checkable>{}));
  static_assert([] {
    if constexpr (has_loss && checkable == leaf_count) loss_type::template check<output_dims>();
    return true;
  }());
  static_assert(detail::check_names<network, leaf_count, detail::find_repeated_name<network>(leaf_list{}, arriving)>());
};

}  // namespace lockstep
