// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "data.hpp"
#include "networks.hpp"
#include "options.hpp"

namespace lockstep_train {

/// Trains for o.epochs or o.steps: reports each epoch on stdout (unless o.quiet) and in the file o.log, shows a
/// progress bar where stderr is a terminal. Throws lockstep::io_error when the log cannot be written.
void fit(const options& o, const network& net, trainer& t, data_set& data);

}  // namespace lockstep_train
