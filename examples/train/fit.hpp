// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "checkpointing.hpp"
#include "data.hpp"
#include "networks.hpp"
#include "options.hpp"

namespace lockstep_train {

/// Trains for o.epochs or o.steps: reports each epoch on stdout (unless o.quiet) and in the file o.log, shows a
/// progress bar where stderr is a terminal. A loss that is not finite is told on stderr at its step, and ends the
/// training unless o.keep_going; log, trace and report are written all the same. Returns false when it ended so. Throws
/// lockstep::io_error when a file cannot be written. With `keeper` the training goes on from its checkpoint, and has
/// more written.
[[nodiscard]] bool fit(const options& o, const network& net, trainer& t, data_set& data, checkpointing* keeper);

}  // namespace lockstep_train
