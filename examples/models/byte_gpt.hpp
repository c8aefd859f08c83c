// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/lockstep.hpp>

#include "gpt.hpp"

namespace models {

inline constexpr std::int64_t byte_gpt_layers = 4;
inline constexpr std::int64_t byte_gpt_context = 128;

/// A small GPT-2 of bytes: 4 layers, 4 heads, width 128, context 128. Dropout may be lockstep::dropout<P>.
template <class... Dropout>
using byte_gpt_with = lockstep::model<gpt<byte_gpt_layers, 4, 128, byte_gpt_context, 256, Dropout...>,
                                      lockstep::tokens<byte_gpt_context>, lockstep::cross_entropy>;
using byte_gpt = byte_gpt_with<>;

}  // namespace models
