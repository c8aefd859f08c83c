// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstdint>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/element_loss.hpp>
#include <lockstep/backend/embedding_geometry.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/backend/host_attention_row.hpp>
#include <lockstep/backend/host_map.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/backend/resampling.hpp>
#include <lockstep/backend/sample_norm_geometry.hpp>
#include <lockstep/backend/step_values.hpp>

/// \file
/// Groups of primitives that a backend may have beyond those of every backend. A layer that needs a group which a
/// backend lacks does not compile there, and the compiler says so in one sentence.

namespace lockstep {

/// Joins values, for `sum`, `residual`, `concat`, and wherever several layers read one value:
/// - `sum(c, n, a, b, relu, y)`: y = a + b of n activations, or max(0, a + b) with NaN kept; y may be a or b.
/// - `copy_rows(c, rows, width, from, from_stride, to, to_stride)`: copies rows of activations that begin a number of
///   elements apart.
template <class B>
concept joins_values = requires(typename B::context& c, std::int64_t n, const typename B::activation_type* p,
                                typename B::activation_type* q) {
  { B::sum(c, n, p, p, true, q) } -> std::same_as<void>;
  { B::copy_rows(c, n, n, p, n, q, n) } -> std::same_as<void>;
};

/// Normalises by the statistics of a batch, for `batch_norm1d` and `batch_norm2d`. `mean` and the other arrays have one
/// element for each channel; host_normalise.hpp defines what each primitive computes.
template <class B>
concept normalises_batches =
    requires(typename B::context& c, std::int64_t n, const channel_layout& layout, const typename B::activation_type* p,
             typename B::activation_type* q, const typename B::value_type* v, double* sums) {
      { B::measure_channels(c, n, layout, p, sums, sums) } -> std::same_as<void>;
      { B::normalise(c, n, layout, p, v, v, v, true, q) } -> std::same_as<void>;
      { B::normalise_gradients(c, n, layout, p, p, q, v, v, sums, sums) } -> std::same_as<void>;
      { B::normalise_backward(c, n, layout, p, p, v, v, v, v, q) } -> std::same_as<void>;
    };

/// Adds a value in the same pass over memory that normalises, and then applies the relu: `normalise_and_add` takes the
/// arguments of `normalise`, and before `relu` the addend, which may be y; host_normalise.hpp defines it. Plans for
/// such a backend make the sum after a batch normalisation part of it.
template <class B>
concept adds_to_normalised =
    normalises_batches<B> &&
    requires(typename B::context& c, std::int64_t n, const channel_layout& layout, const typename B::activation_type* p,
             typename B::activation_type* q, const typename B::value_type* v) {
      { B::normalise_and_add(c, n, layout, p, v, v, v, p, true, q) } -> std::same_as<void>;
    };

/// Applies a function to each element, for the activations: `map`, whose y may be x, and `map_backward`, whose dx may
/// be dy. host_map.hpp defines them, and what a function is.
template <class B>
concept maps_elements = requires(typename B::context& c, std::int64_t n, const identity_function& f,
                                 const typename B::activation_type* p, typename B::activation_type* q) {
  { B::map(c, n, f, p, q) } -> std::same_as<void>;
  { B::map_backward(c, n, f, p, p, p, q) } -> std::same_as<void>;
};

/// Normalises samples by their own statistics, for `layer_norm`, `rms_norm` and `group_norm`: a primitive that is
/// prepared for a geometry, a number of samples and an epsilon. `forward(c, x, w, b, y)` and `backward(c, x, dy, w, dx,
/// dw, db, accumulate)` compute what host_sample_norm.hpp defines; arrays that the geometry excludes are null, and dx
/// may be x or dy. Backward comes after the forward pass of the same samples, of which the primitive may keep the
/// statistics.
template <class B>
concept normalises_samples = requires(typename B::context& c, std::int64_t n, const typename B::activation_type* p,
                                      typename B::activation_type* q, typename B::value_type* v,
                                      typename B::template sample_norm<sample_norm_geometry{}>& norm) {
  requires std::constructible_from<typename B::template sample_norm<sample_norm_geometry{}>, typename B::context&,
                                   std::int64_t, double>;
  { norm.forward(c, p, p, p, q) } -> std::same_as<void>;
  { norm.backward(c, p, p, p, q, v, v, true) } -> std::same_as<void>;
};

/// Transposes convolutions, for `conv_transpose2d`:
/// - `transposed_convolution<G>`: prepared and run as `convolution<G>` is, with weights of another first axis:
///   `weight_offset(i, o, h, w)`.
template <class B>
concept transposes_convolutions = requires(std::int64_t n) {
  {
    B::template transposed_convolution<transposed_convolution_geometry{}>::weight_offset(n, n, n, n)
  } -> std::same_as<std::int64_t>;
};

/// Changes the extents of pictures, for `adaptive_avg_pool2d` and `upsample`:
/// - `resampling<G>` (resampling.hpp): prepared and run as `pooling<G>` is.
template <class B>
concept resamples_pictures = requires {
  typename B::template resampling<resampling_geometry{}>;
  requires std::constructible_from<typename B::template resampling<resampling_geometry{}>, typename B::context&,
                                   std::int64_t>;
};

/// Looks up rows of a table by tokens, for `embedding`: a primitive that is prepared for a number of tokens.
/// host_embedding.hpp defines what it computes.
template <class B>
concept looks_up_rows = requires(std::int64_t n) {
  typename B::template embedding<embedding_geometry{}>;
  { B::template embedding<embedding_geometry{}>::weight_offset(n, n) } -> std::same_as<std::int64_t>;
};

/// Adds one row to many, for `learned_positions`: `add_row`, whose y may be x, and `sum_rows`, which host_rows.hpp
/// defines.
template <class B>
concept adds_rows = requires(typename B::context& c, std::int64_t n, const typename B::activation_type* p,
                             typename B::activation_type* q, typename B::value_type* v) {
  { B::add_row(c, n, n, p, p, q) } -> std::same_as<void>;
  { B::sum_rows(c, n, n, p, v, true) } -> std::same_as<void>;
};

/// Takes the mean of each sample's rows, for `mean_rows`: `mean_rows(c, samples, rows, width, x, y)` and
/// `mean_rows_backward(c, samples, rows, width, dy, dx)`, which host_rows.hpp defines.
template <class B>
concept averages_rows = requires(typename B::context& c, std::int64_t n, const typename B::activation_type* p,
                                 typename B::activation_type* q) {
  { B::mean_rows(c, n, n, n, p, q) } -> std::same_as<void>;
  { B::mean_rows_backward(c, n, n, n, p, q) } -> std::same_as<void>;
};

/// Attends to rows of a sample, for the layers of attention: a primitive that is prepared for a geometry, a number of
/// samples and the scale of the scores. `forward(c, arguments, q, k, v, y)` and
/// `backward(c, arguments, q, k, v, y, dy, dq, dk, dv)` compute what host_attention.hpp defines; dq may be q, dk k, and
/// dv v. Backward comes after the forward pass of the same samples with the same arguments, of which the primitive may
/// keep a number for each row of a head.
template <class B>
concept attends =
    requires(typename B::context& c, std::int64_t n, const attention_arguments& a, const typename B::activation_type* p,
             typename B::activation_type* q, typename B::template attention<attention_geometry{}>& of) {
      requires std::constructible_from<typename B::template attention<attention_geometry{}>, typename B::context&,
                                       std::int64_t, double>;
      { of.forward(c, a, p, p, p, q) } -> std::same_as<void>;
      { of.backward(c, a, p, p, p, p, p, q, q, q) } -> std::same_as<void>;
    };

/// Attends to the rows of a sequence that have come before, one row at a time: `attend_to_kept`, which
/// host_attention_row.hpp defines.
template <class B>
concept attends_in_order = requires(typename B::context& c, std::int64_t n, const attention_row_geometry& g,
                                    const typename B::activation_type* p, typename B::activation_type* q) {
  { B::attend_to_kept(c, g, n, p, q, q) } -> std::same_as<void>;
};

/// Runs recurrent layers, for `lstm`, `gru` and `rnn`:
/// - `recurrent<G>` (recurrent_geometry.hpp): prepared for a number of samples.
///   `forward(c, x, w, y, before, after)` and
///   `backward(c, x, dy, w, dx, dw, accumulate)` compute what host_recurrent.hpp defines; w and dw are the flat range
///   of all parameters, arrays that the geometry excludes are null, and dx may be x. Backward comes after the forward
///   pass of the same samples, of which the primitive keeps what it needs.
template <class B>
concept runs_recurrences =
    requires(typename B::context& c, const typename B::activation_type* p, typename B::activation_type* q,
             typename B::value_type* v, typename B::template recurrent<recurrent_geometry{}>& layer) {
      requires std::constructible_from<typename B::template recurrent<recurrent_geometry{}>, typename B::context&,
                                       std::int64_t>;
      { layer.forward(c, p, p, q, p, q) } -> std::same_as<void>;
      { layer.backward(c, p, p, p, q, v, true) } -> std::same_as<void>;
    };

/// Stands for a primitive that a backend lacks, so that a layer's `runs_on` is the only error.
struct missing_primitive {
  template <class Context>
  missing_primitive(Context&, std::int64_t) {}
  static void set_samples(std::int64_t) noexcept {}
  template <class... Arguments>
  static void forward(Arguments...) {}
  template <class... Arguments>
  static void backward(Arguments...) {}
  static constexpr std::int64_t weight_offset(std::int64_t, std::int64_t, std::int64_t, std::int64_t) { return 0; }
  static constexpr std::int64_t weight_offset(std::int64_t, std::int64_t) { return 0; }
};

/// Measures an output element by element, for the losses that are a sum over elements:
/// `element_loss(c, samples, size, rule, weights, y, t, dy, now, sum)` adds the rule's values of `samples` outputs of
/// `size` elements to *sum, in double, and writes its gradients times now->scale to dy. dy may be null, and then now
/// too. `weights` are `size` values for a rule that takes them, else null. The order of the sum depends on samples and
/// size alone. element_loss.hpp says what a rule is, host_loss.hpp defines what is computed.
template <class B>
concept measures_elements = requires(typename B::context& c, std::int64_t n, const squared_difference_rule& rule,
                                     const typename B::activation_type* y, const typename B::value_type* t,
                                     typename B::activation_type* dy, const step_values* now, double* sum) {
  { B::element_loss(c, n, n, rule, t, y, t, dy, now, sum) } -> std::same_as<void>;
};

/// Measures log-probabilities by class indices, for `negative_log_likelihood`: the primitive of that name takes its
/// arguments as softmax_cross_entropy does; host_loss.hpp defines what it computes.
template <class B>
concept measures_classes = requires(typename B::context& c, std::int64_t n, const cross_entropy_arguments& a,
                                    const typename B::activation_type* y, const std::int64_t* targets,
                                    typename B::activation_type* dy, const step_values* now, double* sum) {
  { B::negative_log_likelihood(c, n, a, y, targets, dy, now, sum) } -> std::same_as<void>;
};

/// Multiplies matrices of values, for optimizers that update whole matrices:
/// - `multiply(c, m, n, k, a, b, transposed, y)`: y (m x n) = a (m x k) b, with b (k x n), or a b^T, with b (n x k).
///   All are row-major; y is neither a nor b. Equal arguments give equal bits.
template <class B>
concept multiplies_matrices =
    requires(typename B::context& c, std::int64_t n, const typename B::value_type* p, typename B::value_type* q) {
      { B::multiply(c, n, n, n, p, p, true, q) } -> std::same_as<void>;
    };

/// For softmax and log_softmax: `softmax_rows`, of the channels of each pixel, whose y may be x, and
/// `softmax_rows_backward`, whose dx may be dy. host_softmax.hpp defines them.
template <class B>
concept computes_softmax = requires(typename B::context& c, std::int64_t n, const channel_layout& layout,
                                    const typename B::activation_type* p, typename B::activation_type* q) {
  { B::softmax_rows(c, n, layout, true, p, q) } -> std::same_as<void>;
  { B::softmax_rows_backward(c, n, layout, true, p, p, q) } -> std::same_as<void>;
};

/// For dropout2d: `dropout_channels(c, samples, layout, p, key, x, y)` multiplies each channel of a sample by a factor
/// that `for_each_channel_factor` (dropout_mask.hpp) draws; y may be x.
template <class B>
concept drops_channels =
    requires(typename B::context& c, std::int64_t n, const channel_layout& layout, const dropout_key& key,
             const typename B::activation_type* p, typename B::activation_type* q) {
      { B::dropout_channels(c, n, layout, 0.5F, key, p, q) } -> std::same_as<void>;
    };

namespace detail {

/// Whether a layer or a loss runs on a backend. One that needs a group of primitives says so in `runs_on<B>`.
template <class Part, class B>
inline constexpr bool runs_on = true;
template <class Part, class B>
  requires requires {
    typename B::context;  // no backend: a compiler goes on after an error
    Part::template runs_on<B>;
  }
inline constexpr bool runs_on<Part, B> = Part::template runs_on<B>;

}  // namespace detail

}  // namespace lockstep
