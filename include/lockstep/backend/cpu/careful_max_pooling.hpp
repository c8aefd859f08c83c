// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// Maximum pooling by its definition, activations channels-last: of equal elements the first in row-major order wins,
/// and a NaN wins over any number, as in PyTorch. For pictures with a NaN, which oneDNN would lose; not fast.
class careful_max_pooling {
 public:
  /// For at most `most` samples.
  careful_max_pooling(const pooling_geometry& g, std::int64_t most) : g_(g), winners_(most * g.out_size()) {}

  void forward(std::int64_t samples, const float* x, float* y) {
    std::int64_t at = 0;
    each_window(samples, [&](std::int64_t picture, const part& rows, const part& columns) {
      for (std::int64_t c = 0; c < g_.channels; ++c, ++at) {
        float best = -std::numeric_limits<float>::infinity();
        std::int64_t winner = -1;
        for (std::int64_t r = rows.begin; r < rows.end; ++r)
          for (std::int64_t k = columns.begin; k < columns.end; ++k) {
            const std::int64_t from = picture + (r * g_.in.width + k) * g_.channels + c;
            if (winner >= 0 && !(x[from] > best) && x[from] == x[from]) continue;
            best = x[from];
            winner = from;
          }
        y[at] = best;
        winners_.data()[at] = winner;
      }
    });
  }

  /// dx = the gradient of the input; every element is written.
  void backward(std::int64_t samples, const float* dy, float* dx) const {
    std::fill_n(dx, samples * g_.in_size(), 0.F);
    for (std::int64_t i = 0; i < samples * g_.out_size(); ++i) dx[winners_.data()[i]] += dy[i];
  }

 private:
  struct part {
    std::int64_t begin, end;
  };

  /// The part of an axis of `length` elements that a window starting at `start` covers.
  static part covered(std::int64_t start, std::int64_t window, std::int64_t length) {
    return {std::max<std::int64_t>(start, 0), (std::min)(start + window, length)};
  }

  /// Calls f(first element of its picture, rows, columns) for each window, in the order of the output.
  template <class F>
  void each_window(std::int64_t samples, const F& f) const {
    const extent2 out = g_.out();
    for (std::int64_t s = 0; s < samples; ++s)
      for (std::int64_t row = 0; row < out.height; ++row)
        for (std::int64_t column = 0; column < out.width; ++column)
          f(s * g_.in_size(), covered(row * g_.stride.height - g_.padding.height, g_.kernel.height, g_.in.height),
            covered(column * g_.stride.width - g_.padding.width, g_.kernel.width, g_.in.width));
  }

  pooling_geometry g_;
  aligned_buffer<std::int64_t> winners_;
};

}  // namespace lockstep::cpu_backend
