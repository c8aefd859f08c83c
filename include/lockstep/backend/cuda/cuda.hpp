// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/dropout_channels.hpp>
#include <lockstep/backend/cuda/elementwise.hpp>
#include <lockstep/backend/cuda/graph.hpp>
#include <lockstep/backend/cuda/linear.hpp>
#include <lockstep/backend/cuda/loss.hpp>
#include <lockstep/backend/cuda/map.hpp>
#include <lockstep/backend/cuda/memory.hpp>
#include <lockstep/backend/cuda/order.hpp>
#include <lockstep/backend/cuda/pooling.hpp>
#include <lockstep/backend/cuda/range.hpp>
#include <lockstep/backend/cuda/softmax.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/cuda/update.hpp>
#include <lockstep/core/config.hpp>

#if LOCKSTEP_HAS_NCCL()
#include <lockstep/backend/cuda/nccl.hpp>
#endif

#if LOCKSTEP_HAS_CUDNN()
#include <lockstep/backend/cuda/convolution.hpp>
#else
#include <lockstep/backend/cuda/no_convolution.hpp>
#endif

namespace lockstep {

namespace cuda_backend {

/// What the CUDA backends have in common. Passes compute in elements A.
template <class A>
struct primitives {
  using value_type = float;
  using activation_type = A;
  using context = cuda_backend::context;

  static constexpr element_order picture_order = element_order::channels_last;
  /// A pass need not fit any cache.
  static constexpr std::int64_t cache_bytes = std::int64_t{1} << 62U;
  static constexpr std::int64_t largest_pass = std::int64_t{1} << 20U;
  static constexpr bool host_memory = false;

  template <class T>
  using buffer = cuda_backend::buffer<T>;
  template <class T>
  using mirrored = cuda_backend::mirrored<T>;
  using packet = cuda_backend::packet;
  using fence = cuda_backend::fence;
  using range = cuda_backend::range;
#if LOCKSTEP_HAS_NCCL()
  template <std::size_t N>
  using collective = cuda_backend::collective<N>;
#endif

  /// Devices for N replicas, for trainer_options::devices: the first N. Where there are fewer, as many as can share the
  /// replicas equally; without NCCL, the first alone. Throws backend_error when there is no device.
  template <int N>
  [[nodiscard]] static std::vector<int> devices() {
    return devices(N);
  }
  /// The same for a number that is known only at run time, 1 or more.
  [[nodiscard]] static std::vector<int> devices(int replicas) {
    const int there = cuda_backend::device_count();
    int used = LOCKSTEP_HAS_NCCL() ? (std::min)(replicas, there) : 1;
    while (replicas % used != 0) --used;
    std::vector<int> all;
    for (int r = 0; r < replicas; ++r) all.push_back(r / (replicas / used));
    return all;
  }

  template <class T>
  [[nodiscard]] static buffer<T> allocate(context& c, std::int64_t n) {
    return cuda_backend::allocate<T>(c, n);
  }
  template <class T>
  static void copy_in(context& c, std::int64_t n, const T* host, T* to) {
    cuda_backend::copy(c, n, host, to);
  }
  template <class T>
  static void copy_out(context& c, std::int64_t n, const T* from, T* host) {
    cuda_backend::copy(c, n, from, host);
  }
  template <class T>
  static void copy(context& c, std::int64_t n, const T* from, T* to) {
    cuda_backend::copy(c, n, from, to);
  }
  template <class T>
  static void clear(context& c, std::int64_t n, T* to) {
    cuda_backend::clear(c, n, to);
  }
  [[nodiscard]] static bool host_reads(const void* p) { return cuda_backend::host_reads(p); }
  static void finish(context& c) { c.finish(); }
  template <class F, class Ready = cuda_backend::always_ready>
  static void replay(context& c, std::uint64_t key, F&& f, const Ready& ready = {}) {
    cuda_backend::replay(c, key, std::forward<F>(f), ready);
  }
  template <class F>
  static void repeat(context& c, std::uint64_t key, F&& f) {
    c.library<cuda_backend::graph_cache>().repeat(key, std::forward<F>(f));
  }
  [[nodiscard]] static bool prepared(context& c) { return c.library<cuda_backend::graph_cache>().prepared(); }
  [[nodiscard]] static bool recording(const context& c) { return c.recording(); }
  static void forget(context& c) { cuda_backend::forget(c); }
  [[nodiscard]] static std::uint64_t moves(context& c) { return c.library<cuda_backend::graph_cache>().moves(); }

  template <linear_geometry G>
  using linear = cuda_backend::linear<A, G>;
  template <convolution_geometry G>
  using convolution = cuda_backend::convolution<A, G>;
  template <pooling_geometry G>
  using pooling = cuda_backend::pooling<A, G>;

  static void relu_forward(context& c, std::int64_t n, const A* x, A* y) { cuda_backend::relu_forward(c, n, x, y); }
  static void relu_backward(context& c, std::int64_t n, const A* y, const A* dy, A* dx) {
    cuda_backend::relu_backward(c, n, y, dy, dx);
  }
  static void dropout(context& c, std::int64_t samples, std::int64_t size, const dims& picture, float p,
                      const dropout_key& key, const A* x, A* y) {
    cuda_backend::dropout(c, samples, size, picture, p, key, x, y);
  }
  static void to_channels_last(context& c, std::int64_t n, const dims& d, const A* x, A* y) {
    cuda_backend::to_channels_last(c, n, d, x, y);
  }
  static void to_plain(context& c, std::int64_t n, const dims& d, const A* x, A* y) {
    cuda_backend::to_plain(c, n, d, x, y);
  }
  static void softmax_cross_entropy(context& c, std::int64_t rows, const cross_entropy_arguments& a, const A* logits,
                                    const std::int64_t* targets, A* dlogits, const step_values* now, double* sum) {
    cuda_backend::softmax_cross_entropy(c, rows, a, logits, targets, dlogits, now, sum);
  }
  static void squared_error(context& c, std::int64_t n, const A* y, const float* t, A* dy, const step_values* now,
                            double* sum) {
    cuda_backend::squared_error(c, n, y, t, dy, now, sum);
  }
  template <class Rule>
  static void element_loss(context& c, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                           const A* y, const float* t, A* dy, const step_values* now, double* sum) {
    cuda_backend::element_loss(c, samples, size, rule, weights, y, t, dy, now, sum);
  }
  static void negative_log_likelihood(context& c, std::int64_t rows, const cross_entropy_arguments& a, const A* y,
                                      const std::int64_t* targets, A* dy, const step_values* now, double* sum) {
    cuda_backend::negative_log_likelihood(c, rows, a, y, targets, dy, now, sum);
  }
  static void sum(context& c, std::int64_t n, const A* a, const A* b, bool relu, A* y) {
    cuda_backend::sum(c, n, a, b, relu, y);
  }
  static void copy_rows(context& c, std::int64_t rows, std::int64_t width, const A* from, std::int64_t from_stride,
                        A* to, std::int64_t to_stride) {
    cuda_backend::copy_rows(c, rows, width, from, from_stride, to, to_stride);
  }
  template <class F>
  static void map(context& c, std::int64_t n, const F& f, const A* x, A* y) {
    cuda_backend::map(c, n, f, x, y);
  }
  template <class F>
  static void map_backward(context& c, std::int64_t n, const F& f, const A* x, const A* y, const A* dy, A* dx) {
    cuda_backend::map_backward(c, n, f, x, y, dy, dx);
  }
  static void softmax_rows(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm, const A* x,
                           A* y) {
    cuda_backend::softmax_rows(c, samples, layout, logarithm, x, y);
  }
  static void softmax_rows_backward(context& c, std::int64_t samples, const channel_layout& layout, bool logarithm,
                                    const A* y, const A* dy, A* dx) {
    cuda_backend::softmax_rows_backward(c, samples, layout, logarithm, y, dy, dx);
  }
  static void dropout_channels(context& c, std::int64_t samples, const channel_layout& layout, float p,
                               const dropout_key& key, const A* x, A* y) {
    cuda_backend::dropout_channels(c, samples, layout, p, key, x, y);
  }
  static void add(context& c, std::int64_t n, const float* x, float* y) { cuda_backend::add(c, n, x, y); }
  static void square_sums(context& c, std::int64_t n, std::int64_t block, const float* x, double* sums) {
    cuda_backend::square_sums(c, n, block, x, sums);
  }
  static void gradient_norm(context& c, std::int64_t blocks, const double* squares, double max_norm,
                            update_terms* out) {
    cuda_backend::gradient_norm(c, blocks, squares, max_norm, out);
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void reduce_and_update(context& c, std::int64_t first, std::int64_t last,
                                const std::array<const float*, N>& gradients, float* parameters,
                                const std::array<float*, States>& states, const Rule& rule) {
    cuda_backend::reduce_and_update(c, first, last, gradients, parameters, states, rule);
  }
  template <std::size_t N, std::size_t States, class Rule>
  static void load_reduce_and_update(context& c) {
    const auto entered = c.enter();
    cuda_backend::load_reduce_and_update<N, States, Rule>();
  }
};

}  // namespace cuda_backend

/// The CUDA backend of precision::bf16: passes compute in bfloat16, parameters and gradients are float32. Sums inside a
/// primitive are taken in float32; a convolution's weight gradient is rounded.
struct cuda_bf16 : cuda_backend::primitives<cuda_backend::bfloat16> {
  using in_bf16 = cuda_bf16;
  using element = cuda_backend::bfloat16;

  static constexpr std::string_view name = "cuda bf16";

  // Not templates: nvcc's host code for a kernel would spell the template arguments as the caller does, there by a name
  // that is private to a class (executor<...>::value), and would not compile.
  static void convert(context& c, std::int64_t n, const float* from, element* to) {
    cuda_backend::convert(c, n, from, to);
  }
  static void convert(context& c, std::int64_t n, const element* from, float* to) {
    cuda_backend::convert(c, n, from, to);
  }
  using primitives::to_channels_last;
  static void to_channels_last(context& c, std::int64_t n, const dims& d, const float* x, element* y) {
    cuda_backend::to_channels_last(c, n, d, x, y);
  }
};

/// The CUDA backend: matrix products by cuBLASLt, convolutions by cuDNN, all else by kernels of our own,
/// float32, pictures channels-last. Work is asynchronous, in the order of the context's stream, and can be recorded as
/// a graph. The same input gives the same bits in every run on one kind of device.
///
/// Only a CUDA compiler reads this header.
struct cuda : cuda_backend::primitives<float> {
  using in_bf16 = cuda_bf16;

  static constexpr std::string_view name = "cuda";
  /// Contexts heed `replica_place::rounding`.
  static constexpr bool rounds_factors = true;
};

static_assert(backend<cuda>);
static_assert(backend<cuda_bf16>);
static_assert(joins_values<cuda>);
static_assert(joins_values<cuda_bf16>);
static_assert(maps_elements<cuda>);
static_assert(computes_softmax<cuda>);
static_assert(drops_channels<cuda>);
static_assert(maps_elements<cuda_bf16>);
static_assert(measures_elements<cuda>);
static_assert(measures_elements<cuda_bf16>);
static_assert(measures_classes<cuda>);
static_assert(measures_classes<cuda_bf16>);
static_assert(computes_softmax<cuda_bf16>);
static_assert(drops_channels<cuda_bf16>);

}  // namespace lockstep
