// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace lockstep::detail {

/// Numbers of elements as a type. Not every compiler deduces an array among template arguments.
template <std::int64_t... Each>
using element_counts = std::integer_sequence<std::int64_t, Each...>;

/// Where the samples of several arrays begin; array k has `sizes[k]` elements a sample, and `Sizes` are element_counts.
/// It moves by samples as a pointer moves by elements, so that what walks over one array walks over several.
template <class Sizes, class... Ts>
struct sample_pack {
  static_assert(Sizes::size() == sizeof...(Ts));
  static constexpr std::size_t count = sizeof...(Ts);
  static constexpr std::array<std::int64_t, count> sizes = []<std::int64_t... Each>(element_counts<Each...>) {
    return std::array<std::int64_t, count>{Each...};
  }(Sizes{});

  std::tuple<Ts*...> first{};

  /// Where array K begins.
  template <std::size_t K>
  [[nodiscard]] auto* get() const noexcept {
    return std::get<K>(first);
  }

  /// The place `samples` samples further.
  [[nodiscard]] friend sample_pack operator+(const sample_pack& from, std::int64_t samples) noexcept {
    return [&]<std::size_t... K>(std::index_sequence<K...>) {
      return sample_pack{{from.template get<K>() + samples * sizes[K]...}};
    }(std::index_sequence_for<Ts...>{});
  }
};

/// Where the samples of arrays with elements Ts begin, array k with size k of `Sizes` elements a sample: a pointer for
/// one array, a sample_pack for several. `make(f)` makes it of the pointers f<K>().
template <class Sizes, class... Ts>
struct array_pack {
  using type = sample_pack<Sizes, Ts...>;

  template <class F>
  static type make(const F& f) {
    return [&]<std::size_t... K>(std::index_sequence<K...>) {
      return type{{f.template operator()<K>()...}};
    }(std::index_sequence_for<Ts...>{});
  }
};
template <class Sizes, class T>
struct array_pack<Sizes, T> {
  using type = T*;

  template <class F>
  static type make(const F& f) {
    return f.template operator()<0>();
  }
};

/// Array K of a pack.
template <std::size_t K, class T>
[[nodiscard]] T* array_of(T* only) noexcept {
  static_assert(K == 0);
  return only;
}
template <std::size_t K, class Sizes, class... Ts>
[[nodiscard]] auto* array_of(const sample_pack<Sizes, Ts...>& pack) noexcept {
  return pack.template get<K>();
}

/// Array k of a pack; null where its elements are no Elements, or there are not so many arrays.
template <class Element, class T>
[[nodiscard]] Element* array_at(T* only, [[maybe_unused]] std::size_t k) noexcept {
  if constexpr (std::is_convertible_v<T*, Element*>)
    return only;
  else
    return nullptr;
}
template <class Element, class Sizes, class... Ts>
[[nodiscard]] Element* array_at(const sample_pack<Sizes, Ts...>& pack, std::size_t k) noexcept {
  Element* found = nullptr;
  std::apply([&](const auto... each) { (void)((k-- == 0 && (found = array_at<Element>(each, 0), true)) || ...); },
             pack.first);
  return found;
}

}  // namespace lockstep::detail
