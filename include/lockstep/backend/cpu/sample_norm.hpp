// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/loop.hpp>
#include <lockstep/backend/cpu/normalise.hpp>
#include <lockstep/backend/cpu/row_statistics.hpp>
#include <lockstep/backend/cpu/sample_norm_columns.hpp>
#include <lockstep/backend/cpu/sample_norm_rows.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/host_sample_norm.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

/// See host::normalise_samples. Keeps the statistics of the last forward pass for its backward pass.
template <sample_norm_geometry G>
class sample_norm {
  static constexpr std::int64_t channels = G.layout.channels;
  static constexpr bool by_rows = G.layout.pixels == 1;
  static constexpr bool by_columns = !by_rows && G.layout.channels_last && channels % lanes<float_x8> == 0;
  static constexpr bool has_kernels = by_rows || by_columns || !G.layout.channels_last;

  /// The geometries of the kernels, without what these take as arguments or do not heed: layers share them.
  static constexpr sample_norm_geometry forward_kind{
      .centred = G.centred, .weight = G.weight, .bias = G.bias, .relu = G.relu};
  static constexpr sample_norm_geometry backward_kind{.centred = G.centred,
                                                      .weight = G.weight,
                                                      .bias = G.bias,
                                                      .input_gradient = G.input_gradient,
                                                      .parameter_gradient = G.parameter_gradient};

 public:
  sample_norm(context&, std::int64_t samples, double epsilon)
      : samples_(samples),
        epsilon_(epsilon),
        statistics_(samples * G.groups),
        sums_(2 * channels),
        block_(by_rows && G.parameter_gradient ? 2 * channels : 0) {}
  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context&, const float* x, const float* w, const float* b, float* y) {
    if (!is_fast()) return host::normalise_samples(G, epsilon_, samples_, x, w, b, y);
    if constexpr (by_columns) {
      for (std::int64_t s = 0; s < samples_; ++s)
        pictures_.forward(epsilon_, x + s * G.layout.size(), w, b, statistics_.data() + s * G.groups,
                          y + s * G.layout.size());
    } else if constexpr (has_kernels) {
      with_widest([&]<class V>(std::type_identity<V>) {
        if constexpr (by_rows) {
          for (std::int64_t g = 0; g < G.groups; ++g) {
            const std::int64_t first = g * G.size();
            run_for<V, row_norm::forward_kernel<forward_kind>>(samples_, G.size(), channels, epsilon_, x + first,
                                                               at(w, first), at(b, first),
                                                               statistics_.data() + g * samples_, y + first);
          }
        } else {
          for (std::int64_t g = 0; g < samples_ * G.groups; ++g) {
            const std::int64_t first = g % G.groups * G.channels();
            run_for<V, row_norm::forward_runs_kernel<forward_kind>>(G.channels(), G.layout.pixels, epsilon_,
                                                                    x + g * G.size(), at(w, first), at(b, first),
                                                                    statistics_.data() + g, y + g * G.size());
          }
        }
      });
    }
  }

  /// dx may be x or dy.
  void backward(context&, const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
                bool accumulate) {
    double* const sums = sums_.data();
    double* const products = sums + channels;
    if (!is_fast())
      return host::normalise_samples_backward(G, epsilon_, samples_, x, dy, w, dx, dw, db, accumulate, sums);
    std::fill_n(sums, 2 * channels, 0.0);
    if constexpr (by_rows) {
      with_widest([&]<class V>(std::type_identity<V>) { backward_rows<V>(x, dy, w, dx, sums, products); });
    } else if constexpr (by_columns) {
      for (std::int64_t s = 0; s < samples_; ++s)
        pictures_.backward(x + s * G.layout.size(), dy + s * G.layout.size(), w, statistics_.data() + s * G.groups,
                           at(dx, s * G.layout.size()), sums, products);
    } else if constexpr (has_kernels) {
      with_widest([&]<class V>(std::type_identity<V>) {
        for (std::int64_t g = 0; g < samples_ * G.groups; ++g) {
          const std::int64_t first = g % G.groups * G.channels();
          run_for<V, row_norm::backward_runs_kernel<backward_kind>>(
              G.channels(), G.layout.pixels, x + g * G.size(), dy + g * G.size(), at(w, first), statistics_.data() + g,
              at(dx, g * G.size()), sums + first, products + first);
        }
      });
    }
    if constexpr (G.weight && G.parameter_gradient) write(products, dw, accumulate);
    if constexpr (G.bias && G.parameter_gradient) write(sums, db, accumulate);
  }

 private:
  /// True where the vector kernels run.
  [[nodiscard]] static bool is_fast() { return has_kernels && has_avx2(); }
  /// A place in an array that may not be there.
  template <class T>
  [[nodiscard]] static T* at(T* array, std::int64_t offset) {
    return array == nullptr ? nullptr : array + offset;
  }

  /// Block by block: sums of a block in float, and over the blocks in double.
  template <class V>
  void backward_rows(const float* x, const float* dy, const float* w, float* dx, double* sums, double* products) {
    float* const block_products = block_.data();
    float* const block_gradients = at(block_.data(), channels);
    for (std::int64_t first = 0; first < samples_; first += normalise_rows) {
      const std::int64_t rows = (std::min)(normalise_rows, samples_ - first);
      std::fill_n(block_.data(), block_.size(), 0.F);
      for (std::int64_t g = 0; g < G.groups; ++g) {
        const std::int64_t column = g * G.size();
        const std::int64_t from = first * channels + column;
        run_for<V, row_norm::backward_kernel<backward_kind>>(
            rows, G.size(), channels, x + from, dy + from, at(w, column), statistics_.data() + g * samples_ + first,
            at(dx, from), at(block_products, column), at(block_gradients, column));
      }
      if constexpr (G.parameter_gradient)
        loop(channels, [=](std::int64_t c) {
          products[c] += double{block_products[c]};
          sums[c] += double{block_gradients[c]};
        });
    }
  }

  static void write(const double* from, float* to, bool accumulate) {
    loop(channels, [=](std::int64_t c) {
      const auto sum = static_cast<float>(from[c]);
      to[c] = accumulate ? to[c] + sum : sum;
    });
  }

  struct nothing {};

  std::int64_t samples_;
  double epsilon_;
  aligned_buffer<row_norm::statistics> statistics_;
  aligned_buffer<double> sums_;  ///< of dy and of dy h by channel
  aligned_buffer<float> block_;  ///< of dy h and of dy, over a block of rows
  [[no_unique_address]] std::conditional_t<by_columns, column_norm::pictures<G>, nothing> pictures_;
};

}  // namespace lockstep::cpu_backend
