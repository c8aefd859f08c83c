// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <utility>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/shape.hpp>

namespace lockstep::detail {

/// The op of a loss that adds up parts of single elements, and whose targets have the output's extents and order.
/// `Loss::rule<T>()` returns the rule for elements of type T (backend/element_loss.hpp).
template <class B, class Loss>
class elementwise_op {
 public:
  using activation = typename B::activation_type;
  using value = typename B::value_type;
  using context = typename B::context;
  using rule = decltype(std::declval<const Loss&>().template rule<value>());

  elementwise_op(context&, const Loss& loss) : rule_(loss.template rule<value>()) {}

  /// Adds the losses of `samples` outputs to *sum and writes their gradient, times now->scale, to dy unless dy is null.
  void forward_backward(context& c, std::int64_t samples, const dims& output, const activation* y, const value* targets,
                        activation* dy, const step_values* now, double* sum) const {
    if constexpr (measures_elements<B>)
      B::element_loss(c, samples, output.size(), rule_, nullptr, y, targets, dy, now, sum);
  }

 private:
  rule rule_;
};

}  // namespace lockstep::detail
