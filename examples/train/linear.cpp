// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/linear.hpp>

#include "make_network.hpp"

namespace lockstep_train {

namespace ls = lockstep;

std::set<int> replica_counts() { return replicas_built::counts(); }
std::set<int> reproducible_replica_counts() { return reproducible_replicas_built::counts(); }

network linear_network() {
  return make_network<ls::model<ls::linear<10, 10>, ls::input<10>, ls::mean_squared_error>>();
}

}  // namespace lockstep_train
