// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstdint>

#include <lockstep/core/shard.hpp>

#include "support/catch.hpp"

namespace ls = lockstep;

TEST_CASE("shards cover a batch in order, and their sizes differ by at most one", "[shard]") {
  for (std::int64_t total = 0; total <= 100; ++total)
    for (int n = 1; n <= 9; ++n) {
      INFO(total << " samples over " << n);
      std::int64_t next = 0;
      std::int64_t smallest = total;
      std::int64_t largest = 0;
      std::int64_t before = total;
      bool in_order = true;
      for (int r = 0; r < n; ++r) {
        const ls::shard_range shard = ls::shard_of(total, n, r);
        in_order = in_order && shard.first == next && shard.count >= 0 && shard.count <= before;
        next += shard.count;
        before = shard.count;
        smallest = std::min(smallest, shard.count);
        largest = std::max(largest, shard.count);
      }
      CHECK(in_order);
      CHECK(next == total);
      CHECK(largest - smallest <= 1);
    }
}

TEST_CASE("the longer shards come first", "[shard]") {
  static_assert(ls::shard_of(64, 3, 0) == ls::shard_range{0, 22});
  static_assert(ls::shard_of(64, 3, 1) == ls::shard_range{22, 21});
  static_assert(ls::shard_of(64, 3, 2) == ls::shard_range{43, 21});
  static_assert(ls::shard_of(2, 4, 3) == ls::shard_range{2, 0});
  CHECK(ls::shard_of(std::int64_t{1} << 40U, 3, 2).first + ls::shard_of(std::int64_t{1} << 40U, 3, 2).count ==
        std::int64_t{1} << 40U);
}
