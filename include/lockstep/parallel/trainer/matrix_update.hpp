// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/model/element_range.hpp>
#include <lockstep/optim/newton_schulz.hpp>
#include <lockstep/parallel/trainer/matrix_places.hpp>

namespace lockstep::detail {

/// Updates the parameters that an optimizer takes as matrices, each on one of N replicas. Which one does it changes no
/// bit.
template <class B, class Optimizer, std::size_t N>
class matrix_update {
 public:
  using value = typename B::value_type;
  using context = typename B::context;

  /// Shares the matrices out: the most expensive first, each to the replica that has the least to do so far. `places`
  /// has an entry for each parameter of the plan, and outlives this.
  void place(std::span<const matrix_place<value>> places) {
    places_ = places;
    owners_.assign(places.size(), 0);
    std::vector<std::size_t> order(places.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto cost = [&](std::size_t p) {  // of the products
      const auto m = static_cast<double>(places[p].lesser());
      return m * m * (2 * static_cast<double>(places[p].greater()) + m);
    };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return cost(a) > cost(b); });
    std::array<double, N> load{};
    for (const std::size_t p : order) {
      const auto least = std::min_element(load.begin(), load.end());
      owners_[p] = static_cast<std::size_t>(least - load.begin());
      *least += cost(p);
    }
  }

  /// Allocates what replica r needs for its matrices, on its thread.
  void attach(std::size_t r, context& c) {
    std::int64_t most = 0;
    for (std::size_t p = 0; p < places_.size(); ++p)
      if (owners_[p] == r) most = (std::max)(most, needs(places_[p]));
    scratch_[r] = B::template allocate<value>(c, most);
  }

  /// For replica r: updates a range that is one matrix, if it is r's. `states` are the optimizer's; the gradient's sum
  /// goes through adapt(rule).
  template <std::size_t Sources, std::size_t MaxStates, class Adapt>
  void run(std::size_t r, context& c, const element_range& range, const std::array<const value*, Sources>& gradients,
           value* parameters, const std::array<value*, MaxStates>& states, const Optimizer& optimizer,
           const Adapt& adapt) {
    if constexpr (multiplies_matrices<B>) {
      if (owners_[static_cast<std::size_t>(range.matrix)] != r) return;
      const matrix_place<value>& place = places_[static_cast<std::size_t>(range.matrix)];
      const std::int64_t size = place.size();
      value* const kept = scratch_[r].data();  // in the backend's order
      value* const matrix = kept + size;
      value* const rest = matrix + size;
      optimizer.template matrix_rule<value>(
          range.state_steps, range.rate, range.decay, place.rows, place.columns,
          [&]<class Gather, class Update, std::size_t UpdateStates>(
              const matrix_rules<Gather, Update, UpdateStates>& rules) {
            std::array<const value*, Sources> from = gradients;
            for (auto& gradient : from) gradient += place.first;
            B::template reduce_and_update<Sources, 1>(
                c, 0, size, from, kept, std::array{states[rules.gather_state] + place.first}, adapt(rules.gather));
            place.read(kept, matrix);
            orthogonalise<B>(c, place.lesser(), place.greater(), matrix, rest, rules.iteration);
            place.write(matrix, kept);
            std::array<value*, UpdateStates> used{};
            for (std::size_t s = 0; s < UpdateStates; ++s) used[s] = states[s] + place.first;
            B::template reduce_and_update<1, UpdateStates>(c, 0, size, {kept}, parameters + place.first, used,
                                                           rules.update);
          });
    }
  }

 private:
  [[nodiscard]] static std::int64_t needs(const matrix_place<value>& place) {
    return 2 * place.size() + orthogonalise_scratch(place.lesser(), place.greater());
  }

  std::span<const matrix_place<value>> places_;
  std::vector<std::size_t> owners_;  ///< by parameter
  std::array<typename B::template buffer<value>, N> scratch_;
};

/// Stands in where the optimizer updates each element on its own.
struct no_matrix_update {};

}  // namespace lockstep::detail
