// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/element_loss.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// Elements whose values are computed before they are added: they stay in the first cache.
inline constexpr std::int64_t loss_block = 256;

/// Element i of a sample goes into sum i % 16, whatever the vectors' length.
using loss_sums = std::array<double, 16>;

/// The rule of squared_error: the squares of its values are added, in double precision.
struct difference_rule {
  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& y, const V& t, V& value, V& gradient) const {
    value = y - t;
    gradient = value;  // twice as much is in the scale: a difference may be more than half of the largest float
  }
};

/// What a value of a rule adds to the loss.
template <class Rule>
LOCKSTEP_ALWAYS_INLINE double part_of(float value) {
  const auto part = static_cast<double>(value);
  if constexpr (std::is_same_v<Rule, difference_rule>)
    return part * part;
  else
    return part;
}

template <class Rule>
LOCKSTEP_ALWAYS_INLINE void add_values(std::int64_t count, const float* values, loss_sums& sums) {
  constexpr auto width = static_cast<std::int64_t>(std::tuple_size_v<loss_sums>);
  double* to = sums.data();
  std::int64_t i = 0;
  for (; i + width <= count; i += width)
    for (std::int64_t j = 0; j < width; ++j) to[j] += part_of<Rule>(values[i + j]);
  for (; i < count; ++i) to[i % width] += part_of<Rule>(values[i]);
}

/// A range of `count` elements, in rows of `size`: weights repeat with each row. The last row may be shorter.
struct measured_elements {
  std::int64_t count;
  std::int64_t size;
  const float* weights;
  const float* y;
  const float* t;
  float* dy;
  float scale;

  /// The block that begins at element i of the row that begins at element `row`: as `count`, its number of elements.
  [[nodiscard]] LOCKSTEP_ALWAYS_INLINE measured_elements block(std::int64_t row, std::int64_t i) const {
    measured_elements part = *this;
    part.count = (std::min)((std::min)(loss_block, size - i), count - row - i);
    if (weights != nullptr) part.weights += i;
    part.y += row + i;
    part.t += row + i;
    if (dy != nullptr) part.dy += row + i;
    return part;
  }
};

/// The vector kernel of `element_loss`.
template <class Rule>
struct element_loss_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(measured_elements all, Rule rule, loss_sums* sums) {
    alignas(V) float values[loss_block];
    for (std::int64_t row = 0; row < all.count; row += all.size)
      for (std::int64_t first = 0; first < all.size && row + first < all.count; first += loss_block) {
        const measured_elements block = all.block(row, first);
        std::int64_t i = 0;
        for (; i + lanes<V> <= block.count; i += lanes<V>) measure<V, true>(block, i, lanes<V>, rule, values);
        if (i < block.count) measure<V, false>(block, i, block.count - i, rule, values);
        add_values<Rule>(block.count, values, *sums);
      }
  }

 private:
  /// The values of a vector of elements, of which `count` are there, and their gradients.
  template <class V, bool Whole>
  static LOCKSTEP_ALWAYS_INLINE void measure(const measured_elements& block, std::int64_t i, std::int64_t count,
                                             const Rule& rule, float* values) {
    V y;
    V t;
    V value;
    V gradient;
    read<Whole>(y, block.y + i, count);
    read<Whole>(t, block.t + i, count);
    if constexpr (takes_weights<Rule>) {
      V weight;
      read<Whole>(weight, block.weights + i, count);
      rule(y, t, weight, value, gradient);
    } else {
      rule(y, t, value, gradient);
    }
    store(values + i, value);
    if (block.dy == nullptr) return;
    gradient *= block.scale;
    if constexpr (Whole)
      store(block.dy + i, gradient);
    else
      store_first(block.dy + i, gradient, count);
  }

  template <bool Whole, class V>
  static LOCKSTEP_ALWAYS_INLINE void read(V& v, const float* from, [[maybe_unused]] std::int64_t count) {
    if constexpr (Whole)
      load(v, from);
    else
      load_first(v, from, count);
  }
};

/// The same by numbers, for rules that take no vectors and for processors that have none: the compiler makes vectors of
/// what it can.
template <class Rule>
void measure_numbers(const measured_elements& all, const Rule& rule, loss_sums& sums) {
  float values[loss_block];
  const auto run = [](std::int64_t n, const auto& body) {
    if constexpr (takes_vectors<Rule>)
      loop_baseline(0, n, body);
    else
      loop(n, body);
  };
  for (std::int64_t row = 0; row < all.count; row += all.size)
    for (std::int64_t first = 0; first < all.size && row + first < all.count; first += loss_block) {
      const measured_elements block = all.block(row, first);
      const auto measure = [=](std::int64_t i, float& value, float& gradient) {
        if constexpr (takes_weights<Rule>)
          rule(block.y[i], block.t[i], block.weights[i], value, gradient);
        else
          rule(block.y[i], block.t[i], value, gradient);
      };
      float* const to = values;
      if (block.dy == nullptr)
        run(block.count, [=](std::int64_t i) {
          float gradient;
          measure(i, to[i], gradient);
        });
      else
        run(block.count, [=](std::int64_t i) {
          float gradient;
          measure(i, to[i], gradient);
          block.dy[i] = gradient * block.scale;
        });
      add_values<Rule>(block.count, values, sums);
    }
}

/// See host::element_loss. `rule` is called with vectors if it takes them, else with floats.
template <class Rule>
void element_loss(context&, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                  const float* y, const float* t, float* dy, const step_values* now, double* sum) {
  measured_elements all{.count = samples * size,
                        .size = samples * size,
                        .weights = nullptr,
                        .y = y,
                        .t = t,
                        .dy = dy,
                        .scale = dy == nullptr ? 1.F : static_cast<float>(now->scale)};
  [[maybe_unused]] float repeated[loss_block];
  if constexpr (takes_weights<Rule>) {
    all.size = size;
    all.weights = weights;
    if (2 * size <= loss_block && samples > 1) {
      // Several samples make one row, so that short ones leave no parts of vectors.
      all.size = (std::min)(samples, loss_block / size) * size;
      for (std::int64_t i = 0; i < all.size; ++i) repeated[i] = weights[i % size];
      all.weights = repeated;
    }
  }
  loss_sums sums{};
  bool done = false;
  if constexpr (takes_vectors<Rule>)
    if (has_avx2()) {
      with_widest([&]<class V>(std::type_identity<V>) { run_for<V, element_loss_kernel<Rule>>(all, rule, &sums); });
      done = true;
    }
  if (!done) measure_numbers(all, rule, sums);
  *sum += tree_sum(sums);
}

/// See host::squared_error.
inline void squared_error(context& c, std::int64_t n, const float* y, const float* t, float* dy, const step_values* now,
                          double* sum) {
  step_values twice;
  if (now != nullptr) twice = *now;
  twice.scale *= 2;
  element_loss(c, 1, n, difference_rule{}, nullptr, y, t, dy, &twice, sum);
}

}  // namespace lockstep::cpu_backend
