// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/cuda/transform.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::cuda_backend {

struct relu_value {
  template <class A>
  LOCKSTEP_HOST_DEVICE constexpr A operator()(A x) const {
    return static_cast<float>(x) < 0.F ? static_cast<A>(0.F) : x;
  }
};

struct relu_gradient {
  template <class A>
  LOCKSTEP_HOST_DEVICE constexpr A operator()(A y, A dy) const {
    return static_cast<float>(y) <= 0.F ? static_cast<A>(0.F) : dy;
  }
};

struct sum_of_two {
  template <class A>
  LOCKSTEP_HOST_DEVICE constexpr float operator()(A x, float y) const {
    return y + static_cast<float>(x);
  }
};

template <bool Relu>
struct sum_of_values {
  template <class A>
  LOCKSTEP_HOST_DEVICE constexpr A operator()(A a, A b) const {
    const float total = static_cast<float>(a) + static_cast<float>(b);
    return static_cast<A>(Relu && total < 0.F ? 0.F : total);
  }
};

template <class To>
struct converted_to {
  template <class From>
  LOCKSTEP_HOST_DEVICE constexpr To operator()(From x) const {
    return static_cast<To>(x);
  }
};

/// y = max(0, x); NaN stays NaN, as in torch.nn.functional.relu. x and y may be the same range.
template <class A>
void relu_forward(context& c, std::int64_t n, const A* x, A* y) {
  transform(c, "relu forward", n, relu_value{}, y, x);
}

/// dx = 0 where y <= 0, else dy (where y is NaN too, as in PyTorch). dy and dx may be the same range.
template <class A>
void relu_backward(context& c, std::int64_t n, const A* y, const A* dy, A* dx) {
  transform(c, "relu backward", n, relu_gradient{}, dx, y, dy);
}

/// y += x.
template <class A>
void add(context& c, std::int64_t n, const A* x, float* y) {
  transform(c, "a sum", n, sum_of_two{}, y, x, y);
}

/// y = a + b, or max(0, a + b) with NaN kept; y may be a or b.
template <class A>
void sum(context& c, std::int64_t n, const A* a, const A* b, bool relu, A* y) {
  if (relu)
    transform(c, "a sum of values", n, sum_of_values<true>{}, y, a, b);
  else
    transform(c, "a sum of values", n, sum_of_values<false>{}, y, a, b);
}

/// Rounds each element to the nearest one of the other type, ties to even.
template <class From, class To>
void convert(context& c, std::int64_t n, const From* from, To* to) {
  transform(c, "a change of elements", n, converted_to<To>{}, to, from);
}

/// The order in which dropout takes the elements of a sample: four at a time, because one block of draws decides four.
struct dropout_order {
  std::int64_t size;
  std::int64_t channels;  ///< 1 when the elements lie in PyTorch's order
  std::int64_t pixels;

  /// Fours that a warp takes at a time.
  static constexpr std::int64_t piece = 256;

  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::int64_t quads() const { return (size + 3) / 4; }
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::int64_t pieces() const { return (quads() + piece - 1) / piece; }

  /// The index of the k-th four; each four comes once. Fours of consecutive k lie side by side in memory where the
  /// number of pixels allows it: the same four pixels of consecutive channels.
  [[nodiscard]] LOCKSTEP_HOST_DEVICE constexpr std::int64_t quad(std::int64_t k) const {
    return channels == 1 || pixels % 4 != 0 ? k : k % channels * (pixels / 4) + k / channels;
  }
};

/// Each warp takes a piece of one sample at a time, so that it makes the sample's stream once for many elements.
template <int Threads, class A>
__global__ void __launch_bounds__(Threads)
    dropout_kernel(std::int64_t samples, dropout_order order, float p, dropout_key key, const A* x, A* y) {
  const std::int64_t pieces = order.pieces();
  const std::int64_t warps = std::int64_t{gridDim.x} * (Threads / 32);
  const step_values now = *key.now;
  const float keep = p < 1.F ? 1.F / (1.F - p) : 0.F;
  for (std::int64_t w = (std::int64_t{blockIdx.x} * Threads + threadIdx.x) / 32; w < samples * pieces; w += warps) {
    const std::int64_t sample = w / pieces;
    const std::int64_t first = w % pieces * order.piece;
    const std::int64_t last = min(first + order.piece, order.quads());
    const random_stream stream(seed{now.seed}, random_purpose::dropout, (now.step << 16U) | key.layer,
                               static_cast<std::uint64_t>(now.first_sample + key.first_sample + sample));
    for (std::int64_t k = first + threadIdx.x % 32; k < last; k += 32) {
      const std::int64_t quad = order.quad(k);
      const auto bits = stream.block(static_cast<std::uint64_t>(quad));
      std::int64_t channel = order.channels == 1 ? 0 : 4 * quad / order.pixels;
      std::int64_t pixel = 4 * quad - channel * order.pixels;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (4 * quad + j >= order.size) break;
        const std::int64_t at = sample * order.size + pixel * order.channels + channel;
        const float factor = to_unit_float(bits[static_cast<std::size_t>(j)]) < p ? 0.F : keep;
        y[at] = static_cast<A>(static_cast<float>(x[at]) * factor);
        if (++pixel == order.pixels) {
          pixel = 0;
          ++channel;
        }
      }
    }
  }
}

/// y = x * mask / (1 - p) for `samples` samples of `size` elements, channels-last when `picture` has rank 3. Forward
/// and backward are the same map; y may be x. The draws are those of `for_each_dropout_factor`; key.now lies in the
/// device's memory.
template <class A>
void dropout(context& c, std::int64_t samples, std::int64_t size, const dims& picture, float p, const dropout_key& key,
             const A* x, A* y) {
  if (samples == 0 || size == 0) return;
  const bool channels_last = picture.rank == 3;
  const dropout_order order{.size = size,
                            .channels = channels_last ? picture[0] : 1,
                            .pixels = channels_last ? picture[1] * picture[2] : size};
  launch(c, "dropout", dropout_kernel<block_threads, A>, blocks_for(samples * order.pieces(), block_threads / 32),
         block_threads, samples, order, p, key, x, y);
}

}  // namespace lockstep::cuda_backend
