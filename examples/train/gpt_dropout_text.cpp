// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "gpt_text.hpp"

#include <lockstep/backend/cpu/cpu.hpp>

template lockstep_train::network lockstep_train::gpt_dropout_network_text<lockstep::cpu>();
