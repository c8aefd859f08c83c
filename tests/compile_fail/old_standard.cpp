// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: compile with -std=c++20, and with g++ 12 or later or clang 16 or later
// flags: -std=c++17
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

int main() { ls::batch_of<float, 3, 32, 32> images(64); }
