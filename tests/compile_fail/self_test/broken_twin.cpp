// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: the defect
static_assert(false, "lockstep: the defect");
