// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/convert.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/sample_norm.hpp>
#include <lockstep/backend/cpu/softmax.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>

/// \file
/// What needs a whole row or sample before it writes an element: by the CPU backend's kernels, in float.

namespace lockstep::cpu_backend::bf16 {

/// See cpu_backend::softmax_rows.
inline void softmax_rows(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                         const element* x, element* y) {
  each_piece(samples, layout.size(), [&](std::int64_t first, std::int64_t count) {
    const std::int64_t n = count * layout.size();
    float* const rows = widened<0>(c, n, x + first * layout.size());
    cpu_backend::softmax_rows(c, count, layout, logarithm, rows, rows);
    convert(n, rows, y + first * layout.size());
  });
}

/// See cpu_backend::softmax_rows_backward.
inline void softmax_rows_backward(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                                  const element* y, const element* dy, element* dx) {
  each_piece(samples, layout.size(), [&](std::int64_t first, std::int64_t count) {
    const std::int64_t n = count * layout.size();
    const std::int64_t at = first * layout.size();
    float* const rows = widened<1>(c, n, dy + at);
    cpu_backend::softmax_rows_backward(c, count, layout, logarithm, widened<0>(c, n, y + at), rows, rows);
    convert(n, rows, dx + at);
  });
}

/// See cpu_backend::sample_norm, whose statistics of all samples serve both passes.
template <sample_norm_geometry G>
class sample_norm {
 public:
  sample_norm(context& c, std::int64_t samples, double epsilon) : samples_(samples), wide_(c, samples, epsilon) {}
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    wide_.set_samples(samples);
  }

  void forward(context& c, const element* x, const element* w, const element* b, element* y) {
    float* const rows = widened<0>(c, size(), x);
    float* const out = c.floats<1>(size());
    wide_.forward(c, rows, widened<2>(c, channels, w), widened<3>(c, channels, b), out);
    convert(size(), out, y);
  }

  /// dx may be x or dy.
  void backward(context& c, const element* x, const element* dy, const element* w, element* dx, float* dw, float* db,
                bool accumulate) {
    float* const rows = widened<0>(c, size(), x);
    float* const gradients = widened<1>(c, size(), dy);
    wide_.backward(c, rows, gradients, widened<2>(c, channels, w), dx == nullptr ? nullptr : gradients, dw, db,
                   accumulate);
    if (dx != nullptr) convert(size(), gradients, dx);
  }

 private:
  static constexpr std::int64_t channels = G.layout.channels;
  [[nodiscard]] std::int64_t size() const { return samples_ * G.layout.size(); }

  std::int64_t samples_;
  cpu_backend::sample_norm<G> wide_;
};

}  // namespace lockstep::cpu_backend::bf16
