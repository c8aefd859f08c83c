// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: another sentence than the one below
#ifndef LOCKSTEP_TEST_FIXED
static_assert(false, "lockstep: the sentence the compiler prints");
#endif
