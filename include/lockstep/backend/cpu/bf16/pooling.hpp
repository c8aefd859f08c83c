// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <optional>

#include <lockstep/backend/cpu/bf16/context.hpp>
#include <lockstep/backend/cpu/bf16/convert.hpp>
#include <lockstep/backend/cpu/bf16/element.hpp>
#include <lockstep/backend/cpu/max_pooling_pairs.hpp>
#include <lockstep/backend/cpu/pooling.hpp>
#include <lockstep/backend/cpu/resampling.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/resampling.hpp>

namespace lockstep::cpu_backend::bf16 {

/// Pooling, activations channels-last: the largest of 2 x 2 on the elements themselves, all else in float.
class pooling_runner {
 public:
  [[gnu::cold]] pooling_runner(context& c, const pooling_geometry& geometry, std::int64_t samples)
      : g_(geometry), samples_(samples) {
    if (max_pooling_pairs::takes(g_))
      pairs_.emplace(g_, samples);
    else
      wide_.emplace(c, g_, samples);
  }

  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    if (wide_) wide_->set_samples(samples);
  }

  void forward(context& c, const element* x, element* y) {
    if (pairs_) return pairs_->forward(samples_, x, y);
    float* const out = c.floats<1>(samples_ * g_.out_size());
    wide_->forward(c, widened<0>(c, samples_ * g_.in_size(), x), out);
    convert(samples_ * g_.out_size(), out, y);
  }

  /// dx = the gradient of the input; every element is written.
  void backward(context& c, const element* dy, element* dx) {
    if (pairs_) return pairs_->backward(samples_, dy, dx);
    float* const in = c.floats<0>(samples_ * g_.in_size());
    wide_->backward(c, widened<1>(c, samples_ * g_.out_size(), dy), in);
    convert(samples_ * g_.in_size(), in, dx);
  }

 private:
  pooling_geometry g_;
  std::int64_t samples_;
  std::optional<max_pooling_pairs> pairs_;
  std::optional<cpu_backend::pooling_runner> wide_;  ///< remembers the winners of all samples
};

template <pooling_geometry G>
class pooling : public pooling_runner {
 public:
  pooling(context& c, std::int64_t samples) : pooling_runner(c, G, samples) {}
};

/// Changes the extents of pictures, channels-last, in float.
template <resampling_geometry G>
class resampling {
 public:
  resampling(context& c, std::int64_t samples) : samples_(samples), wide_(c, G, samples) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  void forward(context& c, const element* x, element* y) {
    each_piece(samples_, larger, [&](std::int64_t first, std::int64_t count) {
      wide_.set_samples(count);
      float* const out = c.floats<1>(count * out_size);
      wide_.forward(c, widened<0>(c, count * in_size, x + first * in_size), out);
      convert(count * out_size, out, y + first * out_size);
    });
  }
  /// dx = the gradient of the input; every element is written.
  void backward(context& c, const element* dy, element* dx) {
    each_piece(samples_, larger, [&](std::int64_t first, std::int64_t count) {
      wide_.set_samples(count);
      float* const in = c.floats<0>(count * in_size);
      wide_.backward(c, widened<1>(c, count * out_size, dy + first * out_size), in);
      convert(count * in_size, in, dx + first * in_size);
    });
  }

 private:
  static constexpr std::int64_t in_size = G.channels * G.in.height * G.in.width;
  static constexpr std::int64_t out_size = G.channels * G.out.height * G.out.width;
  static constexpr std::int64_t larger = in_size > out_size ? in_size : out_size;

  std::int64_t samples_;
  resampling_runner wide_;
};

}  // namespace lockstep::cpu_backend::bf16
