// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "training.hpp"

namespace lockstep_test {

/// The runs of training.hpp with one replica of the CPU backend.
trained expected_classifier(const ls::sgd& optimizer, const ls::trainer_options& options);
trained expected_regression(const ls::sgd& optimizer, const ls::trainer_options& options);

}  // namespace lockstep_test
