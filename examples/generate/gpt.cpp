// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../models/byte_gpt.hpp"

#include "make_writer.hpp"

namespace lockstep_generate {

text_model gpt() { return make_writer<models::byte_gpt>(); }

}  // namespace lockstep_generate
