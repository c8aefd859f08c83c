// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <lockstep/model/plan.hpp>
#include <lockstep/parallel/trainer/replica.hpp>
#include <lockstep/parallel/trainer_options.hpp>

namespace lockstep::detail {

/// Names the parameter nearest to the loss whose gradient holds a NaN or an infinity, and the first replica whose
/// gradient does. Replicas whose buffer is null are not looked at; the report's replica is -1 when only the sums hold
/// it. `sums` are the summed gradients, which the first context reaches. Cost: one pass over the gradients, in a step
/// that has already failed.
template <class Model, class B, std::size_t N>
[[nodiscard]] non_finite_report find_non_finite(const std::array<typename B::context*, N>& contexts, std::int64_t step,
                                                const std::array<const typename B::value_type*, N>& gradients,
                                                const typename B::value_type* sums) {
  constexpr const auto& plan = Model::template plan<B>;
  const auto finite = [](typename B::context& c, const typename B::value_type* values, const plan_parameter& p) {
    [[maybe_unused]] const auto device = device_of<B>(c);
    typename B::template mirrored<double> squares(c);
    B::square_sums(c, p.shape.size(), p.shape.size(), values + p.offset, squares.get());
    squares.fetch(c);
    B::finish(c);
    return std::isfinite(squares.host());
  };
  non_finite_report report{.step = step, .replica = -1, .parameter = {}};
  for (int i = plan.parameter_tensors - 1; i >= 0; --i) {
    const plan_parameter& p = plan.parameters[static_cast<std::size_t>(i)];
    if (!p.learns) continue;
    for (std::size_t r = 0; r < N; ++r) {
      if (gradients[r] == nullptr || finite(*contexts[r], gradients[r], p)) continue;
      report.replica = static_cast<int>(r);
      report.parameter = Model::template parameter_name<B>(p);
      return report;
    }
    if (report.parameter.empty() && !finite(*contexts[0], sums, p))
      report.parameter = Model::template parameter_name<B>(p);
  }
  return report;
}

/// After a step that changed nothing because its gradients are not finite: finds out where, and calls or throws as the
/// options say. `accumulated`: the step's gradients were added to those of earlier passes.
template <class Engine>
void report_non_finite(Engine& engine, bool accumulated) {
  std::array<typename Engine::context*, Engine::count> contexts{};
  for (std::size_t r = 0; r < contexts.size(); ++r) contexts[r] = &engine.replicas[r]->context();
  auto gradients = engine.gradient_buffers();
  engine.homes.hide_combined(gradients, accumulated);
  const auto report = find_non_finite<typename Engine::model_type, typename Engine::backend_type>(
      contexts, engine.steps, gradients, engine.homes.front().update.sums());
  if (engine.options.on_non_finite) engine.options.on_non_finite(report);
  if (engine.options.non_finite == non_finite::stop) throw non_finite_error(report);
}

}  // namespace lockstep::detail
