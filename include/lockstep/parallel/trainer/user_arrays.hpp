// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <cuda/std/mdspan>

#include <lockstep/core/error.hpp>
#include <lockstep/core/plain_view.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/core/view.hpp>
#include <lockstep/parallel/trainer/host_reader.hpp>
#include <lockstep/parallel/trainer/label_buffer.hpp>

/// \file
/// The arrays that a user may pass as the samples and the targets of a batch: tensors, views, and vectors, arrays and
/// spans whose length fits, thrust::device_vector among them. For any other type the compiler says in one sentence why
/// it cannot be taken.

namespace lockstep::detail {

template <class T>
concept has_view = requires(const T& t) {
  { t.view() } -> mdspan_like;
};

template <class T>
[[nodiscard]] auto view_of(const T& value) {
  if constexpr (has_view<T>)
    return value.view();
  else
    return value;
}

/// A sequence whose elements the host may not reach, such as a thrust::device_vector: data() gives a pointer of its own
/// kind, whose get() gives the address.
template <class T>
concept device_sequence = !contiguous_values<T> && requires(T& t) { std::span(t.data().get(), t.size()); };

template <device_sequence T>
[[nodiscard]] auto device_span(T& all) {
  return std::span(all.data().get(), all.size());
}

/// The extents that a view's type states; `dynamic` for an extent that is known only at run time.
template <class View>
consteval dims stated_extents() {
  dims all;
  all.rank = View::rank();
  for (int i = 0; i < all.rank; ++i) {
    const std::size_t stated = View::static_extent(static_cast<std::size_t>(i));
    all.extent[i] = stated == ::cuda::std::dynamic_extent ? dynamic : static_cast<std::int64_t>(stated);
  }
  return all;
}

/// The extents of one sample of a view over a batch.
template <class View>
[[nodiscard]] constexpr dims sample_extents(const View& view) {
  dims all;
  all.rank = static_cast<int>(View::rank()) - 1;
  for (std::size_t i = 1; i < View::rank(); ++i) all.extent[i - 1] = static_cast<std::int64_t>(view.extent(i));
  return all;
}

/// True when a view whose type states the extents `given` may be a batch of samples `taken`.
constexpr bool may_hold(const dims& given, const dims& taken) {
  if (given.rank != taken.rank + 1) return false;
  for (int i = 0; i < taken.rank; ++i)
    if (given[i + 1] != dynamic && given[i + 1] != taken[i]) return false;
  return true;
}

// The compiler's note names the template arguments of these two, and so shows what was given and what is taken.

template <dims Given, dims Taken>
consteval bool require_extents() {
  constexpr bool fits = may_hold(Given, Taken);
  static_assert(fits,
                "lockstep: images: what is handed in has other extents (Given) than a batch of the samples that the "
                "model takes (Taken); correct it, or the model's input<...>");
  return fits;
}

template <class Given, class Taken>
consteval bool require_elements() {
  static_assert(std::is_same_v<Given, Taken>,
                "lockstep: images: elements of another type (Given) than the backend computes in (Taken); copy them "
                "into a lockstep::batch_of<float, ...>, or name a backend of that type");
  return std::is_same_v<Given, Taken>;
}

/// A user's samples as the view that a trainer reads. Throws shape_error when their number, or an extent that is known
/// only at run time, does not fit.
template <class Value, dims Sample, class Images>
[[nodiscard]] tensor_view<const Value, batch_shape<Sample>> take_images([[maybe_unused]] std::string_view who,
                                                                        const Images& images) {
  using taken = tensor_view<const Value, batch_shape<Sample>>;
  if constexpr (std::is_convertible_v<const Images&, taken>) {
    return images;
  } else if constexpr (has_view<Images> || mdspan_like<Images>) {
    const auto view = view_of(images);
    using view_type = std::remove_const_t<decltype(view)>;
    static_assert(row_major<view_type>,
                  "lockstep: images: they do not lie in row-major order, sample after sample; copy them into a "
                  "lockstep::batch_of");
    static_assert(
        plainly_accessed<view_type>,
        "lockstep: images: the view reads them through an accessor of its own, and replicas read memory as it "
        "is; copy them into a lockstep::batch_of");
    if constexpr (row_major<view_type> && plainly_accessed<view_type> &&
                  require_elements<std::remove_cv_t<typename view_type::element_type>, Value>() &&
                  require_extents<stated_extents<view_type>(), Sample>()) {
      const dims given = sample_extents(view);
      if (given != Sample) throw shape_error(who, "samples of " + to_string(Sample), "samples of " + to_string(given));
      return taken(view.data_handle(), static_cast<std::int64_t>(view.extent(0)));
    } else {
      return {};
    }
  } else if constexpr (contiguous_values<const Images>) {
    using span = span_over<const Images>;
    if constexpr (require_elements<std::remove_cv_t<typename span::element_type>, Value>()) {
      if constexpr (span::extent != std::dynamic_extent)
        static_assert(static_cast<std::int64_t>(span::extent) % Sample.size() == 0,
                      "lockstep: images: the array's length is no whole number of the samples that the model takes");
      const span all(images);
      return taken(all.data(), samples_in(who, all.size(), Sample));
    } else {
      return {};
    }
  } else if constexpr (device_sequence<const Images>) {
    return take_images<Value, Sample>(who, device_span(images));
  } else {
    static_assert(contiguous_values<const Images>,
                  "lockstep: images: a batch is a tensor or a view, or a vector, array or span of all its values; "
                  "this is neither");
    return {};
  }
}

template <class Out>
[[nodiscard]] auto address_of(Out& out) {
  if constexpr (has_view<Out> || mdspan_like<Out>)
    return view_of(out).data_handle();
  else if constexpr (device_sequence<Out>)
    return device_span(out).data();
  else
    return std::span(out).data();
}

/// A user's memory for the outputs, in the kinds of containers that samples come in. Throws as take_images.
template <class Value, dims Sample, class Out>
[[nodiscard]] tensor_view<Value, batch_shape<Sample>> take_outputs(std::string_view who, Out& out) {
  const auto taken = take_images<Value, Sample>(who, std::as_const(out));
  auto* const to = address_of(out);
  static_assert(std::is_same_v<decltype(to), Value* const>,
                "lockstep: forward: outputs are written, and the elements handed in are const");
  return tensor_view<Value, batch_shape<Sample>>(to, taken.extent(0));
}

/// Throws shape_error for a view of targets whose first extent is not the number of samples, or whose others are not
/// those of one sample's targets, `wanted`, although they are as many: its elements would be taken in another order
/// than the user means.
template <class Targets>
void check_target_extents([[maybe_unused]] std::string_view who, [[maybe_unused]] const Targets& targets,
                          [[maybe_unused]] std::int64_t samples, [[maybe_unused]] const dims& wanted) {
  if constexpr (has_view<Targets> || mdspan_like<Targets>) {
    const auto view = view_of(targets);
    using view_type = std::remove_const_t<decltype(view)>;
    if constexpr (view_type::rank() > 1 && view_type::rank() <= dims::max_rank) {
      const dims given = sample_extents(view);
      const auto rows = static_cast<std::int64_t>(view.extent(0));
      if (rows != samples || (given.rank == wanted.rank && given != wanted))
        throw shape_error(who, "targets of " + std::to_string(samples) + " samples, " + to_string(wanted) + " each",
                          std::to_string(rows) + " of " + to_string(given));
    }
  }
}

/// A user's targets as the loss takes them: the user's own memory where the type fits, else a copy of integers in
/// `labels`. What the host has to look at, read(targets, room) brings to it. Throws value_error for an integer that
/// `Target` cannot hold.
template <class Target, class Targets, class Buffer, class Read>
[[nodiscard]] std::span<const Target> take_targets([[maybe_unused]] std::string_view who, const Targets& targets,
                                                   [[maybe_unused]] Buffer& labels, const Read& read,
                                                   std::vector<std::byte>& room) {
  if constexpr (std::is_convertible_v<const Targets&, std::span<const Target>>) {
    return read(std::span<const Target>(targets), room);
  } else if constexpr (has_view<Targets> || mdspan_like<Targets>) {
    const auto view = view_of(targets);
    using view_type = std::remove_const_t<decltype(view)>;
    static_assert(row_major<view_type>,
                  "lockstep: targets: they do not lie in row-major order, sample after sample; copy them into a "
                  "std::vector or a lockstep::batch_of");
    static_assert(
        plainly_accessed<view_type>,
        "lockstep: targets: the view reads them through an accessor of its own, and replicas read memory as it "
        "is; copy them into a std::vector or a lockstep::batch_of");
    if constexpr (row_major<view_type> && plainly_accessed<view_type>)
      return take_targets<Target>(who, std::span(view.data_handle(), static_cast<std::size_t>(view.size())), labels,
                                  read, room);
    else
      return {};
  } else if constexpr (contiguous_values<const Targets>) {
    using span = span_over<const Targets>;
    using element = std::remove_cv_t<typename span::element_type>;
    if constexpr (std::integral<element> && std::integral<Target>) {
      return labels.convert(who, read(std::span<const element>(span(targets)), room));
    } else {
      static_assert(!std::integral<Target>,
                    "lockstep: targets: the loss takes class indices, integers of any type, and these are none; "
                    "convert them, or train with mean_squared_error");
      static_assert(std::integral<Target>,
                    "lockstep: targets: the loss takes values of the backend's element type (Target), and these are "
                    "of another; convert them, or train class indices with cross_entropy");
      return {};
    }
  } else if constexpr (device_sequence<const Targets>) {
    return take_targets<Target>(who, device_span(targets), labels, read, room);
  } else {
    static_assert(contiguous_values<const Targets>,
                  "lockstep: targets: they are a vector, an array, a span, a tensor or a view; this is none");
    return {};
  }
}

template <class Target, class Targets, class Buffer>
[[nodiscard]] std::span<const Target> take_targets(std::string_view who, const Targets& targets, Buffer& labels) {
  std::vector<std::byte> none;
  return take_targets<Target>(who, targets, labels, reads_in_place{}, none);
}

/// Room to convert labels to the integer type of the loss; empty for a loss that takes values.
struct no_labels {};
template <class Target>
struct labels_of {
  using type = no_labels;
};
template <std::integral Target>
struct labels_of<Target> {
  using type = label_buffer<Target>;
};

/// Takes an argument of any type, in overloads that only say why they cannot be called.
struct anything {
  template <class T>
  anything(const T&) {}  // NOLINT(google-explicit-constructor): it exists to convert implicitly
};

}  // namespace lockstep::detail
