// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/config.hpp>

/// \file
/// Pooling by kernels of our own. cuDNN's backward wants the input and the output of the forward pass, and leaves ties
/// to chance. Here the forward pass keeps the place of each maximum in its window, and each element of the input
/// gathers the gradients of the windows that hold it, in a fixed order.

namespace lockstep::cuda_backend {

/// A pooling_geometry in the integer that indexes its elements.
template <class Index>
struct pooling_extents {
  Index channels, in_height, in_width, out_height, out_width;
  Index kernel_height, kernel_width, stride_height, stride_width, padding_height, padding_width;
};

/// The pixel and the channel of element i of pictures (n, height, width, channels).
template <class Index>
struct pooling_pixel {
  Index sample, row, column, channel;

  LOCKSTEP_HOST_DEVICE pooling_pixel(Index i, Index channels, Index height, Index width) {
    channel = i % channels;
    i /= channels;
    column = i % width;
    i /= width;
    row = i % height;
    sample = i / height;
  }
};

/// The part of an axis of `length` elements that the window from `start` on covers.
template <class Index>
struct clipped_window {
  Index begin, end;

  LOCKSTEP_HOST_DEVICE clipped_window(Index start, Index window, Index length)
      : begin(start < 0 ? 0 : start), end(start + window < length ? start + window : length) {}
};

/// The windows of an axis that hold the element at `at`, which counts from the start of the padding.
template <class Index>
struct covering_windows {
  Index begin, end;

  LOCKSTEP_HOST_DEVICE covering_windows(Index at, Index window, Index stride, Index windows)
      : begin(at < window ? 0 : (at - window) / stride + 1),
        end(at / stride + 1 < windows ? at / stride + 1 : windows) {}
};

template <pooling_kind Kind, class Index>
LOCKSTEP_HOST_DEVICE float pooling_divisor(const pooling_extents<Index>& e, const clipped_window<Index>& rows,
                                           const clipped_window<Index>& columns) {
  return static_cast<float>(Kind == pooling_kind::average_include_padding
                                ? e.kernel_height * e.kernel_width
                                : (rows.end - rows.begin) * (columns.end - columns.begin));
}

template <pooling_kind Kind, class A, class Index, class Winner>
__global__ void pooling_forward_kernel(Index n, pooling_extents<Index> e, const A* LOCKSTEP_RESTRICT x,
                                       A* LOCKSTEP_RESTRICT y, Winner* LOCKSTEP_RESTRICT winners) {
  const Index stride = static_cast<Index>(gridDim.x) * static_cast<Index>(blockDim.x);
  for (Index i = static_cast<Index>(blockIdx.x) * static_cast<Index>(blockDim.x) + static_cast<Index>(threadIdx.x);
       i < n; i += stride) {
    const pooling_pixel<Index> p(i, e.channels, e.out_height, e.out_width);
    const Index top = p.row * e.stride_height - e.padding_height;
    const Index left = p.column * e.stride_width - e.padding_width;
    const clipped_window<Index> rows(top, e.kernel_height, e.in_height);
    const clipped_window<Index> columns(left, e.kernel_width, e.in_width);
    const Index picture = p.sample * e.in_height;
    if constexpr (Kind == pooling_kind::maximum) {
      float best = -std::numeric_limits<float>::infinity();
      Index best_tap = -1;
      for (Index r = rows.begin; r < rows.end; ++r)
        for (Index k = columns.begin; k < columns.end; ++k) {
          const float v = static_cast<float>(x[((picture + r) * e.in_width + k) * e.channels + p.channel]);
          if (best_tap < 0 || v > best || v != v) {  // a NaN wins, as in PyTorch
            best = v;
            best_tap = (r - top) * e.kernel_width + (k - left);
          }
        }
      y[i] = static_cast<A>(best);
      winners[i] = static_cast<Winner>(best_tap);
    } else {
      float sum = 0;
      for (Index r = rows.begin; r < rows.end; ++r)
        for (Index k = columns.begin; k < columns.end; ++k)
          sum += static_cast<float>(x[((picture + r) * e.in_width + k) * e.channels + p.channel]);
      y[i] = static_cast<A>(sum / pooling_divisor<Kind>(e, rows, columns));
    }
  }
}

template <pooling_kind Kind, class A, class Index, class Winner>
__global__ void pooling_backward_kernel(Index n, pooling_extents<Index> e, const A* LOCKSTEP_RESTRICT dy,
                                        A* LOCKSTEP_RESTRICT dx, const Winner* LOCKSTEP_RESTRICT winners) {
  const Index stride = static_cast<Index>(gridDim.x) * static_cast<Index>(blockDim.x);
  for (Index i = static_cast<Index>(blockIdx.x) * static_cast<Index>(blockDim.x) + static_cast<Index>(threadIdx.x);
       i < n; i += stride) {
    const pooling_pixel<Index> p(i, e.channels, e.in_height, e.in_width);
    const Index row = p.row + e.padding_height;
    const Index column = p.column + e.padding_width;
    const covering_windows<Index> rows(row, e.kernel_height, e.stride_height, e.out_height);
    const covering_windows<Index> columns(column, e.kernel_width, e.stride_width, e.out_width);
    float sum = 0;
    for (Index r = rows.begin; r < rows.end; ++r)
      for (Index k = columns.begin; k < columns.end; ++k) {
        const Index at = ((p.sample * e.out_height + r) * e.out_width + k) * e.channels + p.channel;
        const Index top = r * e.stride_height;
        const Index left = k * e.stride_width;
        if constexpr (Kind == pooling_kind::maximum) {
          if (static_cast<Index>(winners[at]) == (row - top) * e.kernel_width + (column - left))
            sum += static_cast<float>(dy[at]);
        } else {
          sum += static_cast<float>(dy[at]) /
                 pooling_divisor<Kind>(e, clipped_window<Index>(top - e.padding_height, e.kernel_height, e.in_height),
                                       clipped_window<Index>(left - e.padding_width, e.kernel_width, e.in_width));
        }
      }
    dx[i] = static_cast<A>(sum);
  }
}

/// Pooling of a fixed number of samples: channels-last pictures of elements A. Maximum pooling remembers the winning
/// places between forward and backward: the first of equal values in row-major order, and a NaN before any number.
template <class A, pooling_geometry G>
class pooling {
  static constexpr bool maximum = G.kind == pooling_kind::maximum;
  /// A place in a window.
  using winner = std::conditional_t<G.kernel.height * G.kernel.width <= 256, std::uint8_t, std::int32_t>;

 public:
  pooling(context& c, std::int64_t samples) : samples_(samples) {
    if constexpr (maximum) winners_ = allocate<winner>(c, samples * G.out_size());
  }

  void forward(context& c, const A* x, A* y) {
    each_index(G.out_size(), [&](auto n, std::int64_t blocks) {
      using index = decltype(n);
      launch(c, "a forward pooling", pooling_forward_kernel<G.kind, A, index, winner>, blocks, block_threads, n,
             extents<index>(), x, y, winners_.data());
    });
  }

  /// dx = the gradient of the input; every element is written.
  void backward(context& c, const A* dy, A* dx) {
    each_index(G.in_size(), [&](auto n, std::int64_t blocks) {
      using index = decltype(n);
      launch(c, "a backward pooling", pooling_backward_kernel<G.kind, A, index, winner>, blocks, block_threads, n,
             extents<index>(), dy, dx, winners_.data());
    });
  }

 private:
  static constexpr std::int64_t most_blocks = std::int64_t{1} << 16U;

  /// Calls f with the number of elements, in 32 bits where they suffice (nearly always), and the number of blocks:
  /// 32-bit divisions are several times faster than 64-bit ones.
  template <class F>
  void each_index(std::int64_t size, const F& f) const {
    const std::int64_t n = samples_ * size;
    const std::int64_t blocks = blocks_for(n, block_threads, most_blocks);
    constexpr std::int64_t beyond = most_blocks * block_threads;  // how far the last index may pass n
    if (samples_ * (std::max)(G.in_size(), G.out_size()) <= (std::numeric_limits<std::int32_t>::max)() - beyond)
      f(static_cast<std::int32_t>(n), blocks);
    else
      f(n, blocks);
  }

  template <class Index>
  static pooling_extents<Index> extents() {
    const auto i = [](std::int64_t value) { return static_cast<Index>(value); };
    return {i(G.channels),     i(G.in.height),      i(G.in.width),     i(G.out().height),
            i(G.out().width),  i(G.kernel.height),  i(G.kernel.width), i(G.stride.height),
            i(G.stride.width), i(G.padding.height), i(G.padding.width)};
  }

  std::int64_t samples_;
  buffer<winner> winners_;
};

}  // namespace lockstep::cuda_backend
