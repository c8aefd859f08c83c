// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "data.hpp"
#include "networks.hpp"
#include "options.hpp"

namespace lockstep_train {

/// The network on the CPU that these options and the data's format ask for.
[[nodiscard]] network pick_on_cpu(const options& o, sample_format format);

/// Throws usage_error when this machine's processor cannot compute as they ask.
void require_processor(const options& o);

}  // namespace lockstep_train
