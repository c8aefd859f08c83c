// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cpu/bf16/cpu_bf16.hpp>

#include "models.hpp"

template lockstep_train::network lockstep_train::cnn_network_cifar10<lockstep::cpu_bf16>();
