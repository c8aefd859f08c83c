// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <concepts>
#include <cstdint>

namespace lockstep {

/// The parts of a training pass.
enum class pass_part : std::uint8_t { forward, loss, backward };

/// Is told by an executor what runs: every node forward, the loss, every node backward, of every micro-shard in turn.
/// `micro_shard(last)` opens a micro-shard and says whether it is the last one of the pass: once it has ended the
/// backward of a node, the node's gradients are complete. `node` is an index of the plan's nodes, -1 for the loss.
template <class O>
concept pass_observer = requires(O& o, pass_part part, int node, bool last) {
  { o.micro_shard(last) } noexcept;
  { o.begin(part, node) } noexcept;
  { o.end(part, node) };
};

/// Watches nothing.
struct no_observer {
  constexpr void micro_shard(bool) const noexcept {}
  constexpr void begin(pass_part, int) const noexcept {}
  constexpr void end(pass_part, int) const noexcept {}
};

}  // namespace lockstep
