// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/core/config.hpp>
#include <lockstep/core/shape.hpp>

/// \file
/// What a loss is: a struct of options with
/// - `target_type<T>`: the type of its targets where outputs are of type T: T, or std::int64_t for class indices;
/// - `static target_size(output)`: the number of targets for one output of these extents;
/// - `denominator(targets, count, output)`: what the sum of a batch's losses is divided by, a double that depends on
///   targets alone. `count` are the targets of the whole batch, in the host's memory; throws value_error for a target
///   out of its domain. It may be called for any part of a batch, and the denominators of the parts add up;
/// - `op<B>`: the loss on one replica of a backend, made of (context, loss), with `forward_backward(context, samples,
///   output, y, targets, dy, now, sum)`: adds the plain sum of the losses of `samples` outputs to *sum, and writes its
///   gradient, times now->scale, to dy. dy may be null, and then now too. All pointers are to the backend's memory; y
///   and dy lie in the order of the output's extents, sample after sample.
///
/// A loss may also have
/// - `check<dims>()`, consteval: says in a static_assert which outputs it does not take;
/// - `check_options(output)`: throws value_error for an option out of its domain;
/// - `correct(samples, output, y, targets)` and `counted(samples, output, targets)`, in the host's memory: the hits of
/// a
///   classification, and out of how many. Without them there are no hits, out of all samples;
/// - `runs_on<B>`: false for a backend that lacks primitives which the loss needs.

namespace lockstep::detail {

template <class Loss, dims Arriving>
consteval bool check_output_of() {
  if constexpr (requires { Loss::template check<Arriving>(); }) Loss::template check<Arriving>();
  return true;
}

template <class Loss>
void check_options_of(const Loss& loss, const dims& output) {
  if constexpr (requires { loss.check_options(output); }) loss.check_options(output);
}

template <class Loss, class T, class Target>
[[nodiscard]] std::int64_t hits_of(const Loss& loss, std::int64_t samples, const dims& output, const T* y,
                                   const Target* targets) {
  if constexpr (requires { loss.correct(samples, output, y, targets); })
    return loss.correct(samples, output, y, targets);
  else
    return 0;
}

template <class Loss, class Target>
[[nodiscard]] std::int64_t counted_by(const Loss& loss, std::int64_t samples, const dims& output,
                                      const Target* targets) {
  if constexpr (requires { loss.counted(samples, output, targets); })
    return loss.counted(samples, output, targets);
  else
    return samples;
}

}  // namespace lockstep::detail
