// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: data_parallel: batch_norm needs replicas in the host's memory and without a communicator
#include <lockstep/comm/threads.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using net = ls::sequential<ls::linear<4>, ls::batch_norm1d<>, ls::linear<2>>;
using model = ls::model<net, ls::input<3>, ls::cross_entropy>;

#ifdef LOCKSTEP_TEST_FIXED
using trainer = ls::data_parallel<model, 2>;
int main() { trainer one; }
#else
using trainer = ls::data_parallel<model, 2, ls::comm::thread_rank>;
int main() { trainer one({}, ls::comm::threads(1).take(0)); }
#endif
