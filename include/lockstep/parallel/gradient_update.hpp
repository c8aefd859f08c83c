// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <lockstep/core/tensor.hpp>

namespace lockstep::detail {

/// From the gradients of N replicas to new parameters; every replica works on a slice of its own.
///
/// Either `fused`, one pass over gradients and parameters; or, when something must look at the sums first, `reduce`,
/// `measure`, a barrier, `norm` and `apply`.
template <class B, class Optimizer, std::size_t N>
class gradient_update {
 public:
  using value = typename B::value_type;
  using context = typename B::context;
  using sources = std::array<const value*, N>;

  explicit gradient_update(std::int64_t size) : size_(size) {}

  /// Checks the optimizer's options and allocates the state that they ask for and that is not there yet; `step` is the
  /// number of the coming one.
  void prepare(const Optimizer& optimizer, std::int64_t step) {
    optimizer.check_options();
    for (std::size_t s = 0; s < optimizer.states(); ++s) {
      if (states_.at(s).size() > 0) continue;
      states_.at(s) = aligned_buffer<value>(size_);
      first_state_step_ = step;
    }
  }

  /// Allocates what `reduce` and `measure` write.
  void prepare_sums() {
    if (sums_.size() > 0) return;
    sums_ = aligned_buffer<value>(size_);
    squares_.resize(static_cast<std::size_t>((size_ + block - 1) / block));
  }

  /// Calls f(span) for each buffer of optimizer state.
  template <class F>
  void each_state(const F& f) {
    for (auto& state : states_)
      if (state.size() > 0) f(std::span<value>(state.data(), static_cast<std::size_t>(state.size())));
  }

  /// Clears the optimizer's state.
  void reset() {
    for (auto& state : states_) std::fill_n(state.data(), state.size(), value{0});
    first_state_step_ = 0;
  }

  /// Slice r: parameters from the sum of the gradients.
  void fused(std::size_t r, context& c, const sources& gradients, value* parameters, const Optimizer& optimizer,
             std::int64_t step) {
    update<N>(c, edge(r, block), edge(r + 1, block), gradients, parameters, optimizer, step,
              [](const auto& rule) { return rule; });
  }

  /// Slice r of the sums: written, or added to what is there.
  void reduce(std::size_t r, context& c, const sources& gradients, bool accumulate) {
    const std::array<value*, 0> none{};
    if (accumulate)
      B::template reduce_and_update<N, 0>(c, edge(r, block), edge(r + 1, block), gradients, sums_.data(), none,
                                          [](value g, value& sum) { sum += g; });
    else
      B::template reduce_and_update<N, 0>(c, edge(r, block), edge(r + 1, block), gradients, sums_.data(), none,
                                          [](value g, value& sum) { sum = g; });
  }

  /// The squares of slice r of the sums, block by block.
  void measure(std::size_t r, context& c) {
    const std::int64_t first = edge(r, block);
    const std::int64_t count = edge(r + 1, block) - first;
    if (count > 0) B::square_sums(c, count, block, sums_.data() + first, squares_.data() + first / block);
  }

  /// The norm of all sums, once every slice has been measured. The same bits on every replica, however many there are.
  [[nodiscard]] double norm() const {
    double total = 0;
    for (const double square : squares_) total += square;
    return std::sqrt(total);
  }

  /// Slice r: parameters from the sums times `scale`.
  void apply(std::size_t r, context& c, value* parameters, const Optimizer& optimizer, std::int64_t step,
             double scale) {
    update<1>(c, edge(r, block), edge(r + 1, block), {sums_.data()}, parameters, optimizer, step,
              [factor = static_cast<value>(scale)](const auto& rule) {
                return [rule, factor](value g, auto&... changed) { rule(g * factor, changed...); };
              });
  }

  [[nodiscard]] const value* sums() const noexcept { return sums_.data(); }
  [[nodiscard]] value* sums() noexcept { return sums_.data(); }

 private:
  /// Elements of one partial sum of squares. Slices are cut at its multiples, so that no sum depends on their number,
  /// nor whether an element lies in a loop's vectors or in its rest, which a compiler may round differently (by
  /// contracting a product and a sum in one of them only). A multiple of a cache line: replicas never write to the same
  /// one.
  static constexpr std::int64_t block = 4096;

  [[nodiscard]] std::int64_t edge(std::size_t k, std::int64_t multiple) const {
    if (k == N) return size_;
    return size_ * static_cast<std::int64_t>(k) / static_cast<std::int64_t>(N) / multiple * multiple;
  }

  /// Elements [first, last) by the optimizer's rule, as `adapt` hands it on.
  template <std::size_t Sources, class Adapt>
  void update(context& c, std::int64_t first, std::int64_t last, const std::array<const value*, Sources>& gradients,
              value* parameters, const Optimizer& optimizer, std::int64_t step, const Adapt& adapt) {
    optimizer.template rule<value>(
        step - first_state_step_,
        [&]<std::size_t States>(std::integral_constant<std::size_t, States>, const auto& rule) {
          std::array<value*, States> states{};
          for (std::size_t s = 0; s < States; ++s) states[s] = states_[s].data();
          B::template reduce_and_update<Sources, States>(c, first, last, gradients, parameters, states, adapt(rule));
        });
  }

  std::int64_t size_;
  std::int64_t first_state_step_ = 0;  ///< the step that met the optimizer's state first
  std::array<aligned_buffer<value>, Optimizer::max_states> states_;
  aligned_buffer<value> sums_;
  std::vector<double> squares_;
};

}  // namespace lockstep::detail
