// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>
#include <string_view>

namespace lockstep_embed {

/// Why `name` cannot be the name of the type in a header; empty when it can.
[[nodiscard]] std::string refuse_type_name(std::string_view name);

/// The same of a namespace, which may lie in others: `app::weights`.
[[nodiscard]] std::string refuse_namespace(std::string_view name);

}  // namespace lockstep_embed
