// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <string>
#include <vector>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/backend/cuda/device.hpp>

#include "gpu.hpp"
#include "pick_network.hpp"

namespace lockstep_train {

namespace {

std::vector<int> place(const options& o) {
  namespace cuda = lockstep::cuda_backend;
  if (const std::string why = cuda::why_no_device(); !why.empty())
    throw usage_error("--backend cuda: " + why + "; " + cuda::advice(cudaErrorNoDevice));
  const int count = cuda::device_count();
  for (const int device : o.devices)
    if (device >= count)
      throw usage_error("--device: expected an index from 0 to " + std::to_string(count - 1) + ", got " +
                        std::to_string(device) + "; CUDA_VISIBLE_DEVICES decides which GPUs a process sees");
  std::vector<int> all = o.devices;
  if (all.size() == 1) all.resize(static_cast<std::size_t>(o.replicas), all[0]);
  return all.empty() ? lockstep::cuda::devices(o.replicas) : all;
}

network pick(const options& o, sample_format format) {
  return o.precision == arithmetic::bf16 ? pick_network<lockstep::cuda_bf16>(o, format)
                                         : pick_network<lockstep::cuda>(o, format);
}

constexpr gpu_support support{.pick = &pick, .place = &place};

}  // namespace

const gpu_support* gpu() { return &support; }

}  // namespace lockstep_train
