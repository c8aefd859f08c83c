// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/core/sample_pack.hpp>
#include <lockstep/core/static_for.hpp>

/// \file
/// Where the samples of the inputs lie: a pointer for a model with one input, a sample_pack for one with several.
/// Either is moved over samples by `samples * input_dims.size()`: a pack counts samples, and `input_dims` of several
/// inputs has rank 0, and so size 1.

namespace lockstep::detail {

template <class Model, class Indices = std::make_index_sequence<Model::input_count>>
struct input_sizes;
template <class Model, std::size_t... K>
struct input_sizes<Model, std::index_sequence<K...>> {
  using type = element_counts<Model::input_extents[K].size()...>;
};

template <class Model, class T>
using input_pack_of = array_pack<T, typename input_sizes<Model>::type>;
template <class Model, class T>
using input_pack = typename input_pack_of<Model, T>::type;

/// The pack of the pointers f<K>().
template <class Model, class T, class F>
[[nodiscard]] input_pack<Model, T> pack_inputs(const F& f) {
  return input_pack_of<Model, T>::make(f);
}

/// Calls f<K>(elements of one sample) for each input.
template <class Model, class F>
void each_input(const F& f) {
  static_for<Model::input_count>([&]<std::size_t K>() { f.template operator()<K>(Model::input_extents[K].size()); });
}

}  // namespace lockstep::detail
