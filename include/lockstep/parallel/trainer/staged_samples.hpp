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

/// The images or targets of a shard where the backend reads them. `Samples` is a pointer, and n counts elements; or it
/// is the pack of several inputs or of several losses' targets, and n counts samples.
template <class B, class Samples>
class staged_samples;

template <class B, class T>
class staged_samples<B, const T*> {
 public:
  /// The bytes of n elements in a packet.
  [[nodiscard]] static constexpr std::int64_t bytes(std::int64_t n) {
    return packet_bytes(n * std::int64_t{sizeof(T)});
  }
  /// Puts n elements into a packet; pack(from, bytes) returns where the backend reads them.
  template <class Pack>
  [[nodiscard]] static const T* pack(const T* from, std::int64_t n, const Pack& pack) {
    return reinterpret_cast<const T*>(pack(from, n * std::int64_t{sizeof(T)}));
  }
  const T* bring(typename B::context& c, const T* from, std::int64_t n) { return large_.bring(c, from, n); }
  /// Whether the host can read them.
  [[nodiscard]] static bool host_reads(const T* from) { return B::host_reads(from); }

 private:
  staged_elements<B, T> large_;
};

template <class B, class Sizes, class... Ts>
class staged_samples<B, sample_pack<Sizes, const Ts...>> {
  using all_samples = sample_pack<Sizes, const Ts...>;
  static constexpr auto sizes = all_samples::sizes;
  template <class F>
  static constexpr auto each(const F& f) {
    return f(std::index_sequence_for<Ts...>{});
  }
  template <class T>
  using one = staged_samples<B, const T*>;

 public:
  [[nodiscard]] static constexpr std::int64_t bytes(std::int64_t n) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) { return (one<Ts>::bytes(n * sizes[K]) + ...); });
  }
  template <class Pack>
  [[nodiscard]] static all_samples pack(const all_samples& from, std::int64_t n, const Pack& pack) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return all_samples{{one<Ts>::pack(from.template get<K>(), n * sizes[K], pack)...}};
    });
  }
  all_samples bring(typename B::context& c, const all_samples& from, std::int64_t n) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return all_samples{{std::get<K>(all_).bring(c, from.template get<K>(), n * sizes[K])...}};
    });
  }
  [[nodiscard]] static bool host_reads(const all_samples& from) {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return (one<Ts>::host_reads(from.template get<K>()) && ...);
    });
  }

 private:
  std::tuple<one<Ts>...> all_;
};

}  // namespace lockstep::detail
