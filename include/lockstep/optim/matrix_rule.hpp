// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/core/shape.hpp>
#include <lockstep/optim/newton_schulz.hpp>

/// \file
/// Optimizers that update whole matrices. Such an optimizer has, beside `rule` for all other parameters,
///
///   static constexpr bool takes_matrix(std::string_view name, const dims& shape);
///   template <class T, class With>
///   void matrix_rule(std::int64_t step, double rate, double decay, std::int64_t rows, std::int64_t columns, const
///   With& with) const;
///
/// The first says which parameters it takes as matrices (shape[0], all the rest). The second calls with(matrix_rules)
/// for a matrix whose state `step` earlier steps have changed, and whose group multiplies the learning rate and the
/// weight decay by those factors.

namespace lockstep::detail {

/// How a matrix is updated: gather(g, u, state) makes each element's gradient g a part u of what is then made
/// orthogonal, and update(u, p, state...) changes the parameters by the result. Both run as other rules do.
template <class Gather, class Update, std::size_t UpdateStates = 0>
struct matrix_rules {
  Gather gather;
  std::size_t gather_state = 0;  ///< the number of the state that `gather` changes
  newton_schulz iteration;
  Update update;
  /// `update` gets the states 0, ..., update_states - 1.
  static constexpr std::size_t update_states = UpdateStates;
};

/// The optimizer itself, or the one that wrappers such as `scheduled` hold.
template <class Optimizer>
struct innermost_optimizer {
  using type = Optimizer;
};
template <class Optimizer>
  requires requires { typename Optimizer::wrapped_optimizer; }
struct innermost_optimizer<Optimizer> : innermost_optimizer<typename Optimizer::wrapped_optimizer> {};

/// Whether an optimizer takes a parameter as a matrix.
template <class Optimizer>
[[nodiscard]] constexpr bool takes_matrix([[maybe_unused]] std::string_view name, [[maybe_unused]] const dims& shape) {
  using innermost = typename innermost_optimizer<Optimizer>::type;
  if constexpr (requires { innermost::takes_matrix(name, shape); })
    return innermost::takes_matrix(name, shape);
  else
    return false;
}

/// Whether an optimizer may take any parameter as a matrix.
template <class Optimizer>
inline constexpr bool updates_matrices = requires(std::string_view name, const dims& shape) {
  innermost_optimizer<Optimizer>::type::takes_matrix(name, shape);
};

}  // namespace lockstep::detail
