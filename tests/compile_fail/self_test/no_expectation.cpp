// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOCKSTEP_TEST_FIXED
static_assert(false, "lockstep: nobody says what to expect");
#endif
