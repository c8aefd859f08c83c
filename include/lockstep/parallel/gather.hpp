// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/parallel/split/along.hpp>
#include <lockstep/parallel/split/fields.hpp>

namespace lockstep {

namespace detail {

/// The extents of the parts joined along `dim`. Throws shape_error when parts differ in another dimension.
template <class T, std::size_t N>
dims joined_extents(const std::array<const T*, N>& parts, int dim) {
  dims whole = block_of(*parts[0]).extents;
  for (std::size_t r = 1; r < N; ++r) {
    const dims own = block_of(*parts[r]).extents;
    if (with_extent(own, dim, 0) != with_extent(whole, dim, 0))
      throw shape_error("gather",
                        "parts that differ in dimension " + std::to_string(dim) + " only, the first is " +
                            to_string(block_of(*parts[0]).extents),
                        to_string(own) + " from replica " + std::to_string(r));
    whole.extent[dim] = checked_add(whole[dim], own[dim]);
  }
  return whole;
}

/// Copies the parts to their places in `to`, whose extents are joined_extents.
template <class T, std::size_t N, class Element>
void join_parts(const std::array<const T*, N>& parts, int dim, const strided_block<Element>& to) {
  std::int64_t first = 0;
  for (const T* part : parts) {
    const auto from = constant(block_of(*part));
    copy_block(from, sub_block(to, dim, first, from.extents[dim]));
    first += from.extents[dim];
  }
}

/// Member K of every part.
template <std::size_t K, class T, std::size_t N>
auto member_column(const std::array<const T*, N>& parts) {
  using member = std::remove_cvref_t<decltype(std::get<K>(tie_members(*parts[0])))>;
  std::array<const member*, N> all{};
  for (std::size_t r = 0; r < N; ++r) all[r] = &std::get<K>(tie_members(*parts[r]));
  return all;
}

/// Pointers to the values inside the optionals; nothing when all are empty. Throws value_error for a mixture, of which
/// no batch can be made.
template <class T, std::size_t N>
std::optional<std::array<const T*, N>> engaged(const std::array<const std::optional<T>*, N>& parts) {
  std::array<const T*, N> inside{};
  std::size_t set = 0;
  for (std::size_t r = 0; r < N; ++r) {
    inside[r] = *parts[r] ? &**parts[r] : nullptr;
    set += *parts[r] ? 1U : 0U;
  }
  if (set != 0 && set != N)
    throw value_error("gather", "an optional output from all " + std::to_string(N) + " replicas or from none",
                      "one from " + std::to_string(set), "return it from a replica without samples too");
  if (set == 0) return {};
  return inside;
}

template <class Along, class T, std::size_t N>
auto gather_values(const std::array<const T*, N>& parts);

template <class Along, class T, std::size_t N>
auto gather_dense(const std::array<const T*, N>& parts) {
  using traits = dense_traits<T>;
  constexpr int dim = dimension<Along>;
  constexpr bool fits = dim < traits::extents.rank;
  static_assert(fits, "lockstep: gather: every tensor has the dimension it is joined along");
  if constexpr (fits) {
    constexpr std::int64_t part = traits::extents[dim];
    constexpr dims whole =
        with_extent(traits::extents, dim, part == dynamic ? dynamic : static_cast<std::int64_t>(N) * part);
    static_assert(ownable(whole),
                  "lockstep: gather: a tensor knows all its extents but the first at compile time, these parts do not; "
                  "use gather_into");
    if constexpr (ownable(whole)) {
      const dims extents = joined_extents(parts, dim);
      auto joined = make_tensor<typename traits::element, whole>(extents[0]);
      join_parts(parts, dim, block_of(joined));
      return joined;
    }
  }
}

template <class Along, class T, std::size_t N, std::size_t... K>
auto gather_members(const std::array<const T*, N>& parts, std::index_sequence<K...>) {
  return std::make_tuple(gather_values<Along>(member_column<K>(parts))...);
}

template <class Along, class T, std::size_t N>
auto gather_values(const std::array<const T*, N>& parts) {
  if constexpr (is_cut<T, Along>) {
    return gather_dense<Along>(parts);
  } else if constexpr (is_dense<T> && extents_of_dense<T>().rank == 0) {
    auto all = make_tensor<typename dense_traits<T>::element, dims{N}>(0);
    for (std::size_t r = 0; r < N; ++r) all.data()[r] = *block_of(*parts[r]).data;
    return all;
  } else if constexpr (is_optional<T>::value) {
    const auto inside = engaged(parts);
    using joined = decltype(gather_values<Along>(*inside));
    return inside ? std::optional<joined>(gather_values<Along>(*inside)) : std::optional<joined>();
  } else if constexpr (compound<T>) {
    auto members = gather_members<Along>(parts, std::make_index_sequence<member_count<const T>>{});
    if constexpr (is_std_array<T>::value) {
      return std::apply(
          [](auto&... each) {
            return std::array<std::tuple_element_t<0, decltype(members)>, sizeof...(each)>{std::move(each)...};
          },
          members);
    } else if constexpr (plain_struct<T>) {
      // The struct is kept only when it owns the joined tensors: a struct of views would convert from them and outlive
      // them.
      if constexpr (std::is_same_v<decltype(members), field_values<T>>)
        return std::apply([](auto&... each) { return T{std::move(each)...}; }, members);
      else
        return members;
    } else {
      return members;
    }
  } else {
    return [&]<std::size_t... R>(std::index_sequence<R...>) {
      return std::array<T, N>{*parts[R]...};
    }(std::make_index_sequence<N>{});
  }
}

/// False when the compiler knows that parts with extents `part`, joined along `dim`, differ from the extents `out`.
constexpr bool may_fit(const dims& out, const dims& part, int dim, std::int64_t parts) {
  for (int i = 0; i < part.rank; ++i) {
    const std::int64_t expected = part[i] == dynamic || i != dim ? part[i] : parts * part[i];
    if (out[i] != dynamic && expected != dynamic && out[i] != expected) return false;
  }
  return out.rank == part.rank;
}

template <class Along, bool Write, class T, std::size_t N, class Out>
void join_into(const std::array<const T*, N>& parts, Out& out) {
  static_assert(is_dense<Out>, "lockstep: gather_into: a tensor, view or span receives tensors");
  if constexpr (is_dense<Out>) {
    constexpr int dim = dimension<Along>;
    static_assert(
        std::is_same_v<typename dense_traits<T>::element, std::remove_pointer_t<decltype(block_of(out).data)>>,
        "lockstep: gather_into: writable elements of the parts' type");
    static_assert(dim < extents_of_dense<T>().rank &&
                      may_fit(extents_of_dense<Out>(), extents_of_dense<T>(), dim, static_cast<std::int64_t>(N)),
                  "lockstep: gather_into: the static extents of the parts, joined");
    const auto to = block_of(out);
    if constexpr (Write) {
      join_parts(parts, dim, to);
    } else {
      const dims expected = joined_extents(parts, dim);
      if (to.extents != expected)
        throw shape_error("gather_into", "memory for " + to_string(expected), to_string(to.extents),
                          "nothing was written");
    }
  }
}

/// Writes (or checks) one element a replica, into a std::array or memory for N elements.
template <bool Write, class T, std::size_t N, class Out>
void list_into(const std::array<const T*, N>& parts, Out& out) {
  using plain = std::remove_const_t<Out>;
  if constexpr (is_std_array<plain>::value) {
    static_assert(std::tuple_size_v<plain> == N, "lockstep: gather_into: one element for each replica");
    if constexpr (Write)
      for (std::size_t r = 0; r < N; ++r) out[r] = *parts[r];
  } else {
    static_assert(
        extents_of_dense<plain>().rank == 1,
        "lockstep: gather_into: outputs without a batch dimension go into a std::array or a tensor of rank 1");
    if constexpr (extents_of_dense<plain>().rank == 1) {
      const auto to = block_of(out);
      if constexpr (Write) {
        for (std::size_t r = 0; r < N; ++r) {
          auto& element = to.data[static_cast<std::int64_t>(r) * to.strides[0]];
          if constexpr (is_dense<T>)
            element = *block_of(*parts[r]).data;
          else
            element = *parts[r];
        }
      } else if (to.extents[0] != static_cast<std::int64_t>(N)) {
        throw shape_error("gather_into", "memory for " + std::to_string(N) + " elements, one a replica",
                          std::to_string(to.extents[0]), "nothing was written");
      }
    }
  }
}

/// Checks or writes, depth first. Callers check everything before they write anything.
template <class Along, bool Write, class T, std::size_t N, class Out>
void gather_step(const std::array<const T*, N>& parts, Out& out) {
  if constexpr (is_cut<T, Along>) {
    join_into<Along, Write>(parts, out);
  } else if constexpr (is_optional<T>::value) {
    static_assert(is_optional<std::remove_const_t<Out>>::value,
                  "lockstep: gather_into: an optional receives optionals");
    const auto inside = engaged(parts);
    if (inside && !out)
      throw shape_error("gather_into", "memory in an optional that the replicas set", "an empty optional",
                        "nothing was written");
    if (inside)
      gather_step<Along, Write>(*inside, *out);
    else if constexpr (Write)
      out.reset();
  } else if constexpr (compound<T>) {
    constexpr bool fits = [] {
      if constexpr (compound<std::remove_const_t<Out>>)
        return member_count<Out> == member_count<const T>;
      else
        return false;
    }();
    static_assert(fits, "lockstep: gather_into: a tuple, array or plain struct with a member for each of the parts'");
    if constexpr (fits) {
      [&]<std::size_t... K>(std::index_sequence<K...>) {
        const auto members = tie_members(out);
        (gather_step<Along, Write>(member_column<K>(parts), std::get<K>(members)), ...);
      }(std::make_index_sequence<member_count<const T>>{});
    }
  } else {
    list_into<Write>(parts, out);
  }
}

template <class T, std::size_t N>
std::array<const T*, N> pointers_to(const std::array<T, N>& parts) {
  static_assert(N >= 1, "lockstep: gather: one part or more");
  std::array<const T*, N> pointers{};
  for (std::size_t r = 0; r < N; ++r) pointers[r] = &parts[r];
  return pointers;
}

}  // namespace detail

/// Joins the outputs of N replicas along the first dimension, in the order of the replicas, as
/// torch.nn.parallel.gather. Batches are copied into one owning tensor; tuples, arrays, optionals and plain structs are
/// gathered member by member. A struct of tensors stays that struct; any other becomes a tuple.
///
/// Outputs without a batch dimension, for example a loss, become one element a replica: tensors of rank 0 become a
/// tensor of shape<N>, anything else a std::array. A replica with an empty shard contributes what it returned, so that
/// element r is always replica r and N stays part of the type. To average over the samples, weigh the elements with the
/// counts of the shards.
///
/// Throws shape_error when parts differ in another dimension, value_error when an optional is set on some replicas
/// only.
template <class T, std::size_t N>
[[nodiscard]] auto gather(const std::array<T, N>& parts) {
  return detail::gather_values<detail::batches_only>(detail::pointers_to(parts));
}

/// The same along dimension Dim. Joins every tensor, view and span of rank 1 or more, including those whose extent
/// there is static; the extents add up. Extents other than the first must be known at compile time; gather_into has no
/// such limit.
template <class T, std::size_t N, int Dim>
[[nodiscard]] auto gather(const std::array<T, N>& parts, along_t<Dim>) {
  return detail::gather_values<along_t<Dim>>(detail::pointers_to(parts));
}

/// Gathers into the caller's memory, without allocating. `out` mirrors what gather would return: tensors, views or
/// spans for batches; tuples (std::tie too), arrays or plain structs for compounds; a std::array, span or tensor of
/// rank 1 with N elements for values without a batch dimension. An optional that no replica set is emptied.
///
/// Everything is checked before the first element is written. Throws shape_error when extents differ (a difference
/// known at compile time does not compile), and otherwise as gather. A part that already lies at its place, because the
/// replica wrote into a view that scatter cut out of `out`, is not copied; other overlaps are not allowed. To leave the
/// parts where they are, do not call gather.
template <class T, std::size_t N, class Out>
void gather_into(const std::array<T, N>& parts, Out&& out) {
  const auto pointers = detail::pointers_to(parts);
  detail::gather_step<detail::batches_only, false>(pointers, out);
  detail::gather_step<detail::batches_only, true>(pointers, out);
}

/// The same along dimension Dim, in which parts may have any length.
template <class T, std::size_t N, int Dim, class Out>
void gather_into(const std::array<T, N>& parts, along_t<Dim>, Out&& out) {
  const auto pointers = detail::pointers_to(parts);
  detail::gather_step<along_t<Dim>, false>(pointers, out);
  detail::gather_step<along_t<Dim>, true>(pointers, out);
}

}  // namespace lockstep
