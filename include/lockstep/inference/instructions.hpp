// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/inference/network_kernel.hpp>
#include <lockstep/inference/vectors.hpp>

/// \file
/// The code of a network for each set of instructions, and the choice among them.

namespace lockstep::detail::infer {

/// Floats that a call may put on the stack.
inline constexpr std::int64_t most_on_stack = 64 * 1024 / static_cast<std::int64_t>(sizeof(float));

/// Fails to compile; the compiler's note shows Layer.
template <class Layer, bool Runs>
consteval bool require_kernel() {
  static_assert(Runs,
                "lockstep: inference: it has no kernel for this layer (Layer), which a trainer and a predictor run by "
                "the layer's own op; serve the model with a predictor, or build the layer of those that lockstep has");
  return Runs;
}

template <class Model>
class instructions {
  template <class V>
  using kernel = network_kernel<Model, V>;

 public:
  /// The sample's values between layers, whatever the instructions.
  static constexpr std::int64_t values_size = (std::max)(
      {kernel<float_x4>::workspace, kernel<float_x8>::workspace, kernel<float_x16>::workspace, std::int64_t{1}});
  static constexpr bool fits_stack = values_size <= most_on_stack;
  static constexpr int group = group_samples * values_size <= most_on_stack ? group_samples
                               : 2 * values_size <= most_on_stack           ? 2
                                                                            : 1;
  static constexpr std::int64_t workspace_size = group * values_size;
  static constexpr std::int64_t carried_size = kernel<float_x4>::carried_size;
  static constexpr bool reads_back = kernel<float_x4>::reads_back;
  static constexpr std::int64_t packed_size =
      (std::max)({kernel<float_x4>::packed, kernel<float_x8>::packed, kernel<float_x16>::packed});

  using function = void (*)(const float* weights, const float* x, float* y, float* arena, std::int64_t samples,
                            float* carried);
  struct choice {
    function run;
    void (*pack)(const float* state, float* packed);
    std::int64_t packed_size;
  };

  /// The widest vectors that the machine has.
  [[nodiscard]] static choice choose() {
#if LOCKSTEP_X86_64()
    if (cpu_backend::has<float_x16>()) return of<float_x16>();
    if (cpu_backend::has<float_x8>()) return of<float_x8>();
#endif
    return of<float_x4>();
  }

  template <class V>
  [[nodiscard]] static choice of() {
    using grouped = typename kernel<V>::template in_groups<group>;
    using floats = const float*;
    choice c{.run = nullptr, .pack = &pack_program<Model, lanes<V>>, .packed_size = kernel<V>::packed};
    if constexpr (program_of<Model, 4>.unsupported >= 0)
      return c;
    else if constexpr (std::is_same_v<V, float_x16>)
      c.run = &cpu_backend::run_for_avx512<grouped, floats, floats, float*, float*, std::int64_t, float*>;
    else if constexpr (std::is_same_v<V, float_x8>)
      c.run = &cpu_backend::run_for_avx2<grouped, floats, floats, float*, float*, std::int64_t, float*>;
    else
      c.run = &run_apart_anywhere<grouped, floats, floats, float*, float*, std::int64_t, float*>;
    return c;
  }

  /// Fails to compile for a layer without a kernel.
  static consteval bool require_kernels() {
    constexpr int without = program_of<Model, 4>.unsupported;
    if constexpr (without >= 0)
      return require_kernel<typename Model::template leaf<static_cast<std::size_t>(without)>, false>();
    else
      return true;
  }
};

}  // namespace lockstep::detail::infer
