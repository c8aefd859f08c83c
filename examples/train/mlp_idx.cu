// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cuda/cuda.hpp>

#include "models.hpp"

template lockstep_train::network lockstep_train::mlp_network_idx<lockstep::cuda>();
template lockstep_train::network lockstep_train::mlp_network_idx<lockstep::cuda_bf16>();
