// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <set>

#include <lockstep/backend/convolution_algorithm.hpp>

namespace lockstep {
struct cpu;
struct cpu_bf16;
template <convolution_algorithm Algorithm>
struct cpu_convolving;
struct cuda;
struct cuda_bf16;
}  // namespace lockstep

namespace lockstep_train {

/// Numbers of replicas, for the compiler and for the command line.
template <int... Counts>
struct built_for {
  static constexpr bool any = sizeof...(Counts) > 0;
  [[nodiscard]] static std::set<int> counts() { return {Counts...}; }
};

/// The numbers of replicas that the networks of a backend are built for, by the way gradients are summed.
template <class Backend>
struct replicas_built;

template <>
struct replicas_built<lockstep::cpu> {
  using automatic = built_for<1, 2, 3, 4, 8>;
  using reproducible = built_for<1, 2, 4, 8>;
};

/// Few, so that bfloat16 adds little to what the program takes to build.
template <>
struct replicas_built<lockstep::cpu_bf16> {
  using automatic = built_for<1, 2>;
  using reproducible = built_for<1, 2>;
};

/// As the build says.
template <>
struct replicas_built<lockstep::cuda> {
  using automatic = built_for<LOCKSTEP_TRAIN_CUDA_REPLICAS>;
  using reproducible = automatic;
};
template <>
struct replicas_built<lockstep::cuda_bf16> : replicas_built<lockstep::cuda> {};

/// Those of networks of so many layers that each number takes a compiler long; none where a backend cannot run them.
template <class Backend>
struct replicas_built_deep;

template <>
struct replicas_built_deep<lockstep::cpu> {
  using automatic = built_for<1, 2, 4>;
  using reproducible = built_for<1, 2, 4>;
};

template <>
struct replicas_built_deep<lockstep::cpu_bf16> : replicas_built<lockstep::cpu_bf16> {};
/// To compare algorithms of convolutions.
template <lockstep::convolution_algorithm Algorithm>
struct replicas_built_deep<lockstep::cpu_convolving<Algorithm>> {
  using automatic = built_for<1, 2>;
  using reproducible = built_for<>;
};

/// Those of the network with dropout.
struct replicas_built_dropout {
  using automatic = built_for<1, 2>;
  using reproducible = built_for<>;
};

/// The CUDA backend normalises no batches, computes no attention and reads no text.
template <>
struct replicas_built_deep<lockstep::cuda> {
  using automatic = built_for<>;
  using reproducible = built_for<>;
};
template <>
struct replicas_built_deep<lockstep::cuda_bf16> : replicas_built_deep<lockstep::cuda> {};

}  // namespace lockstep_train
