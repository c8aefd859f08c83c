// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

using int_x8 = std::int32_t __attribute__((vector_size(32)));

/// The largest of each 2 x 2 pixels with stride 2 and without padding, activations channels-last, and its gradient. As
/// in PyTorch, a NaN wins, and the first of equal elements. Remembers the winners between forward and backward.
///
/// Where the channels do not fill vectors, a vector reads and writes into the next pixels, which are written later.
/// Where it would reach past the last one, only the channels are read and written.
class max_pooling_pairs {
 public:
  [[nodiscard]] static bool takes(const pooling_geometry& g) {
    return has_avx2() && g.kind == pooling_kind::maximum && g.kernel == extent2{2} && g.stride == extent2{2} &&
           g.padding == extent2{0};
  }

  /// For at most `samples` samples.
  max_pooling_pairs(const pooling_geometry& g, std::int64_t samples)
      : g_(g),
        row_((g.channels + width - 1) / width * width),
        winners_(samples * g.out().height * g.out().width * row_) {}

  template <class A>
  void forward(std::int64_t samples, const A* x, A* y) {
    run_for<float_x8, forward_kernel>(&g_, row_, samples, x, winners_.data(), y);
  }

  /// dx = the gradient of the input; every element is written.
  template <class A>
  void backward(std::int64_t samples, const A* dy, A* dx) const {
    run_for<float_x8, backward_kernel>(&g_, row_, samples, winners_.data(), dy, dx);
  }

 private:
  using vector = float_x8;  // g++ selects in wider ones lane by lane
  static constexpr std::int64_t width = lanes<vector>;

  // Functions with selections are not templates: see simd.hpp.

  /// Where v is larger than best, or is a NaN: best = v, and winner = k.
  static LOCKSTEP_ALWAYS_INLINE void keep_larger(const vector& v, std::int32_t k, vector& best, int_x8& winner) {
    const int_x8 wins = (v > best) | (v != v);
    best = wins ? v : best;
    winner = wins ? k - int_x8{} : winner;
  }

  /// gradient = 0 where the winner is not k.
  static LOCKSTEP_ALWAYS_INLINE void keep_winners(const int_x8& winner, std::int32_t k, vector& gradient) {
    gradient = winner == k ? gradient : vector{};
  }

  struct forward_kernel {
    template <class, class A>
    static LOCKSTEP_ALWAYS_INLINE void run(const pooling_geometry* g, std::int64_t winner_row, std::int64_t samples,
                                           const A* x, std::int32_t* winners, A* y) {
      const std::int64_t channels = g->channels;
      const std::int64_t row = g->in.width * channels;
      const extent2 out = g->out();
      const A* const x_end = x + samples * g->in_size();
      const A* const y_end = y + samples * g->out_size();
      for (std::int64_t s = 0; s < samples; ++s, x += g->in_size())
        for (std::int64_t h = 0; h < out.height; ++h) {
          const A* upper = x + 2 * h * row;
          for (std::int64_t w = 0; w < out.width; ++w, upper += 2 * channels, y += channels, winners += winner_row) {
            for (std::int64_t c = 0; c < channels; c += width) {
              const A* const last = upper + row + channels + c;
              const bool exact = x_end - last < width || y_end - (y + c) < width;
              const std::int64_t count = exact ? channels - c : width;
              vector best;
              vector v;
              int_x8 winner = {};
              load_first(best, upper + c, count);
              load_first(v, upper + channels + c, count);
              keep_larger(v, 1, best, winner);
              load_first(v, upper + row + c, count);
              keep_larger(v, 2, best, winner);
              load_first(v, last, count);
              keep_larger(v, 3, best, winner);
              store_first(y + c, best, count);
              __builtin_memcpy(winners + c, &winner, sizeof winner);
            }
          }
        }
    }
  };

  struct backward_kernel {
    template <class, class A>
    static LOCKSTEP_ALWAYS_INLINE void run(const pooling_geometry* g, std::int64_t winner_row, std::int64_t samples,
                                           const std::int32_t* winners, const A* dy, A* dx) {
      const std::int64_t channels = g->channels;
      const std::int64_t row = g->in.width * channels;
      const extent2 out = g->out();
      const A* const dy_end = dy + samples * g->out_size();
      const A* const dx_end = dx + samples * g->in_size();
      for (std::int64_t s = 0; s < samples; ++s, dx += g->in_size()) {
        for (std::int64_t h = 0; h < out.height; ++h) {
          for (std::int32_t below = 0; below < 2; ++below) {
            A* to = dx + (2 * h + below) * row;
            A* const end = to + row;
            const A* from = dy;
            const std::int32_t* winner_of = winners;
            for (std::int64_t w = 0; w < out.width; ++w, from += channels, winner_of += winner_row) {
              for (std::int32_t right = 0; right < 2; ++right, to += channels)
                for (std::int64_t c = 0; c < channels; c += width) {
                  const bool exact = dy_end - (from + c) < width || dx_end - (to + c) < width;
                  const std::int64_t count = exact ? channels - c : width;
                  vector gradient;
                  int_x8 winner;
                  load_first(gradient, from + c, count);
                  __builtin_memcpy(&winner, winner_of + c, sizeof winner);
                  keep_winners(winner, 2 * below + right, gradient);
                  store_first(to + c, gradient, count);
                }
            }
            std::fill(to, end, A{});
          }
          dy += out.width * channels;
          winners += out.width * winner_row;
        }
        std::fill(dx + 2 * out.height * row, dx + g->in_size(), A{});
      }
    }
  };

  pooling_geometry g_;
  std::int64_t row_;  ///< winners of a pixel, filled up to vectors
  aligned_buffer<std::int32_t> winners_;
};

}  // namespace lockstep::cpu_backend
