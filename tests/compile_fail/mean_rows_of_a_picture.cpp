// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: mean_rows: a sample is (T, C), T rows of C values; what arrives (Arriving) is not
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

#ifdef LOCKSTEP_TEST_FIXED
using net = ls::sequential<ls::conv2d<4, 2>, ls::pixel_rows, ls::mean_rows>;
#else
using net = ls::sequential<ls::conv2d<4, 2>, ls::mean_rows>;
#endif

int main() { ls::data_parallel<ls::model<net, ls::input<3, 6, 6>, ls::mean_squared_error>, 2> trainer; }
