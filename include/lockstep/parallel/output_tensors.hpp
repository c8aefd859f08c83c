// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/output_pack.hpp>

/// \file
/// The outputs of a batch as a user gets them: a tensor, or a std::tuple of tensors from a model with several outputs.

namespace lockstep::detail {

template <class Model, class Value, class Indices = std::make_index_sequence<Model::output_count>>
struct output_tensors;

template <class Model, class Value>
struct output_tensors<Model, Value, std::index_sequence<0>> {
  using owner = tensor<Value, batch_shape<Model::output_dims>>;
  using view = tensor_view<Value, batch_shape<Model::output_dims>>;

  [[nodiscard]] static owner make(std::int64_t samples) { return owner(samples); }
  [[nodiscard]] static view view_of(owner& all) { return all.view(); }
  /// Where the outputs lie. Throws shape_error unless they have `samples` rows.
  [[nodiscard]] static Value* pack(std::string_view who, const view& out, std::int64_t samples) {
    if (out.extent(0) != samples)
      throw shape_error(who, std::to_string(samples) + " rows of output", std::to_string(out.extent(0)));
    return out.data_handle();
  }
};

template <class Model, class Value, std::size_t... K>
struct output_tensors<Model, Value, std::index_sequence<K...>> {
  using owner = std::tuple<tensor<Value, batch_shape<Model::output_extents[K]>>...>;
  using view = std::tuple<tensor_view<Value, batch_shape<Model::output_extents[K]>>...>;

  [[nodiscard]] static owner make(std::int64_t samples) {
    return owner(tensor<Value, batch_shape<Model::output_extents[K]>>(samples)...);
  }
  [[nodiscard]] static view view_of(owner& all) { return view(std::get<K>(all).view()...); }
  [[nodiscard]] static output_pack<Model, Value> pack(std::string_view who, const view& out, std::int64_t samples) {
    const auto check = [&](std::int64_t rows, std::size_t k) {
      if (rows != samples)
        throw shape_error(who, std::to_string(samples) + " rows of output " + std::to_string(k), std::to_string(rows));
    };
    (check(std::get<K>(out).extent(0), K), ...);
    return {{std::get<K>(out).data_handle()...}};
  }
};

}  // namespace lockstep::detail
