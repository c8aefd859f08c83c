// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/inference/program.hpp>

namespace lockstep::detail::infer {

/// Finds the first and the last step that uses each value, by whatever name.
template <network_size Size>
constexpr void find_uses(program<Size>& p) {
  for (int v = 0; v < p.value_count; ++v) p.value_at(v).first = -1;
  const auto use = [&](int v, int at) {
    if (v < 0) return;
    value& root = p.value_at(p.value_at(v).root);
    if (root.first < 0) root.first = at;
    root.last = at;
  };
  for (int i = 0; i < p.step_count; ++i) {
    const step& s = p.at(i);
    for (int k = 0; k < s.operands; ++k) use(p.operand(s, k), i);
    use(s.addend, i);
    use(s.scratch, i);
    use(s.out, i);
  }
}

/// Gives every value of the arena its place: the lowest where no other one lies that is in use at the same time. Values
/// come in the order of their first use, so that one whose last use is past meets no later one.
template <network_size Size>
[[nodiscard]] constexpr program<Size> place_values(program<Size> p) {
  find_uses(p);
  std::array<int, program<Size>::max_values> live{};
  std::size_t count = 0;
  for (int v = 0; v < p.value_count; ++v) {
    value& own = p.value_at(v);
    if (own.root != v || own.where != place::arena || own.first < 0) continue;
    std::size_t kept = 0;
    for (std::size_t k = 0; k < count; ++k)
      if (p.value_at(live[k]).last >= own.first) live[kept++] = live[k];
    count = kept;
    for (std::size_t k = 0; k < count;) {
      const value& other = p.value_at(live[k]);
      const bool meets = other.offset < own.offset + own.layout.size && own.offset < other.offset + other.layout.size;
      if (meets) own.offset = other.offset + other.layout.size;
      k = meets ? 0 : k + 1;
    }
    live[count++] = v;
    if (p.arena_size < own.offset + own.layout.size) p.arena_size = own.offset + own.layout.size;
  }
  // Pooling reads whole vectors, up to two of them beyond the end of a value, whose elements it drops.
  if (p.arena_size > 0) p.arena_size += 32;
  for (int v = 0; v < p.value_count; ++v) {
    const value& root = p.value_at(p.value_at(v).root);
    p.value_at(v).offset = root.offset;
    p.value_at(v).where = root.where;
  }
  return p;
}

}  // namespace lockstep::detail::infer
