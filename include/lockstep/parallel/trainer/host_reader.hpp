// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

/// \file
/// How the host looks at targets that may lie in a device's memory.

namespace lockstep::detail {

/// For targets in the host's memory: as they are.
struct reads_in_place {
  [[nodiscard]] reads_in_place also(bool) const { return {}; }

  template <class T>
  [[nodiscard]] std::span<const T> operator()(std::span<const T> all, std::vector<std::byte>&) const {
    return all;
  }
};

/// For a backend with its own memory: what lies there is copied to `room`, through a context. Class indices always are,
/// since a batch's denominator follows from them; values only where `values` says that the host looks at them.
template <class B>
struct reads_through {
  typename B::context* through;
  bool values = false;

  /// The same, which brings values as well when `values_too`.
  [[nodiscard]] reads_through also(bool values_too) const { return {through, values || values_too}; }

  template <class T>
  [[nodiscard]] std::span<const T> operator()(std::span<const T> all, std::vector<std::byte>& room) const {
    if ((!std::integral<T> && !values) || all.empty() || B::host_reads(all.data())) return all;
    room.resize(all.size_bytes());
    B::template copy_out<std::byte>(*through, static_cast<std::int64_t>(room.size()),
                                    reinterpret_cast<const std::byte*>(all.data()), room.data());
    B::finish(*through);
    return {reinterpret_cast<const T*>(room.data()), all.size()};
  }
};

/// Whether the denominator of a loss may read the targets: unless the loss says that it does not.
template <class Loss>
inline constexpr bool denominator_reads_targets = [] {
  if constexpr (requires { Loss::denominator_reads_targets; })
    return Loss::denominator_reads_targets;
  else
    return true;
}();

/// The reader of a backend's trainer.
template <class B>
[[nodiscard]] auto host_reader([[maybe_unused]] typename B::context* through, [[maybe_unused]] bool values) {
  if constexpr (B::host_memory)
    return reads_in_place{};
  else
    return reads_through<B>{through, values};
}

}  // namespace lockstep::detail
