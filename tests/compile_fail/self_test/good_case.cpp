// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: shape: extents are positive
#include <lockstep/core/shape.hpp>

#ifdef LOCKSTEP_TEST_FIXED
using sample = lockstep::shape<3, 32, 32>;
#else
using sample = lockstep::shape<3, 0, 32>;
#endif
static_assert(sample::static_size > 0);
