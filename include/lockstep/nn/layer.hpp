// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep {

/// One tensor of a layer: a parameter, or a buffer such as a running mean, which no optimizer changes. Its default
/// initialisation is N(0, deviation^2), or U(-bound, bound), or `value` where both are 0.
struct parameter_spec {
  std::string_view name;
  dims shape;
  double bound = 0;
  double value = 0;
  double deviation = 0;
  std::int64_t zero_row = -1;  ///< a row that begins with zeros all the same; -1: none
  bool buffer = false;
  bool counts = false;  ///< holds whole numbers, which files keep as I64
};

/// The tensors of a layer: its parameters in the order of their flat range, and its buffers in the order of theirs.
struct parameter_list {
  static constexpr int max_count = 8;

  int count = 0;
  parameter_spec items[max_count]{};

  constexpr void add(std::string_view name, const dims& shape, double bound) {
    items[count++] = parameter_spec{.name = name, .shape = shape, .bound = bound};
  }
  /// A parameter whose elements begin with draws from N(0, deviation^2).
  constexpr void add_normal(std::string_view name, const dims& shape, double deviation) {
    items[count++] = parameter_spec{.name = name, .shape = shape, .deviation = deviation};
  }
  /// A parameter whose elements begin with `value`.
  constexpr void add_constant(std::string_view name, const dims& shape, double value) {
    items[count++] = parameter_spec{.name = name, .shape = shape, .value = value};
  }
  /// A buffer whose elements begin with `value`.
  constexpr void add_buffer(std::string_view name, const dims& shape, double value) {
    items[count++] = parameter_spec{.name = name, .shape = shape, .value = value, .buffer = true};
  }
  /// A buffer that counts from zero.
  constexpr void add_counter(std::string_view name) {
    items[count++] = parameter_spec{.name = name, .shape = {}, .buffer = true, .counts = true};
  }
  /// Elements of all parameters, or of all buffers.
  [[nodiscard]] constexpr std::int64_t size(bool buffers = false) const {
    std::int64_t total = 0;
    for (int i = 0; i < count; ++i)
      if (items[i].buffer == buffers) total = checked_add(total, items[i].shape.size());
    return total;
  }
};

/// What a row of the output of a layer on rows (T, C) depends on.
enum class row_rule : std::uint8_t {
  mixed,     ///< any rows
  apart,     ///< the same row of the input: the layer computes the same on one row
  in_order,  ///< this row and those before it: on one row the layer obeys pass::row
};

/// What a layer tells the planner about itself. A layer overrides what differs from the defaults.
struct layer_traits {
  static constexpr int max_operands = 3;

  bool needs_picture_order = false;  ///< computes on pictures in the backend's order
  bool takes_signals = false;        ///< with needs_picture_order: samples are C x L, pictures of height 1
  /// Computes the same in any order, or reads from node_traits::picture which order it gets. A layer that sets neither
  /// this nor needs_picture_order reads and writes the plain order of PyTorch.
  bool takes_any_order = false;
  bool takes_rows = false;  ///< with takes_any_order: a sample (T, C) is T rows, and comes in plain order
  /// The same for pictures; what is flat comes in plain order.
  bool takes_any_picture_order = false;
  bool writes_plain_order = false;  ///< whatever the order it reads: a layer that mixes all elements of a sample
  int operands = 1;                 ///< values that it reads: see `joint_layer` for one that reads several
  unsigned token_operands = 0;      ///< bit k: what it reads as value k are tokens: see `layer`
  bool is_table = false;        ///< its parameters are a table of rows: tied to others of the same extents, it is one
  bool is_flatten = false;      ///< changes the extents and no element: no code, no buffer
  bool is_pixel_rows = false;   ///< the same for the pixels of a picture, whose channels come last
  bool is_relu = false;         ///< may be fused into the layer before it
  bool is_skippable = false;    ///< may be skipped at run time: obeys pass::skips
  bool measures_batch = false;  ///< while training it needs statistics of the whole batch: see batch_norm.hpp
  bool carries_state = false;   ///< begins a training step with what the one before has left: see carried_states
  bool remembers_forward = false;  ///< its op keeps what backward needs of the last forward
  bool fuses_relu = false;         ///< its primitive can apply a relu to what it writes
  bool fuses_addition = false;     ///< with measures_batch: it can add a value to what it writes, before the relu
  bool masks_input = false;        ///< its backward can apply the mask of a relu before it
  row_rule rows = row_rule::mixed;
  bool backward_reads_input = true;
  bool backward_reads_output = false;
  bool backward_in_place = false;          ///< dx may be the same range as dy
  bool backward_overwrites_input = false;  ///< dx may be the same range as x
  bool backward_keeps_gradient = false;    ///< leaves dy as it is, unless dx is the same range or it masks a fused relu
  /// Obeys node_traits::parameter_gradient: when that is false, backward computes no gradient of a parameter, and reads
  /// the input only for mask_input.
  bool skips_parameter_gradient = false;
};

/// The picture that a sample is where its order matters: C x H x W itself, a signal C x L as one of height 1; of rank 0
/// for other samples.
[[nodiscard]] constexpr dims picture_of(const dims& sample) {
  if (sample.rank == 3) return sample;
  return sample.rank == 2 ? dims{sample[0], 1, sample[1]} : dims{};
}

/// All that is known at compile time about one layer at its place in a network; the template argument of a layer's
/// `op`. Equal layers with equal traits share their code.
struct node_traits {
  dims in;
  dims out;
  dims picture;  ///< the picture that the input, flat or not, holds channels-last; else of rank 0
  bool relu = false;
  bool output_gradient_masked = false;  ///< the next layer applies the mask of this layer's relu
  bool mask_input = false;              ///< apply the mask of the relu before this layer
  bool input_gradient = true;
  bool parameter_gradient = true;  ///< false for a frozen layer: what is written to its gradients is lost

  friend constexpr bool operator==(const node_traits&, const node_traits&) = default;
};

/// The place of a pass over one row of each sample, where rows come one after the other: so many have come before, in
/// earlier passes, of at most so many in all. kept[leaf] is the memory of a layer whose traits.rows is in_order:
/// `kept_values(extents, most)` elements of a sample, which stay as its op leaves them, times the number of samples.
template <class Activation>
struct row_place {
  std::int64_t before = 0;
  std::int64_t most = 0;
  Activation* const* kept = nullptr;
};

/// The states that layers carry from one training step to the next, of one sample after the other: a layer whose traits
/// say carries_state finds its own, of kept_values(extents, T) elements each, at before[leaf], and leaves the next ones
/// at after[leaf], in the host's memory. The first sample of a pass is sample number first + key.first_sample there.
template <class Activation>
struct carried_states {
  const Activation* const* before = nullptr;
  Activation* const* after = nullptr;
  std::int64_t first = 0;
};

/// The arguments of one pass through the network besides its tensors.
struct pass {
  bool training = true;
  dropout_key key{};              ///< the pipeline sets `layer` before each layer's turn
  const bool* skipped = nullptr;  ///< a flag for each layer and skippable composite of the model, or null: skips none

  /// A row_place of the backend's activations, where the samples of the model are single rows that come one after the
  /// other; else null.
  const void* row = nullptr;
  /// A carried_states of the backend's activations in a training step of a model that carries any; else null.
  const void* carried = nullptr;

  /// The place of the row, or null.
  template <class Activation>
  [[nodiscard]] const row_place<Activation>* row_of() const {
    return static_cast<const row_place<Activation>*>(row);
  }
  /// The states, or null.
  template <class Activation>
  [[nodiscard]] const carried_states<Activation>* carried_of() const {
    return static_cast<const carried_states<Activation>*>(carried);
  }
  /// True when the layer whose turn it is (key.layer) hands its input on.
  [[nodiscard]] bool skips() const { return skipped != nullptr && skipped[key.layer]; }
};

/// The tensors of one layer's backward pass on a backend. x, y, dx and dy hold `samples` times the traits' extents.
template <class B>
struct backward_arguments {
  using activation = typename B::activation_type;
  using value = typename B::value_type;

  const activation* x;           ///< the input
  const activation* y;           ///< the output
  activation* dy;                ///< gradient of the output; may be overwritten
  const activation* parameters;  ///< the layer's flat range
  activation* dx;    ///< gradient of the input; null unless traits.input_gradient. See layer_traits on aliasing
  value* gradients;  ///< the layer's flat range; of a frozen layer, memory that nobody reads
  bool accumulate;   ///< add the complete gradient of these samples to `gradients` instead of overwriting
};

/// The same of a layer that reads N values. `x[k]` and `dx[k]` of tokens are null; so is the dx of a value whose
/// gradient nobody needs.
template <class B, std::size_t N>
struct joint_backward_arguments {
  using activation = typename B::activation_type;
  using value = typename B::value_type;

  std::array<const activation*, N> x;
  const activation* y;
  activation* dy;
  const activation* parameters;
  std::array<activation*, N> dx;  ///< each in memory of its own
  value* gradients;
  bool accumulate;
};

/// True for an object that is prepared for a number of samples and can take as many or fewer in its next passes,
/// without allocation, after `set_samples(n)`.
template <class Op>
concept takes_fewer_samples = requires(Op& op, std::int64_t samples) {
  { op.set_samples(samples) } noexcept;
};

/// True for an op or a primitive that says how many bytes it keeps when it is prepared for a number of samples.
template <class Op>
concept keeps_memory = requires(std::int64_t samples) {
  { Op::kept_bytes(samples) } -> std::same_as<std::int64_t>;
};

/// A layer: a shape rule, a parameter list and, for a backend, an `op` that runs it.
///
/// `op<Backend, node_traits>` is constructed from (context, samples) and has
/// `forward(context, pass, x, parameters, y)`, the arrays of `Backend::activation_type`, and
/// `backward(context, pass, backward_arguments<Backend>)`.
/// A layer whose parameters do not lie in PyTorch's order has `op::physical(parameter, index)`: the place of an element
/// in its parameter's range.
///
/// An op that keeps anything of a forward pass for its backward, beyond what backward_arguments bring, must say so in
/// layer_traits::remembers_forward: other micro-shards may run in between.
///
/// A layer that needs primitives which not every backend has (backend/capabilities.hpp) has `runs_on<Backend>`, a bool;
/// where it is false, the model does not compile, and the op's code must not be a second error.
///
/// A layer that reads tokens (traits.token_operands) has `vocabulary`, their number, or, where it depends on the
/// extents that arrive, `vocabulary(extents)`: lower ones are valid. The `x` of its op's forward are tokens, and
/// backward takes them as a last argument; they have no gradient.
///
/// An op that has `set_samples` (`takes_fewer_samples`) serves every smaller batch too; where every op of a model
/// has it, a batch size that changes from step to step costs nothing.
template <class L>
concept layer = requires(const dims& in) {
  { L::traits } -> std::convertible_to<layer_traits>;
  { L::kind } -> std::convertible_to<std::string_view>;
  { L::output(in) } -> std::same_as<dims>;
  { L::parameters(in) } -> std::same_as<parameter_list>;
  { L::flops(in) } -> std::same_as<std::int64_t>;
};

/// A layer that reads several values, which stand in `feed`: as `layer`, but `output`, `parameters` and `flops` take
/// the extents of all values, traits.operands of them, as does `check`, one by one. Its op is
/// `op<Backend, node_traits, extents>`, with `forward(context, pass, x, parameters, y)`, x an array of arrays, and
/// `backward(context, pass, joint_backward_arguments<Backend, N>)`. Where one of the values are tokens, both take them
/// as a last argument. Values come in plain order.
template <class L>
concept joint_layer = requires(const std::array<dims, static_cast<std::size_t>(L::traits.operands)>& in) {
  requires L::traits.operands > 1 && L::traits.operands <= layer_traits::max_operands;
  { L::kind } -> std::convertible_to<std::string_view>;
  { L::output(in) } -> std::same_as<dims>;
  { L::parameters(in) } -> std::same_as<parameter_list>;
  { L::flops(in) } -> std::same_as<std::int64_t>;
};

namespace detail {

/// 1/sqrt(x) for x > 0, by Newton's iteration, since std::sqrt is not constexpr.
constexpr double inverse_root(double x) {
  double guess = x;
  for (int i = 0; i < 64; ++i) guess = 0.5 * (guess + x / guess);
  return 1.0 / guess;
}

/// PyTorch's default bound for weights and biases of Linear and Conv2d: 1/sqrt(fan_in), from kaiming_uniform with
/// a = sqrt(5).
constexpr double default_bound(std::int64_t fan_in) { return inverse_root(static_cast<double>(fan_in)); }

}  // namespace detail

}  // namespace lockstep
