// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/class_targets.hpp>

namespace lockstep {

/// Mean over the batch of -y[t], y the log-probabilities of the classes and t a class index, as torch.nn.NLLLoss: the
/// sum of -weight[t] y[t] divided by the sum of weight[t]. A target that equals `ignore_index` enters neither. A batch
/// whose targets are all ignored has loss NaN, as in PyTorch, and zero gradients.
///
/// An output (T, C) is T rows of log-probabilities of C classes, each with a target of its own, as in `cross_entropy`.
struct negative_log_likelihood {
  static constexpr std::string_view kind = "negative_log_likelihood";

  /// One weight for each class; empty: all 1.
  std::vector<float> class_weights{};
  std::int64_t ignore_index = -100;

  template <class T>
  using target_type = std::int64_t;
  template <class B>
  static constexpr bool runs_on = measures_classes<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(Arriving.rank == 1 || Arriving.rank == 2,
                  "lockstep: negative_log_likelihood: the output that arrives (Arriving) is not one row of "
                  "log-probabilities, or rows of them");
  }

  /// The rows of log-probabilities of a sample.
  [[nodiscard]] static constexpr std::int64_t target_size(const dims& output) { return detail::rows_of(output); }

  /// Throws value_error when an option is out of its domain.
  void check_options(const dims& output) const {
    detail::check_class_weights(kind, class_weights, detail::classes_of(output));
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
    op(context& c, const negative_log_likelihood& loss)
        : ignored_(loss.ignore_index),
          weights_(B::template allocate<float>(c, static_cast<std::int64_t>(loss.class_weights.size()))) {
      B::copy_in(c, weights_.size(), loss.class_weights.data(), weights_.data());
    }

    /// Adds the losses of `samples` samples to *sum and writes their gradient, times now->scale, to dy unless dy is
    /// null.
    void forward_backward(context& c, std::int64_t samples, const dims& output, const activation* y,
                          const std::int64_t* targets, activation* dy, const step_values* now, double* sum) const {
      const cross_entropy_arguments arguments{
          .classes = detail::classes_of(output), .class_weights = weights_.data(), .ignore_index = ignored_};
      if constexpr (measures_classes<B>)
        B::negative_log_likelihood(c, samples * target_size(output), arguments, y, targets, dy, now, sum);
    }

   private:
    std::int64_t ignored_;
    typename B::template buffer<float> weights_;  ///< without class weights, data() is null
  };

  /// Number of rows whose largest log-probability is the target's; ignored targets do not count.
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

}  // namespace lockstep
