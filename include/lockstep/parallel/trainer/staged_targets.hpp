// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include <lockstep/core/sample_pack.hpp>

namespace lockstep::detail {

/// Elements of a batch where the backend reads them: the caller's own memory on the host, else a copy.
template <class B, class T>
class staged_elements {
 public:
  const T* bring(typename B::context& c, const T* from, std::int64_t n) {
    if constexpr (B::host_memory) return from;
    if (copy_.size() < n) {
      B::forget(c);
      copy_ = {};
      copy_ = B::template allocate<T>(c, n);
    }
    B::copy_in(c, n, from, copy_.data());
    return copy_.data();
  }

 private:
  typename B::template buffer<T> copy_;
};

/// Bytes in a packet that begin where any type may begin.
constexpr std::int64_t packet_bytes(std::int64_t bytes) { return (bytes + 255) / 256 * 256; }

/// The targets of a shard where the backend reads them. `Targets` is a pointer, and n counts elements; or it is the
/// target_pack of several losses, and n counts samples.
template <class B, class Targets>
class staged_targets;

template <class B, class T>
class staged_targets<B, const T*> {
 public:
  /// The bytes of n targets in a packet.
  [[nodiscard]] static constexpr std::int64_t bytes(std::int64_t n) {
    return packet_bytes(n * std::int64_t{sizeof(T)});
  }
  /// Puts n targets into a packet; pack(from, bytes) returns where the backend reads them.
  template <class Pack>
  [[nodiscard]] static const T* pack(const T* from, std::int64_t n, const Pack& pack) {
    return reinterpret_cast<const T*>(pack(from, n * std::int64_t{sizeof(T)}));
  }
  const T* bring(typename B::context& c, const T* from, std::int64_t n) { return large_.bring(c, from, n); }

 private:
  staged_elements<B, T> large_;
};

template <class B, class Sizes, class... Ts>
class staged_targets<B, sample_pack<Sizes, const Ts...>> {
  using targets = sample_pack<Sizes, const Ts...>;
  static constexpr auto sizes = targets::sizes;
  template <class F>
  static constexpr auto each(const F& f) {
    return f(std::index_sequence_for<Ts...>{});
  }
  template <class T>
  using one = staged_targets<B, const T*>;

 public:
  [[nodiscard]] static constexpr std::int64_t bytes(std::int64_t n) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) { return (one<Ts>::bytes(n * sizes[K]) + ...); });
  }
  template <class Pack>
  [[nodiscard]] static targets pack(const targets& from, std::int64_t n, const Pack& pack) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return targets{{one<Ts>::pack(from.template get<K>(), n * sizes[K], pack)...}};
    });
  }
  targets bring(typename B::context& c, const targets& from, std::int64_t n) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return targets{{std::get<K>(all_).bring(c, from.template get<K>(), n * sizes[K])...}};
    });
  }

 private:
  std::tuple<one<Ts>...> all_;
};

}  // namespace lockstep::detail
