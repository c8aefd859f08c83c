// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include <lockstep/model/leaves.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/nn/loss.hpp>

namespace lockstep {

/// The extents of one sample that enters a model: `input<3, 32, 32>`, `input<784>`.
template <std::int64_t... Extents>
using input = shape<Extents...>;

namespace detail {

template <class L>
concept checks_itself = requires { L::template check<dims{1}>(); };

/// Extents that arrive at each leaf, and behind the last one.
template <class... Leaves>
consteval std::array<dims, sizeof...(Leaves) + 1> flow(type_list<Leaves...>, const dims& input) {
  std::array<dims, sizeof...(Leaves) + 1> all{};
  all[0] = input;
  std::size_t i = 0;
  ((all[i + 1] = Leaves::output(all[i]), ++i), ...);
  return all;
}

template <class L, dims Arriving>
consteval bool check_layer() {
  static_assert(layer<L>, "lockstep: sequential: one of its arguments is not a layer");
  if constexpr (requires { L::template check<Arriving>(); }) L::template check<Arriving>();
  return true;
}

}  // namespace detail

/// A network with the shape of its input and its loss: a type without state, of which every quantity is a constant.
///
/// Shapes are checked when the type is completed; each mismatch is one sentence of the compiler's.
template <class Network, class Input, class Loss = no_loss>
struct model {
  using network = Network;
  using loss_type = Loss;
  using leaf_list = typename detail::leaves<Network>::type;

  static constexpr std::size_t leaf_count = leaf_list::size;
  static constexpr dims input_dims = Input::extents;
  static constexpr auto arriving = detail::flow(leaf_list{}, input_dims);
  static constexpr dims output_dims = arriving[leaf_count];
  static constexpr bool has_loss = !std::is_same_v<Loss, no_loss>;

  template <std::size_t I>
  using leaf = typename detail::at<I, leaf_list>::type;

  static_assert([]<std::size_t... I>(std::index_sequence<I...>) {
    return (detail::check_layer<leaf<I>, arriving[I]>() && ...);
  }(std::make_index_sequence<leaf_count>{}));
  static_assert([] {
    if constexpr (has_loss) Loss::template check<output_dims>();
    return true;
  }());

  /// The plan for a backend: only its order of pictures matters.
  template <class Backend>
  static constexpr network_plan<leaf_count> plan = make_plan(leaf_list{}, input_dims, Backend::picture_order);

  /// Sum of the sizes of all learnable tensors.
  static constexpr std::int64_t parameter_count = [] {
    std::int64_t total = 0;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((total = checked_add(total, leaf<I>::parameters(arriving[I]).size())), ...);
    }(std::make_index_sequence<leaf_count>{});
    return total;
  }();

  /// Paths of the leaves: `conv1`, `0`, `features.2`.
  static constexpr std::array<detail::path, leaf_count> paths = [] {
    std::array<detail::path, leaf_count> all{};
    std::size_t count = 0;
    detail::path_writer<Network>::write(all.data(), count, {});
    return all;
  }();

  /// PyTorch's name of a parameter: path of its layer, a dot, its own name.
  template <class Backend>
  [[nodiscard]] static std::string parameter_name(const plan_parameter& p) {
    static constexpr auto lists = []<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<parameter_list, leaf_count>{leaf<I>::parameters(arriving[I])...};
    }(std::make_index_sequence<leaf_count>{});
    const auto leaf_index =
        static_cast<std::size_t>(plan<Backend>.nodes[static_cast<std::size_t>(p.node)].leaf);
    std::string name(paths[leaf_index].view());
    if (!name.empty()) name += '.';
    return name.append(lists[leaf_index].items[p.index].name);
  }
};

}  // namespace lockstep
