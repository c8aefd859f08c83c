// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/convolution_algorithm.hpp>
#include <lockstep/backend/cpu/cpu.hpp>

#include "resnet20.hpp"

template lockstep_train::network
lockstep_train::resnet20_network_cifar10<lockstep::cpu_convolving<lockstep::convolution_algorithm::direct>>();
