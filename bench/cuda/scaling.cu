// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "scaling.hpp"

#include "device_main.hpp"

int main(int argc, char** argv) {
  return lockstep_bench::device_main(argc, argv, [] {
    lockstep_bench::register_parts<1, 2, 4, 8>(
        {std::int64_t{64} << 10U, std::int64_t{1} << 20U, std::int64_t{16} << 20U, std::int64_t{128} << 20U}, 10);
    lockstep_bench::register_scaled_mlp();
    lockstep_bench::register_scaled_wide();
  });
}
