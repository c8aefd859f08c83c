// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <lockstep/cuda.hpp>

namespace lockstep_bench {

/// What a device can do, as measured.
struct ceilings {
  double bytes_per_s = 0;         ///< of its memory, read and written
  double flops_per_s = 0;         ///< of matrix products
  double upload_bytes_per_s = 0;  ///< from the host's pinned memory
};

/// What a step must do, whoever does it.
struct step_floor {
  double flops = 0;
  double bytes = 0;           ///< read and written
  double seconds = 0;         ///< the sum over its passes of what the slower of both takes
  double upload_seconds = 0;  ///< beside these, where the samples come from the host
};

/// Each pass of a layer (forward, gradient of the parameters, gradient of the input) reads what it needs once and
/// writes its result once, and so does the update by plain SGD; nothing costs time but memory and arithmetic. Tensors
/// that stay in the device's cache can be quicker, and so can a convolution by an algorithm of fewer operations.
/// Where a backend's passes compute in other elements than parameters are kept in, these are converted once.
template <class Model, class Backend>
[[nodiscard]] step_floor floor_of_step(std::int64_t samples, const ceilings& device) {
  constexpr const auto& plan = Model::template plan<Backend>;
  constexpr auto value = double{sizeof(typename Backend::value_type)};
  constexpr auto activation = double{sizeof(typename Backend::activation_type)};
  step_floor all;
  const auto pass = [&](double flops, double bytes) {
    all.flops += flops;
    all.bytes += bytes;
    all.seconds += std::max(flops / device.flops_per_s, bytes / device.bytes_per_s);
  };
  for (std::size_t i = 0; i < static_cast<std::size_t>(plan.node_count); ++i) {
    const lockstep::plan_node& node = plan.nodes[i];
    if (node.kind == lockstep::node_kind::alias) continue;
    const auto batch = static_cast<double>(samples);
    const double flops = batch * static_cast<double>(node.flops);
    const auto parameters = static_cast<double>(node.parameter_size);
    double read = 0;  // elements of a sample
    for (int k = 0; k < node.operands; ++k) {
      const int from = plan.operand(node, k).from;
      read += static_cast<double>(from < 0 ? plan.input.size() : plan.node(from).out.size());
    }
    const double samples_bytes =
        batch * (read * (node.converts ? value : activation) + static_cast<double>(node.out.size()) * activation);
    pass(flops, samples_bytes + parameters * activation);
    if (node.learns()) pass(flops, samples_bytes + parameters * value);
    if (node.input_gradient) pass(flops, samples_bytes + parameters * activation);
  }
  // Reads gradients and parameters, writes parameters.
  pass(0, 3 * static_cast<double>(plan.trainable_count) * value);
  if (lockstep::converts_values<Backend>) pass(0, static_cast<double>(plan.parameter_count) * (value + activation));
  all.upload_seconds =
      static_cast<double>(samples * plan.input.size()) * double{sizeof(float)} / device.upload_bytes_per_s;
  return all;
}

}  // namespace lockstep_bench
