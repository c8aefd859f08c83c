// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>

#include <lockstep/core/sample_pack.hpp>
#include <lockstep/core/static_for.hpp>
#include <lockstep/core/token.hpp>

/// \file
/// Where the samples of the inputs lie: a pointer for a model with one input, a sample_pack for one with several.
/// Either is moved over samples by `samples * input_dims.size()`: a pack counts samples, and `input_dims` of several
/// inputs has rank 0, and so size 1. An input of tokens has elements of type token_id, any other has values.

namespace lockstep::detail {

template <class Model, class Indices = std::make_index_sequence<Model::input_count>>
struct input_sizes;
template <class Model, std::size_t... K>
struct input_sizes<Model, std::index_sequence<K...>> {
  template <class T>
  using pack =
      array_pack<element_counts<Model::input_extents[K].size()...>, input_element<Model::takes_tokens[K], T>...>;
  template <template <class> class Array, class T>
  using arrays = std::tuple<Array<input_element<Model::takes_tokens[K], T>>...>;
};

template <class Model, class T>
using input_pack_of = typename input_sizes<Model>::template pack<T>;
/// A tuple of an Array for each input, of its elements: tokens, or values of type T.
template <class Model, template <class> class Array, class T>
using input_arrays = typename input_sizes<Model>::template arrays<Array, T>;
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
