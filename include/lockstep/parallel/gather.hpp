// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/parallel/scatter.hpp>

namespace lockstep {

namespace detail {

template <std::size_t N>
using rank_indices = std::make_index_sequence<N>;

template <class T, class Shape>
auto owning(const tensor<T, Shape>&, std::int64_t n) {
  return tensor<T, Shape>(n);
}
template <class T, std::size_t... E>
auto owning(const cuda::std::mdspan<T, cuda::std::extents<std::int64_t, cuda::std::dynamic_extent, E...>>&,
            std::int64_t n) {
  return tensor<std::remove_const_t<T>, shape<dynamic, static_cast<std::int64_t>(E)...>>(n);
}
template <class T>
auto owning(std::span<T>, std::int64_t n) {
  return tensor<std::remove_const_t<T>, shape<dynamic>>(n);
}

template <class T, class Shape>
auto elements(const tensor<T, Shape>& t) {
  return std::pair(t.data(), t.size());
}
template <class T, class E>
auto elements(const cuda::std::mdspan<T, E>& t) {
  return std::pair(t.data_handle(), static_cast<std::int64_t>(t.size()));
}
template <class T>
auto elements(std::span<T> t) {
  return std::pair(t.data(), static_cast<std::int64_t>(t.size()));
}

/// Lets std::get reach through an array of pointers.
template <class T, std::size_t N>
struct dereferenced {
  const std::array<const T*, N>& pointers;
  const T& operator[](std::size_t r) const { return *pointers[r]; }
};
template <class T, std::size_t N>
dereferenced<T, N> dereference(const std::array<const T*, N>& pointers) {
  return {pointers};
}

template <class T, std::size_t N>
auto gather_values(const std::array<const T*, N>& shards);

/// Gathers member Index of every shard's tuple.
template <std::size_t N, class Tuples, std::size_t... Index>
auto gather_tuples(const Tuples& shards, std::index_sequence<Index...>) {
  const auto column = [&]<std::size_t K>(std::integral_constant<std::size_t, K>) {
    using member = std::remove_cvref_t<decltype(std::get<K>(shards[0]))>;
    std::array<const member*, N> all{};
    for (std::size_t r = 0; r < N; ++r) all[r] = &std::get<K>(shards[r]);
    return gather_values<member, N>(all);
  };
  return std::make_tuple(column(std::integral_constant<std::size_t, Index>{})...);
}

template <class T, std::size_t N>
auto gather_values(const std::array<const T*, N>& shards) {
  if constexpr (is_batch<T>) {
    std::int64_t total = 0;
    for (const T* shard : shards) total += batch_length(*shard);
    auto whole = owning(*shards[0], total);
    auto* to = whole.data();
    for (const T* shard : shards) {
      const auto [from, count] = elements(*shard);
      to = std::copy_n(from, count, to);
    }
    return whole;
  } else if constexpr (is_std_array<T>::value) {
    return std::apply([](auto... each) { return std::array{std::move(each)...}; },
                      gather_tuples<N>(dereference(shards), rank_indices<std::tuple_size_v<T>>{}));
  } else if constexpr (is_tuple<T>::value) {
    return gather_tuples<N>(dereference(shards), rank_indices<std::tuple_size_v<T>>{});
  } else if constexpr (plain_struct<T>) {
    using parts = decltype(tie_fields(*shards[0]));
    const auto tied = [&]<std::size_t... R>(std::index_sequence<R...>) {
      return std::array<parts, N>{tie_fields(*shards[R])...};
    }(rank_indices<N>{});
    auto members = gather_tuples<N>(tied, rank_indices<std::tuple_size_v<parts>>{});
    // A struct of views would convert from the tensors and outlive them: only a struct that can own them is kept.
    if constexpr (std::is_same_v<decltype(members), field_values<T>>)
      return std::apply([](auto&... each) { return T{std::move(each)...}; }, members);
    else
      return members;
  } else {
    // A value without a batch dimension, a loss for example: one element for each replica.
    std::array<T, N> all{};
    for (std::size_t r = 0; r < N; ++r) all[r] = *shards[r];
    return all;
  }
}

}  // namespace detail

/// Joins the outputs of N replicas along the first dimension, in the order of the replicas, as
/// torch.nn.parallel.gather. Batches are copied into one owning tensor; values without a batch dimension become a
/// std::array with one element a replica; tuples, arrays and plain structs are gathered member by member. A struct of
/// tensors stays that struct; any other becomes a tuple.
template <class T, std::size_t N>
[[nodiscard]] auto gather(const std::array<T, N>& shards) {
  static_assert(N >= 1, "lockstep: gather: one shard or more");
  std::array<const T*, N> pointers{};
  for (std::size_t r = 0; r < N; ++r) pointers[r] = &shards[r];
  return detail::gather_values<T, N>(pointers);
}

}  // namespace lockstep
