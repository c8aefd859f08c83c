// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <lockstep/nn/frozen.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/skippable.hpp>

/// \file
/// Takes nested `sequential`, `named` and `frozen` apart into a flat list of layers, each with its path. `skippable`
/// moves inwards, past names and `frozen`, to the layer that it wraps.

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

// Recognises `named` by its members, since not every compiler deduces a string among template arguments.
template <class L>
concept named_layer = requires {
  typename L::named_layer;
  L::own_name;
};

/// The layers of a network in order of execution.
template <class L>
struct leaves {
  using type = type_list<L>;
};
template <named_layer L>
struct leaves<L> : leaves<typename L::named_layer> {};
template <class L>
struct leaves<frozen<L>> : leaves<L> {};
template <class... Ls>
struct leaves<sequential<Ls...>> {
  using type = decltype((type_list<>{} + ... + typename leaves<Ls>::type{}));
};

/// Replaces a `skippable` around something that is not one layer, so that one compile error says so.
template <class L>
struct not_skippable {};

template <class L>
struct leaves<skippable<L>> {
  using type = std::conditional_t<layer<L>, type_list<skippable<L>>, type_list<not_skippable<L>>>;
};
template <named_layer L>
struct leaves<skippable<L>> : leaves<skippable<typename L::named_layer>> {};
template <class L>
struct leaves<skippable<frozen<L>>> : leaves<skippable<L>> {};
template <class L>
struct leaves<skippable<skippable<L>>> : leaves<skippable<L>> {};

/// A dotted path such as `features.0`, of bounded length, so that it can be a constant and a template argument.
struct path {
  static constexpr std::size_t capacity = 96;

  char text[capacity]{};
  std::size_t length = 0;

  constexpr void append(std::string_view part) {
    for (const char c : part) {
      if (length == capacity) throw shape_error("named", "a parameter path of at most 96 characters", "a longer one");
      text[length++] = c;
    }
  }
  constexpr void append_number(std::size_t n) {
    if (n >= 10) append_number(n / 10);
    const char digit = static_cast<char>('0' + n % 10);
    append({&digit, 1});
  }
  [[nodiscard]] constexpr path child() const {
    path next = *this;
    if (next.length != 0) next.append(".");
    return next;
  }
  [[nodiscard]] constexpr std::string_view view() const { return {text, length}; }
};

/// The FNV-1a hash of a path: far cheaper for the compiler than the text.
struct path_hash {
  std::uint64_t value = 0xCBF29CE484222325U;
  bool empty = true;

  constexpr void append(std::string_view part) {
    for (const char c : part) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    empty = empty && part.empty();
  }
  constexpr void append_number(std::size_t n) {
    if (n >= 10) append_number(n / 10);
    const char digit = static_cast<char>('0' + n % 10);
    append({&digit, 1});
  }
  [[nodiscard]] constexpr path_hash child() const {
    path_hash next = *this;
    if (!empty) next.append(".");
    return next;
  }
};

// Walks the network and writes the path of each leaf, as a path or a path_hash. Inside a sequential an unnamed layer
// takes its position as its name.
template <class L>
struct path_writer {
  template <class Path>
  static constexpr void write(Path* out, std::size_t& count, const Path& prefix) {
    out[count++] = prefix;
  }
};

template <class L, class Path>
constexpr void write_child(Path* out, std::size_t& count, const Path& parent, std::size_t position) {
  Path own = parent.child();
  own.append_number(position);
  path_writer<L>::write(out, count, own);
}

template <class L>
struct named_part {
  static constexpr bool value = false;
};
template <named_layer L>
struct named_part<L> {
  static constexpr bool value = true;
  static constexpr std::string_view name = L::own_name;
  using layer = typename L::named_layer;
};
template <class L>
struct named_part<frozen<L>> : named_part<L> {};
template <class L>
struct named_part<skippable<L>> : named_part<L> {};

template <class... Ls>
struct path_writer<sequential<Ls...>> {
  template <class Path>
  static constexpr void write(Path* out, std::size_t& count, const Path& prefix) {
    std::size_t position = 0;
    (write_one<Ls>(out, count, prefix, position++), ...);
  }
  template <class L, class Path>
  static constexpr void write_one(Path* out, std::size_t& count, const Path& prefix, std::size_t position) {
    if constexpr (named_part<L>::value) {
      Path own = prefix.child();
      own.append(named_part<L>::name);
      path_writer<typename named_part<L>::layer>::write(out, count, own);
    } else {
      write_child<L>(out, count, prefix, position);
    }
  }
};
template <named_layer L>
struct path_writer<L> {
  template <class Path>
  static constexpr void write(Path* out, std::size_t& count, const Path& prefix) {
    Path own = prefix.child();
    own.append(L::own_name);
    path_writer<typename L::named_layer>::write(out, count, own);
  }
};
template <class L>
struct path_writer<frozen<L>> : path_writer<L> {};
template <class L>
struct path_writer<skippable<L>> : path_writer<L> {};

/// The paths of a network's leaves, as path or path_hash. All are empty when `Leaves` is not the number of leaves: then
/// one of them is not a layer, and `not_a_layer` has replaced them all.
template <class Network, class Path, std::size_t Leaves>
consteval std::array<Path, Leaves> leaf_paths() {
  std::array<Path, Leaves> all{};
  if constexpr (leaves<Network>::type::size == Leaves) {
    std::size_t count = 0;
    path_writer<Network>::write(all.data(), count, Path{});
  }
  return all;
}

// Walks the network and writes for each leaf whether it lies inside a `frozen`.
template <class L>
struct frozen_writer {
  static constexpr void write(bool* out, std::size_t& count, bool inside) { out[count++] = inside; }
};
template <named_layer L>
struct frozen_writer<L> : frozen_writer<typename L::named_layer> {};
template <class L>
struct frozen_writer<skippable<L>> : frozen_writer<L> {};
template <class... Ls>
struct frozen_writer<sequential<Ls...>> {
  static constexpr void write(bool* out, std::size_t& count, bool inside) {
    (frozen_writer<Ls>::write(out, count, inside), ...);
  }
};
template <class L>
struct frozen_writer<frozen<L>> {
  static constexpr void write(bool* out, std::size_t& count, bool) { frozen_writer<L>::write(out, count, true); }
};

/// Which of a network's leaves are frozen; none when `Leaves` is not the number of leaves, as above.
template <class Network, std::size_t Leaves>
consteval std::array<bool, Leaves> frozen_leaves() {
  std::array<bool, Leaves> flags{};
  if constexpr (leaves<Network>::type::size == Leaves) {
    std::size_t count = 0;
    frozen_writer<Network>::write(flags.data(), count, false);
  }
  return flags;
}

}  // namespace lockstep::detail
