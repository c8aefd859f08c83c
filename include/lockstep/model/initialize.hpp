// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/core/random.hpp>
#include <lockstep/model/parameter_layout.hpp>

namespace lockstep {

/// PyTorch's default initialisation: every weight and bias of linear and conv2d from U(-1/sqrt(fan_in),
/// 1/sqrt(fan_in)), every embedding from N(0, 1). Element i of parameter p is draw i of stream (seed, initialization,
/// p), in PyTorch's order, so the values depend on neither the backend nor the number of replicas. Other tensors begin
/// with the constants of their layers, such as the ones and zeros of a batch normalisation.
template <class Model, class B>
void initialize_parameters(typename B::value_type* parameters, seed s) {
  using value = typename B::value_type;
  constexpr const auto& plan = Model::template plan<B>;
  for (int p = 0; p < plan.parameter_tensors; ++p) {
    const random_stream stream(s, random_purpose::initialization, static_cast<std::uint64_t>(p));
    const plan_parameter& parameter = plan.parameters[static_cast<std::size_t>(p)];
    if (parameter.bound == 0 && parameter.deviation == 0) {
      std::fill_n(parameters + parameter.offset, parameter.shape.size(), static_cast<value>(parameter.value));
      continue;
    }
    const auto bound = static_cast<float>(parameter.bound);
    const auto deviation = static_cast<float>(parameter.deviation);
    detail::each_element<Model, B>(p, [&](std::int64_t index, std::int64_t offset) {
      const auto draw = static_cast<std::uint64_t>(index);
      const float fresh = deviation > 0 ? stream.normal(draw) * deviation : (2.F * stream.uniform(draw) - 1.F) * bound;
      parameters[offset] = static_cast<value>(fresh);
    });
    if (parameter.zero_row < 0) continue;
    const std::int64_t row = parameter.shape.size() / parameter.shape[0];
    detail::each_element<Model, B>(p, [&](std::int64_t index, std::int64_t offset) {
      if (index / row == parameter.zero_row) parameters[offset] = value{0};
    });
  }
}

}  // namespace lockstep
