// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/tensor.hpp>

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

/// A picture's weighted sums, each over a window; pictures channels-last. Rows are added first, in full length, into
/// `line`, then elements along it: rounding errors grow with the window's sides, not with its area.
struct resample_kernel {
  static constexpr std::int64_t rows_at_once = 4;

  /// line (+)= the weighted sum of `count` rows of `size` elements, at most rows_at_once.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void add_rows(std::int64_t count, std::int64_t size, const float* weights,
                                              const float* LOCKSTEP_RESTRICT rows, bool accumulate,
                                              float* LOCKSTEP_RESTRICT line) {
    std::int64_t i = 0;
    for (; i + lanes<V> <= size; i += lanes<V>) {
      V total{};
      if (accumulate) load(total, line + i);
      for (std::int64_t r = 0; r < count; ++r) {
        V v;
        load(v, rows + r * size + i);
        total += weights[r] * v;
      }
      store(line + i, total);
    }
    for (; i < size; ++i) {
      float total = accumulate ? line[i] : 0.F;
      for (std::int64_t r = 0; r < count; ++r) total += weights[r] * rows[r * size + i];
      line[i] = total;
    }
  }

  /// y = the weighted sum of `count` pixels of `channels` elements.
  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void add_pixels(std::int64_t count, std::int64_t channels, const float* weights,
                                                const float* LOCKSTEP_RESTRICT pixels, float* LOCKSTEP_RESTRICT y) {
    std::int64_t k = 0;
    for (; k + lanes<V> <= channels; k += lanes<V>) {
      V total{};
      for (std::int64_t p = 0; p < count; ++p) {
        V v;
        load(v, pixels + p * channels + k);
        total += weights[p] * v;
      }
      store(y + k, total);
    }
    for (; k < channels; ++k) {
      float total = 0;
      for (std::int64_t p = 0; p < count; ++p) total += weights[p] * pixels[p * channels + k];
      y[k] = total;
    }
  }

  template <class V>
  static LOCKSTEP_ALWAYS_INLINE void run(std::int64_t samples, std::int64_t channels, extent2 in,
                                         const axis_taps* by_row, const axis_taps* by_column, const float* x,
                                         float* line, float* y) {
    const std::int64_t height = by_row->size();
    const std::int64_t width = by_column->size();
    const std::int64_t row_size = in.width * channels;
    for (std::int64_t s = 0; s < samples; ++s, x += in.height * row_size)
      for (std::int64_t h = 0; h < height; ++h) {
        const tap_range rows = by_row->ranges()[h];
        const float* weights = by_row->weights() + rows.weights;
        const float* first = x + rows.first * row_size;
        const bool is_row = rows.count == 1 && weights[0] == 1.F;
        if (rows.count == 0) std::fill_n(line, row_size, 0.F);
        for (std::int64_t r = 0; r < rows.count && !is_row; r += rows_at_once)
          add_rows<V>((std::min)(rows_at_once, rows.count - r), row_size, weights + r, first + r * row_size, r > 0,
                      line);
        const float* from = is_row ? first : line;
        for (std::int64_t w = 0; w < width; ++w, y += channels) {
          const tap_range columns = by_column->ranges()[w];
          add_pixels<V>(columns.count, channels, by_column->weights() + columns.weights,
                        from + columns.first * channels, y);
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
        back_columns_(g_.kind, g_.in.width, g_.out.width, true),
        line_((std::max)(g_.in.width, g_.out.width) * g_.channels) {}

  /// Sets the number of samples of the next passes.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context&, const float* x, float* y) { run(g_.in, rows_, columns_, x, y); }
  /// dx = the gradient of the input; every element is written.
  void backward(context&, const float* dy, float* dx) { run(g_.out, back_rows_, back_columns_, dy, dx); }

 private:
  void run(extent2 in, const axis_taps& rows, const axis_taps& columns, const float* x, float* y) {
    float* line = line_.data();
    if (!has_avx2())
      resample_kernel::run<float_x8>(samples_, g_.channels, in, &rows, &columns, x, line, y);
    else if (has<float_x16>() && g_.channels % lanes<float_x16> == 0)
      run_for<float_x16, resample_kernel>(samples_, g_.channels, in, &rows, &columns, x, line, y);
    else
      run_for<float_x8, resample_kernel>(samples_, g_.channels, in, &rows, &columns, x, line, y);
  }

  resampling_geometry g_;
  std::int64_t samples_;
  axis_taps rows_, columns_, back_rows_, back_columns_;
  aligned_buffer<float> line_;  ///< a row of the output, before it is summed along its length
};

template <resampling_geometry G>
class resampling : public resampling_runner {
 public:
  resampling(context& c, std::int64_t samples) : resampling_runner(c, G, samples) {}
};

}  // namespace lockstep::cpu_backend
