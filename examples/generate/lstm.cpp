// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../models/char_lstm.hpp"

#include "make_writer.hpp"

namespace lockstep_generate {

text_model lstm() { return make_writer<models::char_lstm_model<>>(); }

}  // namespace lockstep_generate
