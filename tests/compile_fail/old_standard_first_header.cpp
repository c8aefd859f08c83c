// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: compile with -std=c++20, and with g++ 12 or later or clang 16 or later
// flags: -std=c++14
#include <lockstep/parallel/predictor.hpp>

int main() { return lockstep::no_buffer < 0 ? 0 : 1; }
