// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>

#include <lockstep/core/static_for.hpp>
#include <lockstep/model/node_op.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep::detail {

/// Bytes that the ops of a replica keep when they are prepared for micro-shards of `samples` samples: weights in
/// another form, and sums. What a library allocates by itself is not counted.
template <class Model, class B>
[[nodiscard]] std::int64_t op_bytes(std::int64_t samples) {
  std::int64_t bytes = 0;
  static_for<static_cast<std::size_t>(Model::template plan<B>.node_count)>([&]<std::size_t Index>() {
    using op = typename node_op<Model, B, Index>::type;
    if constexpr (keeps_memory<op>) bytes += op::kept_bytes(samples);
  });
  return bytes;
}

}  // namespace lockstep::detail
