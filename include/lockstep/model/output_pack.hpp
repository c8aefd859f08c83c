// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

#include <lockstep/core/sample_pack.hpp>
#include <lockstep/core/static_for.hpp>

/// \file
/// Where the outputs of samples lie: a pointer for a model with one output, a sample_pack for one with several. Either
/// moves over samples by `samples * output_dims.size()`, since a pack counts samples and several outputs have rank 0.

namespace lockstep::detail {

template <class Model, class Indices = std::make_index_sequence<Model::output_count>>
struct output_sizes;
template <class Model, std::size_t... K>
struct output_sizes<Model, std::index_sequence<K...>> {
  template <class T, std::size_t>
  using element = T;
  template <class T>
  using pack = array_pack<element_counts<Model::output_extents[K].size()...>, element<T, K>...>;
};

template <class Model, class T>
using output_pack_of = typename output_sizes<Model>::template pack<T>;
template <class Model, class T>
using output_pack = typename output_pack_of<Model, T>::type;

/// The pack of the pointers f<K>().
template <class Model, class T, class F>
[[nodiscard]] output_pack<Model, T> pack_outputs(const F& f) {
  return output_pack_of<Model, T>::make(f);
}

/// Calls f<K>(elements of one sample) for each output.
template <class Model, class F>
void each_output(const F& f) {
  static_for<Model::output_count>([&]<std::size_t K>() { f.template operator()<K>(Model::output_extents[K].size()); });
}

}  // namespace lockstep::detail
