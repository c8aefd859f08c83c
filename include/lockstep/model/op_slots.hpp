// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/model/node_op.hpp>

/// \file
/// The ops of all nodes of a plan, one after the other.

namespace lockstep::detail {

template <std::size_t Index, class Op>
struct op_slot {
  Op op;

  template <class Context>
  op_slot(Context& c, std::int64_t samples) : op(c, samples) {}
};

template <class Model, class B, class Indices>
struct op_slots;
template <class Model, class B, std::size_t... Index>
struct op_slots<Model, B, std::index_sequence<Index...>> : op_slot<Index, typename node_op<Model, B, Index>::type>... {
  template <class Context>
  op_slots(Context& c, std::int64_t samples) : op_slot<Index, typename node_op<Model, B, Index>::type>(c, samples)... {}
};

}  // namespace lockstep::detail
