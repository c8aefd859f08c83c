// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstdint>

namespace lockstep {

/// The parts of a training pass.
enum class pass_part : std::uint8_t { forward, loss, backward };

/// An executor calls an observer around everything it runs: for each micro-shard in turn, every node forward, the loss,
/// and every node backward. `micro_shard(last)` opens a micro-shard; `last` says whether it is the last of the pass.
/// When the last micro-shard ends a node's backward, the node's gradients are complete. `node` is an index into the
/// plan's nodes, -1 for the loss.
template <class O>
concept pass_observer = requires(O& o, pass_part part, int node, bool last) {
  { o.micro_shard(last) } noexcept;
  { o.begin(part, node) } noexcept;
  { o.end(part, node) };
};

/// Ignores every call.
struct no_observer {
  constexpr void micro_shard(bool) const noexcept {}
  constexpr void begin(pass_part, int) const noexcept {}
  constexpr void end(pass_part, int) const noexcept {}
};

}  // namespace lockstep
