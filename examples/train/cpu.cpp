// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "cpu.hpp"

#include <lockstep/backend/convolution_algorithm.hpp>
#include <lockstep/backend/cpu/bf16/context.hpp>

#include "pick_network.hpp"

namespace lockstep_train {

network pick_on_cpu(const options& o, sample_format format) {
  using lockstep::convolution_algorithm;
  if (o.precision == arithmetic::bf16) {
    if (o.model == "resnet20") return resnet20_network_cifar10<lockstep::cpu_bf16>();
    return o.model == "cnn" ? cnn_network_cifar10<lockstep::cpu_bf16>() : mlp_network_cifar10<lockstep::cpu_bf16>();
  }
  if (o.convolution == "f2") return resnet20_network_cifar10<lockstep::cpu_convolving<convolution_algorithm::f2>>();
  if (o.convolution == "direct")
    return resnet20_network_cifar10<lockstep::cpu_convolving<convolution_algorithm::direct>>();
  return pick_network<lockstep::cpu>(o, format);
}

void require_processor(const options& o) {
  if (o.precision == arithmetic::bf16 && !lockstep::cpu_backend::bf16::is_supported())
    throw usage_error(
        "--precision bf16 needs a processor with AVX512_BF16, and this machine has none; use --precision fp32");
}

}  // namespace lockstep_train
