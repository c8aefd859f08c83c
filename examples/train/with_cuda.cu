// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>
#include <vector>

#include <lockstep/backend/cuda/device.hpp>

#include "gpu.hpp"
#include "pick_network.hpp"

namespace lockstep_train {

namespace {

void require(const std::vector<int>& devices) {
  namespace cuda = lockstep::cuda_backend;
  if (const std::string why = cuda::why_no_device(); !why.empty())
    throw usage_error("--backend cuda: " + why + "; " + cuda::advice(cudaErrorNoDevice));
  const int count = cuda::device_count();
  for (const int device : devices)
    if (device >= count)
      throw usage_error("--device: expected an index from 0 to " + std::to_string(count - 1) + ", got " +
                        std::to_string(device) + "; CUDA_VISIBLE_DEVICES decides which GPUs a process sees");
}

constexpr gpu_support support{.pick = &pick_network<lockstep::cuda>, .require = &require};

}  // namespace

const gpu_support* gpu() { return &support; }

}  // namespace lockstep_train
