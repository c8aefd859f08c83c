// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/binary_cross_entropy.hpp>
#include <lockstep/nn/loss/class_targets.hpp>
#include <lockstep/nn/loss/element_loss.hpp>
#include <lockstep/nn/loss/huber.hpp>
#include <lockstep/nn/loss/kullback_leibler.hpp>
#include <lockstep/nn/loss/l1.hpp>
#include <lockstep/nn/loss/members.hpp>
#include <lockstep/nn/loss/negative_log_likelihood.hpp>
#include <lockstep/nn/loss/smooth_l1.hpp>

namespace lockstep {

/// The loss of a model that has none: the model can run forward but not train.
struct no_loss {
  template <class B>
  struct op {
    op(typename B::context&, const no_loss&) {}
  };
};

/// Mean over the batch of the cross entropy between softmax(logits) and a class index, as torch.nn.CrossEntropyLoss.
///
/// The mean is (sum of the samples' losses) / (sum of their weights), over the whole batch. A sample has the weight of
/// its target's class, or none when its target equals `ignore_index`. A batch whose targets are all ignored has
/// loss NaN, as in PyTorch, and zero gradients.
///
/// An output (T, C) is T rows of logits for C classes, each with a target of its own: a sample has T targets, and the
/// mean is that over all targets of the batch.
struct cross_entropy {
  static constexpr std::string_view kind = "cross_entropy";

  /// One weight for each class; empty: all 1.
  std::vector<float> class_weights{};
  /// In [0, 1]: this share of each target is spread evenly over all classes.
  float label_smoothing = 0;
  std::int64_t ignore_index = -100;

  template <class T>
  using target_type = std::int64_t;

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 1 || Arriving.rank == 2,
                  "lockstep: cross_entropy: the output that arrives (Arriving) is not one row of logits, or rows of "
                  "them; end the network with linear<classes>");
  }

  /// The rows of logits of a sample.
  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return detail::rows_of(output); }

  /// Throws value_error when an option is out of its domain.
  void check_options(const dims& output) const {
    detail::check_class_weights(kind, class_weights, detail::classes_of(output));
    if (!(label_smoothing >= 0.F && label_smoothing <= 1.F))
      throw value_error("cross_entropy", "a label smoothing in [0, 1]", std::to_string(label_smoothing));
  }

  /// Sum of the weights of `count` targets. Throws value_error for a target that is neither a class nor ignored.
  [[nodiscard]] double denominator(const std::int64_t* targets, std::int64_t count, const dims& output) const {
    return detail::weight_of_classes(kind, targets, count, output, class_weights, ignore_index);
  }

  /// The loss on one replica of a backend, with its own copy of the options.
  template <class B>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    op(context& c, const cross_entropy& loss)
        : smoothing_(loss.label_smoothing),
          ignored_(loss.ignore_index),
          weights_(B::template allocate<float>(c, static_cast<std::int64_t>(loss.class_weights.size()))) {
      B::copy_in(c, weights_.size(), loss.class_weights.data(), weights_.data());
    }

    /// Adds the losses of `samples` samples to *sum and writes their gradient, times now->scale, to dy unless dy is
    /// null.
    void forward_backward(context& c, std::int64_t samples, const dims& output, const activation* y,
                          const std::int64_t* targets, activation* dy, const step_values* now, double* sum) const {
      const cross_entropy_arguments arguments{.classes = detail::classes_of(output),
                                              .class_weights = weights_.data(),
                                              .label_smoothing = smoothing_,
                                              .ignore_index = ignored_};
      B::softmax_cross_entropy(c, samples * target_size(output), arguments, y, targets, dy, now, sum);
    }

   private:
    float smoothing_;
    std::int64_t ignored_;
    typename B::template buffer<float> weights_;  ///< without class weights, data() is null
  };

  /// Number of rows whose largest logit is the target's; ignored targets do not count.
  template <class T>
  [[nodiscard]] std::int64_t correct(std::int64_t samples, const dims& output, const T* y,
                                     const std::int64_t* targets) const {
    return detail::hit_classes(samples * target_size(output), detail::classes_of(output), y, targets, ignore_index);
  }

  /// Number of targets that are not ignored.
  [[nodiscard]] std::int64_t counted(std::int64_t samples, const dims& output, const std::int64_t* targets) const {
    return detail::counted_classes(samples * target_size(output), targets, ignore_index);
  }
};

/// Mean over all elements of (y - t)^2, as torch.nn.MSELoss. Targets have the output's extents.
struct mean_squared_error {
  static constexpr std::string_view kind = "mean_squared_error";

  template <class T>
  using target_type = T;

  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return output.size(); }

  /// Whether `denominator` reads the targets, which then lie in the host's memory.
  static constexpr bool denominator_reads_targets = false;
  template <class T>
  [[nodiscard]] static double denominator(const T*, std::int64_t count, const dims&) {
    return static_cast<double>(count);
  }

  /// The loss on one replica of a backend.
  template <class B>
  class op {
    using activation = typename B::activation_type;
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, const mean_squared_error&) {}

    /// Adds the losses of `samples` rows to *sum and writes their gradient, times now->scale, to dy unless dy is null.
    void forward_backward(context& c, std::int64_t samples, const dims& output, const activation* y,
                          const value* targets, activation* dy, const step_values* now, double* sum) const {
      B::squared_error(c, samples * output.size(), y, targets, dy, now, sum);
    }
  };
};

}  // namespace lockstep
