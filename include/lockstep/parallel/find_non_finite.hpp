// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/plan.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// Names the parameter nearest to the loss whose gradient holds a NaN or an infinity, and the first replica that does;
/// `sums` are the summed gradients. Cost: one pass over the gradients, for a step that has already failed.
template <class Model, class B, std::size_t N>
[[nodiscard]] non_finite_report find_non_finite(typename B::context& c, std::int64_t step,
                                                const std::array<const typename B::value_type*, N>& gradients,
                                                const typename B::value_type* sums) {
  constexpr const auto& plan = Model::template plan<B>;
  const auto finite = [&](const typename B::value_type* values, const plan_parameter& p) {
    double squares = 0;
    B::square_sums(c, p.shape.size(), p.shape.size(), values + p.offset, &squares);
    return std::isfinite(squares);
  };
  non_finite_report report{.step = step, .replica = -1, .parameter = {}};
  for (int i = plan.parameter_tensors - 1; i >= 0; --i) {
    const plan_parameter& p = plan.parameters[static_cast<std::size_t>(i)];
    if (plan.nodes[static_cast<std::size_t>(p.node)].frozen) continue;
    for (std::size_t r = 0; r < N; ++r) {
      if (finite(gradients[r], p)) continue;
      report.replica = static_cast<int>(r);
      report.parameter = Model::template parameter_name<B>(p);
      return report;
    }
    if (report.parameter.empty() && !finite(sums, p)) report.parameter = Model::template parameter_name<B>(p);
  }
  return report;
}

}  // namespace lockstep::detail
