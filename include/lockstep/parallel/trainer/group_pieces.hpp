// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/model/path.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/optim/parameter_groups.hpp>

namespace lockstep::detail {

/// Neighbouring parameters that learn, of one layer where layers may be skipped, for which the optimizer's options are
/// the same; or one that the optimizer updates as a matrix.
struct group_piece {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::size_t leaf = 0;
  double rate = 1;
  double decay = 1;
  int matrix = -1;  ///< the parameter, where the optimizer updates it as a matrix
};

/// All pieces in ascending order; one that is empty when nothing learns.
template <std::size_t Most>
struct group_pieces {
  std::size_t count = 0;
  std::array<group_piece, Most + 1> all{};
};

/// Calls f(parameter's number, leaf, name) for each parameter that learns, in the order of the flat range; the name is
/// empty unless `Named`.
template <class Model, class B, bool Named, class F>
constexpr void each_learning_parameter(const F& f) {
  constexpr const auto& plan = Model::template plan<B>;
  for (std::size_t p = 0; p < static_cast<std::size_t>(plan.parameter_tensors); ++p) {
    const plan_parameter& parameter = plan.parameters[p];
    if (!parameter.learns) continue;
    const auto leaf = static_cast<std::size_t>(plan.node(parameter.node).leaf);
    if constexpr (Named) {
      path name = Model::paths[leaf];
      name = child(name, Model::graph.leaves[leaf].parameters.items[parameter.index].name);
      f(p, leaf, name.view());
    } else {
      f(p, leaf, std::string_view{});
    }
  }
}

template <class Model, class B, bool ByLeaf, class Groups, class Optimizer>
struct pieces_of;
template <class Model, class B, bool ByLeaf, class... Groups, class Optimizer>
struct pieces_of<Model, B, ByLeaf, parameter_groups<Groups...>, Optimizer> {
  static constexpr auto value = [] {
    group_pieces<Model::template plan<B>.parameters.size()> made;
    // Names cost the compiler time, so that only groups and optimizers of matrices ask for them.
    each_learning_parameter<Model, B, (sizeof...(Groups) > 0) || updates_matrices<Optimizer>>(
        [&](std::size_t p, std::size_t leaf, [[maybe_unused]] std::string_view name) {
          const plan_parameter& parameter = Model::template plan<B>.parameters[p];
          group_piece piece{parameter.offset, parameter.offset + parameter.shape.size(), leaf};
          [[maybe_unused]] const auto change = [&](bool takes, double rate, double decay) {
            if (!takes) return;
            piece.rate *= rate;
            piece.decay *= decay;
          };
          (change(Groups::which::takes(name, parameter.shape), Groups::rate, Groups::decay), ...);
          if (takes_matrix<Optimizer>(name, parameter.shape)) piece.matrix = static_cast<int>(p);
          if (made.count > 0 && piece.matrix < 0) {
            group_piece& before = made.all[made.count - 1];
            if (before.last == piece.first && before.rate == piece.rate && before.decay == piece.decay &&
                before.matrix < 0 && (!ByLeaf || before.leaf == leaf)) {
              before.last = piece.last;
              return;
            }
          }
          made.all[made.count++] = piece;
        });
    if (made.count == 0) made.count = 1;
    return made;
  }();
};

template <class Model, class B, class Group>
consteval bool matches_some() {
  bool found = false;
  each_learning_parameter<Model, B, true>([&](std::size_t p, std::size_t, std::string_view name) {
    found = found || Group::which::takes(name, Model::template plan<B>.parameters[p].shape);
  });
  return found;
}

/// Checks that a group means something, and that the optimizer has what it changes.
template <class Model, class B, class Optimizer, class Group>
consteval bool check_group() {
  static_assert(
      matches_some<Model, B, Group>(),
      "lockstep: parameter_groups: a group takes none of the model's parameters that learn; look for a slip in its "
      "pattern, or leave it out");
  static_assert(
      Group::rate == 1 || requires(Optimizer& o) { group_options(o).learning_rate *= 0.5; },
      "lockstep: parameter_groups: the optimizer has no learning_rate for a group to change");
  static_assert(
      Group::decay == 1 || requires(Optimizer& o) { group_options(o).weight_decay *= 0.5; },
      "lockstep: parameter_groups: the optimizer has no weight_decay for a group to change");
  return true;
}
template <class Model, class B, class Optimizer, class... Groups>
consteval bool check_groups(parameter_groups<Groups...>) {
  return (true && ... && check_group<Model, B, Optimizer, Groups>());
}

}  // namespace lockstep::detail
