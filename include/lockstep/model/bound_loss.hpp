// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/model/lowering.hpp>
#include <lockstep/model/network.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/losses.hpp>

/// \file
/// Which loss belongs to which output of a network, and what the compiler says where they do not match.

namespace lockstep::detail {

/// What is wrong with the losses of a network.
enum class loss_fault : std::uint8_t {
  none,
  one_for_several,   ///< one loss, several outputs
  several_for_one,   ///< `losses`, one output
  of_another_count,  ///< without names
  partly_named,
  unnamed_output,  ///< losses have names, an output has none
  without_output,  ///< no output has the name of a loss
  without_loss,    ///< no loss has the name of an output
  repeated_loss,   ///< the name of an earlier one
  repeated_output
};

/// How the losses match the outputs, or the fault and the number of the loss or the output that has it.
template <std::size_t Outputs>
struct matched_losses {
  std::array<std::size_t, Outputs> order{};  ///< by output: its loss
  loss_fault fault = loss_fault::none;
  std::size_t which = 0;
};

template <class Loss, network_size Size>
consteval auto match_losses(const network_data<Size>& network) {
  matched_losses<network_data<Size>::max_outputs> found;
  const auto outputs = static_cast<std::size_t>(network.output_count);
  const auto fail = [&](loss_fault fault, std::size_t which = 0) {
    if (found.fault == loss_fault::none) found.fault = fault, found.which = which;
  };
  if constexpr (std::is_same_v<Loss, no_loss>) {
    return found;
  } else if constexpr (!are_losses<Loss>) {
    if (outputs > 1) fail(loss_fault::one_for_several);
  } else if (outputs == 1) {
    fail(loss_fault::several_for_one);
  } else {
    std::array<std::string_view, network_data<Size>::max_outputs> names{};
    std::size_t named = 0;
    for (const std::string_view name : Loss::names) named += name.empty() ? 0U : 1U;
    for (std::size_t k = 0; k < outputs; ++k) {
      names[k] = network.outputs[k].name;
      if (!names[k].empty() && position_of(names[k], names) < k) fail(loss_fault::repeated_output, k);
      found.order[k] = named == 0 ? k : position_of(names[k], Loss::names);
    }
    if (named == 0) {
      if (Loss::count != outputs) fail(loss_fault::of_another_count);
    } else if (named < Loss::count) {
      fail(loss_fault::partly_named);
    } else {
      for (std::size_t k = 0; k < outputs; ++k)
        if (names[k].empty()) fail(loss_fault::unnamed_output, k);
      for (std::size_t l = 0; l < Loss::count; ++l)
        if (position_of(Loss::names[l], Loss::names) < l || position_of(Loss::names[l], names) >= outputs)
          fail(position_of(Loss::names[l], Loss::names) < l ? loss_fault::repeated_loss : loss_fault::without_output,
               l);
      for (std::size_t k = 0; k < outputs; ++k)
        if (found.order[k] == Loss::count) fail(loss_fault::without_loss, k);
    }
  }
  return found;
}

/// The extents of the outputs of a network.
template <const auto& Graph>
consteval auto output_extents() {
  std::array<dims, static_cast<std::size_t>(Graph.output_count)> all{};
  for (std::size_t k = 0; k < all.size(); ++k) all[k] = Graph.outputs[k].extents;
  return all;
}

/// The loss of a model whose network is the data `Graph`; no_loss where what the user names does not match the outputs.
template <class Loss, const auto& Graph>
struct bound_loss {
  static auto pick() {
    if constexpr (!are_losses<Loss> && Graph.outputs.size() == 1) {
      return std::type_identity<Loss>{};
    } else {
      constexpr auto matched = match_losses<Loss>(Graph);
      if constexpr (are_losses<Loss> && matched.fault == loss_fault::none && Graph.fault.what == network_fault::none)
        return std::type_identity<joint_loss<Loss, output_extents<Graph>(), matched.order>>{};
      else
        return std::type_identity<no_loss>{};
    }
  }
  using type = typename decltype(pick())::type;
};

/// Fails to compile; the compiler's note shows Name, of a loss or of an output.
template <loss_fault What, fixed_string Name>
consteval bool require_names() {
  static_assert(What != loss_fault::without_output,
                "lockstep: losses: no output of the network has the name of this loss (Name); outputs get their names "
                "as in outputs<named<\"class\", Head>, ...>");
  static_assert(What != loss_fault::without_loss,
                "lockstep: losses: this output of the network (Name) has no loss; name one of the losses like it");
  static_assert(What != loss_fault::repeated_loss && What != loss_fault::repeated_output,
                "lockstep: losses, outputs: two of them have the same name (Name); give one of them another");
  return true;
}

/// Fails to compile where losses and outputs do not match.
template <loss_fault What>
consteval bool require_match() {
  static_assert(What != loss_fault::one_for_several,
                "lockstep: model: the network has several outputs and the model one loss; give each output its own, as "
                "in losses<cross_entropy, mean_squared_error>");
  static_assert(What != loss_fault::several_for_one,
                "lockstep: losses: the network has one output; end it with outputs<...>, or name one loss alone");
  static_assert(What != loss_fault::of_another_count,
                "lockstep: losses: without names there are as many losses as the network has outputs, in their order");
  static_assert(What != loss_fault::partly_named,
                "lockstep: losses: some have names and others have none; name all of them like the outputs, or none");
  static_assert(What != loss_fault::unnamed_output,
                "lockstep: losses: they have names, and an output of the network has none; name all outputs, as in "
                "outputs<named<\"class\", Head>, ...>, or no loss");
  return true;
}

/// Reports how losses and outputs do not match.
template <class Loss, const auto& Graph>
consteval bool check_losses() {
  constexpr auto matched = match_losses<Loss>(Graph);
  constexpr loss_fault fault = matched.fault;
  if constexpr (fault == loss_fault::without_output || fault == loss_fault::repeated_loss) {
    constexpr std::string_view name = Loss::names[matched.which];
    return require_names<fault, text_of<name.size()>(name)>();
  } else if constexpr (fault == loss_fault::without_loss || fault == loss_fault::repeated_output) {
    constexpr std::string_view name = Graph.outputs[matched.which].name;
    return require_names<fault, text_of<name.size()>(name)>();
  } else {
    return require_match<fault>();
  }
}

/// The position of an output by its name.
template <fixed_string Name, const auto& Graph>
consteval std::size_t position_of_output() {
  constexpr std::size_t position = [] {
    std::size_t k = 0;
    while (k < Graph.outputs.size() && Graph.outputs[k].name != Name.view()) ++k;
    return k;
  }();
  static_assert(position < Graph.outputs.size(), "lockstep: model: no output of the network has this name (Name)");
  return position;
}

}  // namespace lockstep::detail
