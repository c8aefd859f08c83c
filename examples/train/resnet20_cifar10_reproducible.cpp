// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/cpu/cpu.hpp>

#include "resnet20.hpp"

template std::unique_ptr<lockstep_train::trainer>
lockstep_train::make_trainer<lockstep_train::resnet20_model, lockstep::cpu, lockstep::reduce::reproducible>(
    const options&, replicas_built_deep<lockstep::cpu>::reproducible);
