// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/plain_view.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/parallel/split/along.hpp>
#include <lockstep/parallel/split/even.hpp>
#include <lockstep/parallel/split/fields.hpp>

namespace lockstep {

namespace detail {

/// How scatter cuts: the dimension, and the number of equal parts when the compiler knows it (0: known only at run
/// time).
template <class Along, int EqualParts>
struct cut {
  using along_type = Along;
  static constexpr int dim = dimension<Along>;
  static constexpr int equal_parts = EqualParts;
};

inline constexpr std::int64_t contradiction = -2;

/// The extent of the cut dimension that the members state at compile time: `dynamic` when none does, `contradiction`
/// when two differ.
template <class Along, class T>
consteval std::int64_t static_extent() {
  using plain = std::remove_cvref_t<T>;
  if constexpr (is_cut<plain, Along>) {
    constexpr dims extents = extents_of_dense<plain>();
    return dimension<Along> < extents.rank ? extents[dimension<Along>] : dynamic;
  } else if constexpr (is_optional<plain>::value) {
    return static_extent<Along, typename plain::value_type>();
  } else if constexpr (compound<plain>) {
    return []<class... Members>(std::type_identity<std::tuple<Members...>>) {
      std::int64_t common = dynamic;
      const auto add = [&](std::int64_t own) {
        if (own == dynamic || common == contradiction) return;
        common = common == dynamic || common == own ? own : contradiction;
      };
      (add(static_extent<Along, Members>()), ...);
      return common;
    }(std::type_identity<decltype(tie_members(std::declval<plain&>()))>{});
  } else {
    return dynamic;
  }
}

/// The common extent of everything in a value that is cut; nothing when there is nothing to cut.
template <class Along>
struct extent_finder {
  std::optional<std::int64_t> length;

  template <class T>
  void visit(const T& value) {
    if constexpr (is_cut<T, Along>) {
      static_assert(dimension<Along> < extents_of_dense<T>().rank,
                    "lockstep: scatter: every tensor has the dimension it is cut along; pass one that is not to be cut "
                    "behind std::cref");
      const std::int64_t own = block_of(value).extents[dimension<Along>];
      if (length && *length != own)
        throw shape_error("scatter", "batches of one length, " + std::to_string(*length), std::to_string(own));
      length = own;
    } else if constexpr (is_optional<T>::value) {
      if (value) visit(*value);
    } else if constexpr (compound<T>) {
      std::apply([&](const auto&... each) { (visit(each), ...); }, tie_members(value));
    }
  }
};

/// Cuts one part out of a tensor, view or span. Along dimension 0 the part is a view. Along another dimension it is a
/// tensor when a tensor can have its extents, else a strided view.
template <class Cut, class T>
auto cut_dense(T& value, shard_range r) {
  using traits = dense_traits<std::remove_const_t<T>>;
  constexpr std::int64_t whole = traits::extents[Cut::dim];
  constexpr int parts = (std::max)(Cut::equal_parts, 1);
  constexpr bool divides = whole == dynamic || whole % parts == 0;
  static_assert(divides,
                "lockstep: scatter: the number of replicas divides an extent that is known at compile time; for parts "
                "of different lengths pass a split as well, for example even_split<N>(extent)");
  constexpr bool known = whole != dynamic && Cut::equal_parts != 0 && divides;
  constexpr dims piece = with_extent(traits::extents, Cut::dim, known ? whole / parts : dynamic);
  constexpr bool dense = traits::contiguous && Cut::dim == 0;
  const auto block = sub_block(block_of(value), Cut::dim, r.first, r.count);
  if constexpr (traits::is_span) {
    return value.subspan(static_cast<std::size_t>(r.first), static_cast<std::size_t>(r.count));
  } else if constexpr (Cut::dim == 0 || !ownable(piece)) {
    return block_view<piece, dense>(block);
  } else {
    auto part = make_tensor<typename traits::element, piece>(block.extents[0]);
    copy_block(constant(block), block_of(part));
    return part;
  }
}

template <class Cut, class T>
auto cut_value(T& value, shard_range r);

template <class Cut, class References>
auto cut_members(const References& members, shard_range r) {
  // Not make_tuple, which would unwrap a std::reference_wrapper.
  return std::apply(
      [&](auto&... each) { return std::tuple<decltype(cut_value<Cut>(each, r))...>(cut_value<Cut>(each, r)...); },
      members);
}

template <class Cut, class T>
auto cut_value(T& value, shard_range r) {
  using plain = std::remove_cv_t<T>;
  if constexpr (is_cut<plain, typename Cut::along_type>) {
    return cut_dense<Cut>(value, r);
  } else if constexpr (is_optional<plain>::value) {
    using part = decltype(cut_value<Cut>(*value, r));
    return value ? std::optional<part>(cut_value<Cut>(*value, r)) : std::optional<part>();
  } else if constexpr (is_std_array<plain>::value) {
    using part = decltype(cut_value<Cut>(value[0], r));
    return std::apply(
        [&](auto&... each) { return std::array<part, std::tuple_size_v<plain>>{cut_value<Cut>(each, r)...}; }, value);
  } else if constexpr (is_tuple<plain>::value) {
    return cut_members<Cut>(tie_members(value), r);
  } else if constexpr (plain_struct<plain>) {
    auto parts = cut_members<Cut>(tie_fields(value), r);
    // A struct of views stays that struct; a struct of owning tensors becomes a tuple of views.
    if constexpr (std::is_same_v<decltype(parts), field_values<plain>>)
      return std::apply([](auto&... each) { return plain{std::move(each)...}; }, parts);
    else
      return parts;
  } else {
    static_assert(is_dense<plain> || !mdspan_like<plain>,
                  "lockstep: scatter: of views it cuts a cuda::std::mdspan with indices of std::int64_t, a default "
                  "accessor and five extents at most; pass another view behind std::cref, or make one of these");
    return value;  // no batch dimension: every replica gets it
  }
}

/// `split_of` makes a batch_split<N> of the common extent.
template <int N, class Cut, class T, class SplitOf>
auto scatter_cut(T& value, const SplitOf& split_of) {
  static_assert(N >= 1, "lockstep: scatter: one replica or more");
  using along_type = typename Cut::along_type;
  static_assert(static_extent<along_type, T>() != contradiction,
                "lockstep: scatter: all tensors have the same extent in the dimension that is cut");
  extent_finder<along_type> finder;
  finder.visit(value);
  const batch_split<N> split = finder.length ? split_of(*finder.length) : even_split<N>(0);
  using part = decltype(cut_value<Cut>(value, split[0]));
  return [&]<int... R>(std::integer_sequence<int, R...>) {
    return std::array<part, static_cast<std::size_t>(N)>{cut_value<Cut>(value, split[R])...};
  }(std::make_integer_sequence<int, N>{});
}

}  // namespace detail

/// Cuts a batch into N shards along its first dimension, as torch.nn.parallel.scatter: views without a copy, in order,
/// with the lengths of even_split.
///
/// `value` is a batch (tensor, view or span), a value without a batch dimension (each replica gets a copy), or a tuple,
/// std::array, std::optional or plain struct of these, taken apart recursively. A struct of views stays that struct, so
/// that inputs keep their names; a struct of tensors becomes a tuple of views. There are always N shards, some of them
/// empty when there are fewer than N samples, and each shard has every member. An empty optional is empty in each
/// shard. Throws shape_error when batches inside `value` differ in length. The views live no longer than `value`.
template <int N, class T>
[[nodiscard]] auto scatter(T& value) {
  return detail::scatter_cut<N, detail::cut<detail::batches_only, 0>>(value, even_split<N>);
}

/// The same with the lengths that `split` gives: a batch_split<N> (even_split, weighted_split, cost_split), a constant
/// function that takes the number of samples and returns a batch_split<N>, or one that returns the counts as
/// std::array<std::int64_t, N>. The function is not called when there is no batch inside. Throws value_error when a
/// count is negative or when the counts do not sum to the samples.
template <int N, class T, class Split>
[[nodiscard]] auto scatter(T& value, const Split& split) {
  return detail::scatter_cut<N, detail::cut<detail::batches_only, 0>>(
      value, [&](std::int64_t samples) { return detail::resolve_split<N>("scatter", split, samples); });
}

/// Cuts along dimension Dim, as torch's `dim`. Every tensor, view and span inside `value` needs this dimension and is
/// cut, even when the extent is static (std::cref keeps one whole).
///
/// Parts along dimension 0 are views, without a copy. Parts along another dimension are copied into their own tensors,
/// whose static extent is the original one divided by N; it does not compile unless N divides it. When a part cannot be
/// a tensor, because extents other than the first are known only at run time, it is a strided view, without a copy.
/// Throws shape_error when tensors inside differ in this extent; a difference known at compile time does not compile.
template <int N, class T, int Dim>
[[nodiscard]] auto scatter(T& value, along_t<Dim>) {
  return detail::scatter_cut<N, detail::cut<along_t<Dim>, N>>(value, even_split<N>);
}

/// Cuts along dimension Dim into parts of any length: views along dimension 0, strided views along another, without a
/// copy. Errors as in the two functions above.
template <int N, class T, int Dim, class Split>
[[nodiscard]] auto scatter(T& value, along_t<Dim>, const Split& split) {
  return detail::scatter_cut<N, detail::cut<along_t<Dim>, 0>>(
      value, [&](std::int64_t extent) { return detail::resolve_split<N>("scatter", split, extent); });
}

}  // namespace lockstep
