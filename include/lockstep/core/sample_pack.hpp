// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

namespace lockstep::detail {

/// Where the samples of several arrays begin; array k has `Sizes[k]` elements a sample. It moves by samples as a
/// pointer moves by elements, so that what walks over one array walks over several.
template <std::array Sizes, class... Ts>
struct sample_pack {
  static_assert(Sizes.size() == sizeof...(Ts));
  static constexpr std::size_t count = sizeof...(Ts);
  static constexpr auto sizes = Sizes;

  std::tuple<Ts*...> first{};

  /// Where array K begins.
  template <std::size_t K>
  [[nodiscard]] auto* get() const noexcept {
    return std::get<K>(first);
  }

  /// The place `samples` samples further.
  [[nodiscard]] friend sample_pack operator+(const sample_pack& from, std::int64_t samples) noexcept {
    return [&]<std::size_t... K>(std::index_sequence<K...>) {
      return sample_pack{{from.template get<K>() + samples * Sizes[K]...}};
    }(std::index_sequence_for<Ts...>{});
  }
};

}  // namespace lockstep::detail
