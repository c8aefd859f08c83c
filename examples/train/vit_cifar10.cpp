// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cpu/cpu.hpp>

#include "vit.hpp"

template lockstep_train::network lockstep_train::vit_network_cifar10<lockstep::cpu>();
