// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "gpt_text.hpp"

#include <lockstep/backend/cpu/cpu.hpp>

// In gpt_text_reproducible.cpp, so that the two halves compile side by side.
extern template std::unique_ptr<lockstep_train::trainer>
lockstep_train::make_trainer<models::byte_gpt, lockstep::cpu, lockstep::reduce::reproducible>(
    const options&, replicas_built_deep<lockstep::cpu>::reproducible);

template lockstep_train::network lockstep_train::gpt_network_text<lockstep::cpu>();
