// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/error.hpp>
#include <lockstep/model/plan.hpp>

namespace lockstep::detail {

/// Overwrites integers with those of the root, on every rank.
template <communicator C>
void take_from_root(C& c, int root, std::span<std::uint64_t> counters) {
  // 32-bit halves are exact in a double, and every rank but the root adds zeros.
  std::vector<double> halves(2 * counters.size());
  for (std::size_t i = 0; i < counters.size() && c.rank() == root; ++i) {
    halves[2 * i] = static_cast<double>(counters[i] & 0xFFFFFFFFU);
    halves[2 * i + 1] = static_cast<double>(counters[i] >> 32U);
  }
  c.all_reduce(std::span<double>(halves));
  for (std::size_t i = 0; i < counters.size(); ++i)
    counters[i] = static_cast<std::uint64_t>(halves[2 * i]) | static_cast<std::uint64_t>(halves[2 * i + 1]) << 32U;
}

/// 32 bits that depend on every bit of `count` values and on their order: FNV-1a over words (Fowler, Noll, Vo), folded.
template <class T>
[[nodiscard]] std::uint32_t checksum(const T* values, std::int64_t count) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, values + i, sizeof(T));
    // A product moves bits only upwards; the shift brings the high ones back down.
    hash = (hash ^ word) * 0x100000001B3U;
    hash ^= hash >> 32U;
  }
  // Without a last product, folding would undo the last shift, and lose the high bits of the last value.
  hash *= 0x100000001B3U;
  return static_cast<std::uint32_t>(hash ^ (hash >> 32U));
}

/// Compares the checksum of every parameter with rank 0's. When one differs, throws communicator_error on all ranks
/// alike, which names the first parameter that differs and the first rank that holds other bits. Cost: one pass over
/// the parameters and one all_reduce of one number for each tensor and rank.
template <class Model, class B, communicator C>
void verify_parameters(C& c, const typename B::value_type* parameters) {
  constexpr const auto& plan = Model::template plan<B>;
  constexpr auto tensors = static_cast<std::size_t>(plan.parameter_tensors);
  const auto world = static_cast<std::size_t>(c.size());
  // Each rank fills only its own numbers, and each is exact in a double.
  std::vector<double> sums(tensors * world);
  for (std::size_t p = 0; p < tensors; ++p) {
    const plan_parameter& parameter = plan.parameters[p];
    sums[p * world + static_cast<std::size_t>(c.rank())] =
        checksum(parameters + parameter.offset, parameter.shape.size());
  }
  c.all_reduce(std::span<double>(sums));
  for (std::size_t p = 0; p < tensors; ++p)
    for (std::size_t rank = 1; rank < world; ++rank)
      if (sums[p * world + rank] != sums[p * world])
        throw communicator_error("data_parallel::verify", "the same parameters on every rank",
                                 Model::template parameter_name<B>(plan.parameters[p]) + " of rank " +
                                     std::to_string(rank) + " differs from that of rank 0",
                                 "call broadcast(), or load the same file on every rank");
}

}  // namespace lockstep::detail
