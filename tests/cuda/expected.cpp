// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: other sources use what it defines.
#include "expected.hpp"

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/parallel/data_parallel.hpp>

namespace lockstep_test {

trained expected_classifier(const ls::sgd& optimizer, const ls::trainer_options& options) {
  return train_classifier<ls::data_parallel<classifier, 1>>(optimizer, options);
}

trained expected_regression(const ls::sgd& optimizer, const ls::trainer_options& options) {
  return train_regression<ls::data_parallel<regression, 1>>(optimizer, options);
}

}  // namespace lockstep_test
