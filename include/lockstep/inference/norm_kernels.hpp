// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cmath>
#include <cstdint>

#include <lockstep/backend/element_exponential.hpp>
#include <lockstep/inference/element_kernels.hpp>
#include <lockstep/inference/value_layout.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// Normalisations by a sample's own statistics, and softmax: what looks at several elements before it writes one.

namespace lockstep::detail::infer {

/// Up to three loops over a part of a value. `index` counts elements as PyTorch does.
struct part_loops {
  std::int64_t count[3]{1, 1, 1};
  std::int64_t step[3]{0, 0, 0};
  std::int64_t index[3]{0, 0, 0};

  [[nodiscard]] constexpr std::int64_t size() const { return count[0] * count[1] * count[2]; }

  friend constexpr bool operator==(const part_loops&, const part_loops&) = default;
};

/// Loops over channels, rows and pixels of a layout.
[[nodiscard]] constexpr part_loops loops_over(const value_layout& l, std::int64_t channels, std::int64_t height,
                                              std::int64_t width) {
  return {.count = {channels, height, width},
          .step = {l.channel_step, l.row_step, l.pixel_step},
          .index = {l.height * l.width, l.width, 1}};
}

/// A normalisation of `parts` parts of a value, which begin `part_step` apart.
struct norm_shape {
  part_loops part{};
  std::int64_t parts = 1;
  std::int64_t part_step = 0;
  std::int64_t weights = 1;      ///< number of them
  std::int64_t part_weight = 0;  ///< from the first weight of a part to that of the next
  bool by_channel = false;       ///< one weight for each channel, else for each element of a part
  bool centred = true;
  bool weight = true;
  bool bias = true;
  bool relu = false;

  friend constexpr bool operator==(const norm_shape&, const norm_shape&) = default;
};

/// y = (x - mean) / sqrt(mean of (x - mean)^2 + epsilon) w + b for each part, measured in double. `w` has epsilon, the
/// weights, then the biases.
template <norm_shape G, value_layout L>
struct sample_norm_kernel {
  template <class>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* w, const float* x, float* y) {
    const double epsilon = static_cast<double>(w[0]);
    const float* weight = w + 1;
    const float* bias = weight + (G.weight ? G.weights : 0);
    constexpr part_loops n = G.part;
    constexpr auto count = static_cast<double>(n.size());
    for (std::int64_t part = 0; part < G.parts; ++part) {
      const float* const from = x + part * G.part_step;
      double mean = 0;
      if constexpr (G.centred) {
        // From the first element on, so that the mean of equal elements is that element.
        const auto origin = static_cast<double>(from[0]);
        double sum = 0;
        for (std::int64_t i = 0; i < n.count[0]; ++i)
          for (std::int64_t j = 0; j < n.count[1]; ++j)
            for (std::int64_t k = 0; k < n.count[2]; ++k)
              sum += static_cast<double>(from[i * n.step[0] + j * n.step[1] + k * n.step[2]]) - origin;
        mean = origin + sum / count;
      }
      double squares = 0;
      for (std::int64_t i = 0; i < n.count[0]; ++i)
        for (std::int64_t j = 0; j < n.count[1]; ++j)
          for (std::int64_t k = 0; k < n.count[2]; ++k) {
            const double d = static_cast<double>(from[i * n.step[0] + j * n.step[1] + k * n.step[2]]) - mean;
            squares += d * d;
          }
      const double inverse = 1 / std::sqrt(squares / count + epsilon);
      for (std::int64_t i = 0; i < n.count[0]; ++i)
        for (std::int64_t j = 0; j < n.count[1]; ++j)
          for (std::int64_t k = 0; k < n.count[2]; ++k) {
            const std::int64_t at = part * G.part_step + i * n.step[0] + j * n.step[1] + k * n.step[2];
            const std::int64_t own =
                part * G.part_weight + (G.by_channel ? i : i * n.index[0] + j * n.index[1] + k * n.index[2]);
            double v = (static_cast<double>(x[at]) - mean) * inverse;
            if constexpr (G.weight) v *= static_cast<double>(weight[own]);
            if constexpr (G.bias) v += static_cast<double>(bias[own]);
            float result = static_cast<float>(v);
            if constexpr (G.relu) rectify(result);
            y[at] = result;
          }
    }
    clear_gaps<L>(y);
  }
};

/// The softmax of `Count` elements that lie `Step` apart, or its logarithm.
template <std::int64_t Count, std::int64_t Step, bool Logarithm>
struct softmax_row {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* x, float* y) {
    float top = x[0];
    for (std::int64_t i = 1; i < Count; ++i) top = x[i * Step] > top ? x[i * Step] : top;
    double sum = 0;
    constexpr std::int64_t width = lanes<V> == 4 ? 1 : lanes<V>;
    for (std::int64_t i = 0; i < Count; i += width) {
      const std::int64_t here = Count - i < width ? Count - i : width;
      array_of<float, width> some;
      for (std::int64_t k = 0; k < width; ++k) some[k] = k < here ? x[(i + k) * Step] - top : 0.F;
      exponential<V>(some);
      for (std::int64_t k = 0; k < here; ++k) {
        sum += static_cast<double>(some[k]);
        if constexpr (!Logarithm) y[(i + k) * Step] = some[k];
      }
    }
    if constexpr (Logarithm) {
      const double log_sum = std::log(sum);
      for (std::int64_t i = 0; i < Count; ++i)
        y[i * Step] = static_cast<float>(static_cast<double>(x[i * Step] - top) - log_sum);
    } else {
      for (std::int64_t i = 0; i < Count; ++i) y[i * Step] = static_cast<float>(static_cast<double>(y[i * Step]) / sum);
    }
  }

 private:
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void exponential(float* some) {
    if constexpr (lanes<V> == 4) {
      take_exponential(*some);
    } else {
      V v;
      load(v, some);
      take_exponential(v);
      store(some, v);
    }
  }
};

template <value_layout In, value_layout Out, bool Logarithm>
struct softmax_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(const float* x, float* y) {
    if constexpr (In.extents.rank == 2) {
      for (std::int64_t c = 0; c < In.channels; ++c)
        softmax_row<In.width, In.pixel_step, Logarithm>::template run<V>(x + c * In.channel_step,
                                                                         y + c * In.channel_step);
    } else {
      for (std::int64_t h = 0; h < In.height; ++h)
        for (std::int64_t w = 0; w < In.width; ++w)
          softmax_row<In.channels, In.channel_step, Logarithm>::template run<V>(x + In.at(0, h, w), y + In.at(0, h, w));
    }
    clear_gaps<Out>(y);
  }
};

}  // namespace lockstep::detail::infer
