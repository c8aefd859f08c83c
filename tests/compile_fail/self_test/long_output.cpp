// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: level 0
template <int Level>
struct chatter : chatter<Level - 1> {
  static_assert(Level < 0, "lockstep: one sentence for each of many levels");
};
template <>
struct chatter<0> {};

#ifndef LOCKSTEP_TEST_FIXED
static_assert(false, "lockstep: level 0");
template struct chatter<60>;
#endif
