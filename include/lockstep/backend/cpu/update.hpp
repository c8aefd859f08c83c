// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/rule.hpp>
#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// The vector kernel of `reduce_and_update`. The last elements, which fill no vector, go through the same instructions
/// as the others, so that an element's bits do not depend on where a range ends.
template <std::size_t N, std::size_t States, class Rule>
struct update_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t n, std::array<const float*, N> gradients, float* parameters,
                                         std::array<float*, States> states, Rule rule) {
    std::int64_t i = 0;
    for (; i + lanes<V> <= n; i += lanes<V>) update<V, true>(i, lanes<V>, gradients, parameters, states, rule);
    if (i < n) update<V, false>(i, n - i, gradients, parameters, states, rule);
  }

 private:
  template <class V, bool Whole>
  static LOCKSTEP_ALWAYS_INLINE void update(std::int64_t i, std::int64_t count,
                                            const std::array<const float*, N>& gradients, float* parameters,
                                            const std::array<float*, States>& states, const Rule& rule) {
    V sum;
    add_up<0, N, V, Whole>(sum, i, count, gradients);
    V p;
    read<Whole>(p, parameters + i, count);
    apply<Whole>(sum, p, i, count, states, rule, std::make_index_sequence<States>{});
    write<Whole>(parameters + i, p, count);
  }

  template <bool Whole, class V, std::size_t... S>
  static LOCKSTEP_ALWAYS_INLINE void apply(const V& gradient, V& p, [[maybe_unused]] std::int64_t i,
                                           [[maybe_unused]] std::int64_t count,
                                           [[maybe_unused]] const std::array<float*, States>& states, const Rule& rule,
                                           std::index_sequence<S...>) {
    std::array<V, States> s;
    (read<Whole>(s[S], states[S] + i, count), ...);
    rule(gradient, p, s[S]...);
    (write<Whole>(states[S] + i, s[S], count), ...);
  }

  template <bool Whole, class V>
  static LOCKSTEP_ALWAYS_INLINE void read(V& v, const float* from, [[maybe_unused]] std::int64_t count) {
    if constexpr (Whole)
      load(v, from);
    else
      load_first(v, from, count);
  }
  template <bool Whole, class V>
  static LOCKSTEP_ALWAYS_INLINE void write(float* to, const V& v, [[maybe_unused]] std::int64_t count) {
    if constexpr (Whole)
      store(to, v);
    else
      store_first(to, v, count);
  }

  /// sum = tree_sum of the gradients First .. First + Count - 1.
  template <std::size_t First, std::size_t Count, class V, bool Whole>
  static LOCKSTEP_ALWAYS_INLINE void add_up(V& sum, std::int64_t i, std::int64_t count,
                                            const std::array<const float*, N>& gradients) {
    if constexpr (Count == 1) {
      read<Whole>(sum, gradients[First] + i, count);
    } else {
      constexpr std::size_t left = std::bit_floor(Count - 1);
      V right;
      add_up<First, left, V, Whole>(sum, i, count, gradients);
      add_up<First + left, Count - left, V, Whole>(right, i, count, gradients);
      sum += right;
    }
  }
};

/// Elements [first, last): g = tree_sum of the N gradients, then rule(g, parameter, state...), in one pass. The rule,
/// or the one that its `loaded()` returns, is called as rule(g, parameter, state0, ...) with States states: with
/// vectors if it takes them, else with floats.
template <std::size_t N, std::size_t States, class Rule>
void reduce_and_update(context&, std::int64_t first, std::int64_t last, const std::array<const float*, N>& gradients,
                       float* parameters, const std::array<float*, States>& states, const Rule& given) {
  const auto rule = loaded(given);
  using rule_type = std::remove_const_t<decltype(rule)>;
  if constexpr (takes_vectors<rule_type>) {
    if (has_avx2()) {
      std::array<const float*, N> g = gradients;
      for (auto& from : g) from += first;
      std::array<float*, States> s = states;
      for (auto& state : s) state += first;
      with_widest([&]<class V>(std::type_identity<V>) {
        run_for<V, update_kernel<N, States, rule_type>>(last - first, g, parameters + first, s, rule);
      });
      return;
    }
  }
  [&]<std::size_t... S>(std::index_sequence<S...>) {
    const auto body = [=](std::int64_t i) {
      const float g = tree_sum<0, N>([&](std::size_t k) { return gradients[k][i]; });
      rule(g, parameters[i], states[S][i]...);
    };
    if constexpr (takes_vectors<rule_type>)
      loop_baseline(first, last, body);
    else
      loop(first, last, body);
  }(std::make_index_sequence<States>{});
}

}  // namespace lockstep::cpu_backend
