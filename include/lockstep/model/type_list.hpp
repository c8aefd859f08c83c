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
template <class All, std::size_t First, class Indices>
struct joined_block;
template <class All, std::size_t First, std::size_t... Index>
struct joined_block<All, First, std::index_sequence<Index...>> : joined<typename at<First + Index, All>::type...> {};

template <class All, class Blocks>
struct joined_blocks;
template <class All, std::size_t... Block>
struct joined_blocks<All, std::index_sequence<Block...>>
    : joined<typename joined_block<
          All, 32 * Block, std::make_index_sequence<(std::min)(std::size_t{32}, All::size - 32 * Block)>>::type...> {};

template <class... Lists>
  requires(sizeof...(Lists) > 32)
struct joined<Lists...> : joined_blocks<type_list<Lists...>, std::make_index_sequence<(sizeof...(Lists) + 31) / 32>> {};

/// The elements of a list, once for each index.
template <class List, class Indices>
struct repeated;
template <class List, std::size_t... Index>
struct repeated<List, std::index_sequence<Index...>> : joined<typename indexed<Index, List>::type...> {};

}  // namespace lockstep::detail
