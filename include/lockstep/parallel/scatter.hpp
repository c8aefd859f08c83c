// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/parallel/fields.hpp>
#include <lockstep/parallel/shard.hpp>

namespace lockstep {

namespace detail {

template <class T>
struct batch_traits : std::false_type {};

template <class T, class Shape>
  requires(Shape::is_dynamic)
struct batch_traits<tensor<T, Shape>> : std::true_type {};

template <class T, std::size_t... E>
struct batch_traits<cuda::std::mdspan<T, cuda::std::extents<std::int64_t, cuda::std::dynamic_extent, E...>>>
    : std::true_type {};

template <class T>
struct batch_traits<std::span<T>> : std::true_type {};

/// True for what has a batch dimension of its own.
template <class T>
inline constexpr bool is_batch = batch_traits<std::remove_cvref_t<T>>::value;

template <class T, class Shape>
std::int64_t batch_length(const tensor<T, Shape>& t) {
  return t.samples();
}
template <class T, class E>
std::int64_t batch_length(const cuda::std::mdspan<T, E>& t) {
  return t.extent(0);
}
template <class T>
std::int64_t batch_length(std::span<T> t) {
  return static_cast<std::int64_t>(t.size());
}

template <class T, class Shape>
auto slice(tensor<T, Shape>& t, shard_range r) {
  return tensor_view<T, Shape>(t.data() + r.first * Shape::static_size, r.count);
}
template <class T, class Shape>
auto slice(const tensor<T, Shape>& t, shard_range r) {
  return tensor_view<const T, Shape>(t.data() + r.first * Shape::static_size, r.count);
}
template <class T, class E>
auto slice(const cuda::std::mdspan<T, E>& t, shard_range r) {
  std::int64_t sample = 1;
  for (std::size_t i = 1; i < E::rank(); ++i) sample *= t.extent(i);
  return cuda::std::mdspan<T, E>(t.data_handle() + r.first * sample, r.count);
}
template <class T>
auto slice(std::span<T> t, shard_range r) {
  return t.subspan(static_cast<std::size_t>(r.first), static_cast<std::size_t>(r.count));
}

/// The common batch length of everything inside a value; nothing when there is no batch in it.
struct batch_finder {
  std::optional<std::int64_t> length;

  template <class T>
  void visit(const T& value) {
    if constexpr (is_batch<T>) {
      const std::int64_t own = batch_length(value);
      if (length && *length != own)
        throw shape_error("scatter", "batches of one length, " + std::to_string(*length), std::to_string(own));
      length = own;
    } else if constexpr (is_tuple<T>::value || is_std_array<T>::value) {
      std::apply([&](const auto&... each) { (visit(each), ...); }, value);
    } else if constexpr (plain_struct<T>) {
      std::apply([&](const auto&... each) { (visit(each), ...); }, tie_fields(value));
    }
  }
};

template <class T>
auto shard_value(T& value, shard_range r);

template <class Tuple>
auto shard_tuple(const Tuple& parts, shard_range r) {
  return std::apply([&](auto&... each) { return std::make_tuple(shard_value(each, r)...); }, parts);
}

template <class T>
auto shard_value(T& value, shard_range r) {
  using plain = std::remove_cv_t<T>;
  if constexpr (is_batch<plain>) {
    return slice(value, r);
  } else if constexpr (is_std_array<plain>::value) {
    return std::apply([&](auto&... each) { return std::array{shard_value(each, r)...}; }, value);
  } else if constexpr (is_tuple<plain>::value) {
    return std::apply([&](auto&... each) { return std::make_tuple(shard_value(each, r)...); }, value);
  } else if constexpr (plain_struct<plain>) {
    auto parts = shard_tuple(tie_fields(value), r);
    // A struct of views stays that struct; a struct of owning tensors becomes a tuple of views.
    if constexpr (std::is_same_v<decltype(parts), field_values<plain>>)
      return std::apply([](auto&... each) { return plain{each...}; }, parts);
    else
      return parts;
  } else {
    return value;  // no batch dimension: every replica gets it
  }
}

}  // namespace detail

/// Cuts a batch into N shards along its first dimension, as torch.nn.parallel.scatter: views, no copy, in order.
///
/// `value` is a batch (tensor, view or span), a value without a batch dimension (each replica gets a copy), or a tuple,
/// std::array or plain struct of these, taken apart recursively; a struct of views stays that struct, a struct of
/// tensors becomes a tuple of views. Shards may be empty. Throws shape_error when batches inside differ in length.
/// The views live no longer than `value`.
template <int N, class T>
[[nodiscard]] auto scatter(T& value) {
  static_assert(N >= 1, "lockstep: scatter: one replica or more");
  detail::batch_finder finder;
  finder.visit(value);
  const std::int64_t total = finder.length.value_or(0);
  return [&]<std::size_t... R>(std::index_sequence<R...>) {
    return std::array{detail::shard_value(value, shard_of(total, N, static_cast<int>(R)))...};
  }(std::make_index_sequence<static_cast<std::size_t>(N)>{});
}

}  // namespace lockstep
