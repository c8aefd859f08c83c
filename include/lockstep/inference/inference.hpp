// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/inference/instructions.hpp>
#include <lockstep/inference/samples.hpp>
#include <lockstep/inference/state.hpp>
#include <lockstep/inference/weights.hpp>
#include <lockstep/io/safetensors.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/nn/linear.hpp>

namespace lockstep {

/// A trained model as a plain object that only predicts: for audio plug-ins, control loops, games.
///
/// A call is a sequence of computations on the stack and nothing else: it takes no lock, allocates nothing, makes no
/// system call and writes nothing into the object. So any number of threads may share one object, among them threads
/// with deadlines, and a copy is as good as the original. The object is the weights, in the order that suits the
/// processor it was made on, and a pointer to the code for that processor: AVX-512, AVX2 with FMA, or what the compiler
/// was told. Weights of at most `inline_weights` floats lie in the object itself, so that making it allocates for the
/// moment alone; larger ones take one allocation.
///
/// Outputs equal those of `predictor` within float rounding: sums have another order, and a batch normalisation becomes
/// part of the layer before it. Dropout is the identity, `skippable` skips nothing.
///
///     const auto classify = ls::inference<classifier>::load("model.safetensors");
///     const std::array<float, 10> scores = classify(pixels);
template <class Model>
class inference {
  static constexpr bool is_simple = Model::input_count == 1 && Model::output_count == 1;
  // A harmless model takes the place of one that is refused, so that the compiler reports that alone.
  using code = detail::infer::instructions<std::conditional_t<is_simple, Model, model<linear<1>, input<1>>>>;

 public:
  using model_type = Model;

  /// Elements of a sample, and of what is predicted for it.
  static constexpr std::int64_t input_size = Model::input_dims.size();
  static constexpr std::int64_t output_size = Model::output_dims.size();
  using output_type = std::array<float, static_cast<std::size_t>(output_size)>;

  /// Elements of all parameters and buffers, in the order of torch's state_dict.
  static constexpr std::int64_t state_size = detail::infer::state_size<Model>;
  /// Floats of working memory that a call needs.
  static constexpr std::int64_t workspace_size = code::workspace_size;
  /// Floats of the states that recurrent layers carry from a call to the next; 0 without such layers.
  static constexpr std::int64_t carried_size = code::carried_size;
  /// True when calls without a workspace compile: they keep it on the stack, at most 64 KB.
  static constexpr bool fits_stack = code::fits_stack;
  /// The most packed weights, in floats, that lie in the object itself.
  static constexpr std::int64_t inline_weights = detail::infer::most_inline_weights;

  /// From parameters and buffers in the order and shapes of torch's state_dict, all in one range: of a model without
  /// buffers, its parameters in PyTorch's order. Throws shape_error when their number is not `state_size`.
  explicit inference(std::span<const float> state) : inference(code::choose(), state) {}

  /// From a trainer or a predictor, whose parameters and buffers it copies. Throws value_error or shape_error when
  /// their names or shapes are not this model's.
  template <detail::infer::state_holder Holder>
    requires(!std::is_same_v<Holder, inference>)
  explicit inference(const Holder& holder) : inference(copied(holder)) {}

  /// From a file that save_safetensors or PyTorch has written. Throws io_error as load_safetensors does.
  [[nodiscard]] static inference load(const std::string& path) {
    state_type state;
    load_safetensors(state, path);
    return inference(state);
  }

  /// Predicts one sample: anything that a std::span<const float> can view, a tensor, or a view of one sample. Throws
  /// shape_error when it is not one sample; where its type states its length, such a call does not compile.
  template <class Sample>
  [[nodiscard]] output_type operator()(const Sample& sample) const {
    const auto x = detail::infer::take_samples<Model::input_dims>(sample);
    if (x.count != 1) detail::infer::throw_other_count("one sample", x.count);
    output_type y;
    run_on_stack(x.first, y.data(), 1, nullptr);
    return y;
  }

  /// Predicts a batch of any number of samples, and writes their outputs one after the other. Throws shape_error when
  /// the samples are not whole ones, or `outputs` has not `output_size` floats for each. Four samples go through the
  /// network at once where their working memory fits the stack.
  template <class Samples>
  void operator()(const Samples& samples, std::span<float> outputs) const {
    const auto x = detail::infer::take_samples<Model::input_dims>(samples);
    detail::infer::require_outputs(x.count, output_size, outputs.size());
    run_on_stack(x.first, outputs.data(), x.count, nullptr);
  }

  /// The same with working memory of the caller's, at least `workspace_size` floats, whatever they are; calls at the
  /// same time need one each. Also throws shape_error when there are fewer.
  template <class Samples>
  void operator()(const Samples& samples, std::span<float> outputs, std::span<float> workspace) const {
    const auto x = detail::infer::take_samples<Model::input_dims>(samples);
    detail::infer::require_outputs(x.count, output_size, outputs.size());
    detail::infer::require_workspace(workspace_size, workspace.size());
    run_(weights_.data(), x.first, outputs.data(), workspace.data(), x.count, nullptr);
  }

  /// Predicts samples that follow each other in time, as a model of one step, `input<1, C>`, reads a stream step by
  /// step. Recurrent layers begin with the states that are in `states`, zeros at the beginning of a sequence, and leave
  /// there those after the last step. `states` has `carried_size` floats of the caller's, for each sequence its own.
  /// Does not compile for a layer that also reads the steps from the last to the first. Throws shape_error as above.
  template <class Samples>
  void carry(const Samples& samples, std::span<float> outputs, std::span<float> states) const {
    static_assert(!code::reads_back,
                  "lockstep: inference: carry: a bidirectional layer reads a sequence from its end too, and carries no "
                  "state; predict whole sequences");
    const auto x = detail::infer::take_samples<Model::input_dims>(samples);
    detail::infer::require_outputs(x.count, output_size, outputs.size());
    detail::infer::require_states(carried_size, states.size());
    run_on_stack(x.first, outputs.data(), x.count, states.data());
  }

 private:
  using state_type = detail::infer::model_state<Model>;

  /// A copy of a trainer's state.
  struct copied {
    explicit copied(const auto& holder) { detail::infer::copy_state(holder, all); }
    state_type all;
  };

  explicit inference(const copied& state) : inference(state.all.values()) {}
  explicit inference(const state_type& state) : inference(state.values()) {}

  inference(const typename code::choice& chosen, std::span<const float> state)
      : run_(chosen.run), weights_(chosen.packed_size) {
    if (static_cast<std::int64_t>(state.size()) != state_size)
      throw shape_error("inference", std::to_string(state_size) + " values in the order of torch's state_dict",
                        std::to_string(state.size()));
    chosen.pack(state.data(), weights_.data());
  }

  void run_on_stack(const float* x, float* y, std::int64_t samples, float* carried) const {
    static_assert(
        fits_stack,
        "lockstep: inference: the values between the layers of this model take more than the 64 KB that a call "
        "puts on the stack; hand in working memory: model(samples, outputs, workspace), workspace_size floats");
    if constexpr (fits_stack) {
      alignas(64) float arena[static_cast<std::size_t>(workspace_size)];
      run_(weights_.data(), x, y, arena, samples, carried);
    }
  }

  typename code::function run_;
  detail::infer::packed_weights<code::packed_size> weights_;

  // The checks come last: a compiler may drop the members after one that fails, and then complain of their absence.
  static_assert(is_simple,
                "lockstep: inference: the model has several inputs or outputs; a predictor serves such models");
  static_assert(code::require_kernels());
};

}  // namespace lockstep
