// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/field.hpp>

namespace lockstep::data {

/// A batch that a loader yields: `auto&& [features, target] : loader`. It holds views into the loader's buffers, valid
/// until the loader moves to the next batch.
template <class... Fields>
class batch {
  using list = std::tuple<Fields...>;

 public:
  batch() = default;
  batch(const typename detail::field_list<Fields...>::pointers& from, std::int64_t samples, std::int64_t first)
      : first_index(first), from_(from), samples_(samples) {}

  std::int64_t first_index = 0;  ///< position of the first sample within the epoch of all ranks

  /// Number of samples, B.
  [[nodiscard]] std::int64_t size() const noexcept { return samples_; }

  /// Returns one field of all samples: B x the field's extents.
  template <std::size_t Index>
  [[nodiscard]] auto view() const noexcept {
    return typename std::tuple_element_t<Index, list>::view_type(std::get<Index>(from_), samples_);
  }

  /// For structured bindings, as a trainer takes them: returns field 0 as a view, and every other field as a span of
  /// its elements, sample after sample.
  template <std::size_t Index>
  [[nodiscard]] auto get() const noexcept {
    using F = std::tuple_element_t<Index, list>;
    if constexpr (Index == 0)
      return view<0>();
    else
      return std::span<const typename F::value_type>(std::get<Index>(from_),
                                                     static_cast<std::size_t>(samples_ * F::size));
  }

 private:
  typename detail::field_list<Fields...>::pointers from_{};
  std::int64_t samples_ = 0;
};

/// A batch of labelled pictures that a loader yields: `auto&& [images, labels] : loader`. It holds views into the
/// loader's buffers, valid until the loader moves to the next batch.
template <std::int64_t... Extents>
class batch<shape<Extents...>> {
 public:
  using image_view = tensor_view<const float, shape<dynamic, Extents...>>;

  batch() = default;
  batch(const std::tuple<float*, std::int64_t*>& from, std::int64_t samples, std::int64_t first)
      : images(std::get<0>(from), samples),
        labels(std::get<1>(from), static_cast<std::size_t>(samples)),
        first_index(first) {}

  image_view images;                     ///< B x sample, values in [0, 1] unless augmentation changes them
  std::span<const std::int64_t> labels;  ///< B
  std::int64_t first_index = 0;          ///< position of the first sample within the epoch of all ranks

  /// Number of samples, B.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(labels.size()); }

  /// For structured bindings: returns the images, then the labels.
  template <std::size_t Index>
  [[nodiscard]] const auto& get() const noexcept {
    if constexpr (Index == 0)
      return images;
    else
      return labels;
  }
};

namespace detail {

/// What a loader of a data set yields.
template <class... Fields>
struct loader_batch {
  using type = batch<Fields...>;
};

}  // namespace detail
}  // namespace lockstep::data

template <class... Fields>
struct std::tuple_size<lockstep::data::batch<Fields...>> : std::integral_constant<std::size_t, sizeof...(Fields)> {};

template <std::int64_t... Extents>
struct std::tuple_size<lockstep::data::batch<lockstep::shape<Extents...>>> : std::integral_constant<std::size_t, 2> {};

template <std::size_t Index, class... Fields>
struct std::tuple_element<Index, lockstep::data::batch<Fields...>> {
  using type =
      std::remove_cvref_t<decltype(std::declval<const lockstep::data::batch<Fields...>&>().template get<Index>())>;
};
