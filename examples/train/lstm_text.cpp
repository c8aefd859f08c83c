// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lstm_text.hpp"

#include <lockstep/backend/cpu/cpu.hpp>

// In lstm_text_reproducible.cpp, so that the two halves compile side by side.
extern template std::unique_ptr<lockstep_train::trainer>
lockstep_train::make_trainer<lockstep_train::lstm_model, lockstep::cpu, lockstep::reduce::reproducible>(
    const options&, replicas_built_deep<lockstep::cpu>::reproducible);

template lockstep_train::network lockstep_train::lstm_network_text<lockstep::cpu>();
