// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace lockstep::detail {

template <class... Ts>
struct type_list {
  static constexpr std::size_t size = sizeof...(Ts);
};

template <class... A, class... B>
type_list<A..., B...> operator+(type_list<A...>, type_list<B...>);

// Overload resolution against one base class finds element Index of a list, without recursion over the list.
template <std::size_t Index, class T>
struct indexed {
  using type = T;
};

template <class Indices, class... Ts>
struct indexer;
template <std::size_t... Index, class... Ts>
struct indexer<std::index_sequence<Index...>, Ts...> : indexed<Index, Ts>... {};

template <std::size_t Index, class T>
indexed<Index, T> select(const indexed<Index, T>&);

template <std::size_t Index, class List>
struct at;
template <std::size_t Index, class... Ts>
struct at<Index, type_list<Ts...>> {
  using type = typename decltype(select<Index>(indexer<std::index_sequence_for<Ts...>, Ts...>{}))::type;
};

/// The elements of all lists in one list.
template <class... Lists>
struct joined {
  using type = decltype((type_list<>{} + ... + Lists{}));
};
// In blocks, since compilers limit the operands of a fold expression.
template <class... Lists>
  requires(sizeof...(Lists) > 32)
struct joined<Lists...> {
  template <std::size_t First, std::size_t... Index>
  static auto block(std::index_sequence<Index...>) ->
      typename joined<typename at<First + Index, type_list<Lists...>>::type...>::type;
  template <std::size_t... Block>
  static auto blocks(std::index_sequence<Block...>) -> typename joined<decltype(block<32 * Block>(
      std::make_index_sequence<(std::min)(std::size_t{32}, sizeof...(Lists) - 32 * Block)>{}))...>::type;

  using type = decltype(blocks(std::make_index_sequence<(sizeof...(Lists) + 31) / 32>{}));
};

}  // namespace lockstep::detail
