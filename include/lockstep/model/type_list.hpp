// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

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

}  // namespace lockstep::detail
