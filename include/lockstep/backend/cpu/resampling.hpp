// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/core/config.hpp>

namespace lockstep::cpu_backend {

/// A weighted sum along an axis: of `count` elements from `first` on, with the weights from `weights` on.
struct tap_range {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t weights = 0;
};

/// What is read along one axis: by each output of the inputs or, transposed, by each input's gradient of the outputs'.
class axis_taps {
 public:
  [[gnu::cold]] axis_taps(resampling_kind kind, std::int64_t in, std::int64_t out, bool transposed)
      : ranges_(static_cast<std::size_t>(transposed ? in : out)) {
    if (!transposed) {
      for (std::int64_t o = 0; o < out; ++o)
        for_each_tap(kind, in, out, o, [&](std::int64_t i, double weight) { append(o, i, weight); });
      return;
    }
    // The outputs that read an input are neighbours too: what they read moves on from output to output.
    for (std::int64_t i = 0; i < in; ++i)
      for (std::int64_t o = 0; o < out; ++o)
        for_each_tap(kind, in, out, o, [&](std::int64_t tap, double weight) {
          if (tap == i) append(i, o, weight);
        });
  }

  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(ranges_.size()); }
  [[nodiscard]] const tap_range* ranges() const noexcept { return ranges_.data(); }
  [[nodiscard]] const float* weights() const noexcept { return weights_.data(); }

 private:
  void append(std::int64_t to, std::int64_t from, double weight) {
    tap_range& range = ranges_[static_cast<std::size_t>(to)];
    if (range.count == 0) range = {.first = from, .weights = static_cast<std::int64_t>(weights_.size())};
    ++range.count;
    weights_.push_back(static_cast<float>(weight));
  }

  std::vector<tap_range> ranges_;
  std::vector<float> weights_;
};

/// A picture's weighted sums, each over a window; pictures channels-last. A row of the window is summed first, then the
/// rows' sums are added, so that rounding errors grow with the window's sides, not with its area.
struct resample_kernel {
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t samples, std::int64_t channels, std::int64_t in_height,
                                         std::int64_t in_width, const axis_taps* by_row, const axis_taps* by_column,
                                         const float* LOCKSTEP_RESTRICT x, float* LOCKSTEP_RESTRICT y) {
    const std::int64_t height = by_row->size();
    const std::int64_t width = by_column->size();
    for (std::int64_t s = 0; s < samples; ++s, x += in_height * in_width * channels)
      for (std::int64_t h = 0; h < height; ++h)
        for (std::int64_t w = 0; w < width; ++w, y += channels) {
          const tap_range rows = by_row->ranges()[h];
          const tap_range columns = by_column->ranges()[w];
          const float* row_weights = by_row->weights() + rows.weights;
          const float* column_weights = by_column->weights() + columns.weights;
          const float* corner = x + (rows.first * in_width + columns.first) * channels;
          std::int64_t k = 0;
          for (; k + lanes<V> <= channels; k += lanes<V>) {
            V total{};
            for (std::int64_t r = 0; r < rows.count; ++r) {
              const float* from = corner + r * in_width * channels + k;
              V row{};
              for (std::int64_t c = 0; c < columns.count; ++c, from += channels) {
                V v;
                load(v, from);
                row += column_weights[c] * v;
              }
              total += row_weights[r] * row;
            }
            store(y + k, total);
          }
          for (; k < channels; ++k) {
            float total = 0;
            for (std::int64_t r = 0; r < rows.count; ++r) {
              const float* from = corner + r * in_width * channels + k;
              float row = 0;
              for (std::int64_t c = 0; c < columns.count; ++c, from += channels) row += column_weights[c] * *from;
              total += row_weights[r] * row;
            }
            y[k] = total;
          }
        }
  }
};

/// Changes the extents of pictures, channels-last. The gradient is the same sum with the transposed weights: each of
/// its elements is written once, in a fixed order of additions.
class resampling_runner {
 public:
  [[gnu::cold]] resampling_runner(context&, const resampling_geometry& geometry, std::int64_t samples)
      : g_(geometry),
        samples_(samples),
        rows_(g_.kind, g_.in.height, g_.out.height, false),
        columns_(g_.kind, g_.in.width, g_.out.width, false),
        back_rows_(g_.kind, g_.in.height, g_.out.height, true),
        back_columns_(g_.kind, g_.in.width, g_.out.width, true) {}

  /// Sets the number of samples of the next passes.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context&, const float* x, float* y) const { run(g_.in, rows_, columns_, x, y); }
  /// dx = the gradient of the input; every element is written.
  void backward(context&, const float* dy, float* dx) const { run(g_.out, back_rows_, back_columns_, dy, dx); }

 private:
  void run(extent2 in, const axis_taps& rows, const axis_taps& columns, const float* x, float* y) const {
    if (!has_avx2())
      resample_kernel::run<float_x8>(samples_, g_.channels, in.height, in.width, &rows, &columns, x, y);
    else if (has<float_x16>() && g_.channels % lanes<float_x16> == 0)
      run_for<float_x16, resample_kernel>(samples_, g_.channels, in.height, in.width, &rows, &columns, x, y);
    else
      run_for<float_x8, resample_kernel>(samples_, g_.channels, in.height, in.width, &rows, &columns, x, y);
  }

  resampling_geometry g_;
  std::int64_t samples_;
  axis_taps rows_, columns_, back_rows_, back_columns_;
};

template <resampling_geometry G>
class resampling : public resampling_runner {
 public:
  resampling(context& c, std::int64_t samples) : resampling_runner(c, G, samples) {}
};

}  // namespace lockstep::cpu_backend
