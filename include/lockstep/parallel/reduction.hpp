// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <type_traits>

/// \file
/// How the gradients of a batch are added up: policies of `data_parallel`.

namespace lockstep {

namespace reduce {

/// The fastest order: each replica adds up its shard in the order of computation. The rounding depends on the number of
/// replicas.
struct automatic {};

/// Gives the same bits for any number of replicas and any schedule of threads. A batch is cut into a fixed number of
/// micro-shards (`micro_shards<V>`). Each runs the same code on the same samples wherever it runs, and gradients,
/// losses and norms are added over them in one balanced binary tree. The number of replicas must divide V.
struct reproducible {};

}  // namespace reduce

/// The number of micro-shards of `reduce::reproducible`: a power of two, and the most replicas that can share a batch.
template <int V>
struct micro_shards {
  static_assert(V >= 1 && (V & (V - 1)) == 0, "lockstep: micro_shards: V is a power of two");
  static constexpr int value = V;
};

namespace detail {

template <class P>
struct is_reduction_policy
    : std::bool_constant<std::is_same_v<P, reduce::automatic> || std::is_same_v<P, reduce::reproducible>> {};
template <class P>
struct is_micro_shards_policy : std::false_type {};
template <int V>
struct is_micro_shards_policy<micro_shards<V>> : std::true_type {};

}  // namespace detail

}  // namespace lockstep
