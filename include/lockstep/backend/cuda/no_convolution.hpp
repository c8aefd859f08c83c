// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/geometry.hpp>

namespace lockstep::cuda_backend {

/// Stands for the convolution in a build without cuDNN: a network may name it, but making one does not compile.
template <class A, convolution_geometry G>
class convolution {
 public:
  convolution(context&, std::int64_t) {
    static_assert(G.out_channels < 0,
                  "lockstep: cuda: a convolution needs cuDNN, and this build has LOCKSTEP_WITHOUT_CUDNN; install cuDNN "
                  "and configure again, or take a network without conv2d");
  }

  void forward(context&, const A*, const A*, const A*, A*) const {}
  void backward(context&, const A*, const A*, const A*, A*, float*, float*, bool) const {}

  [[nodiscard]] static constexpr std::int64_t weight_offset(std::int64_t o, std::int64_t i, std::int64_t h,
                                                            std::int64_t w) {
    return ((o * G.kernel.height + h) * G.kernel.width + w) * (G.in_channels / G.groups) + i;
  }
};

}  // namespace lockstep::cuda_backend
