// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/parallel/split/fields.hpp>
#include <lockstep/parallel/trainer/user_arrays.hpp>

/// \file
/// What a user passes as the samples of a batch, as the inputs of a model take it.

namespace lockstep::detail {

/// Where the samples of a batch lie, and how many there are.
template <class Model, class Value>
struct taken_samples {
  input_pack<Model, const Value> first{};
  std::int64_t count = 0;
};

/// The compiler's note names both numbers.
template <std::size_t Given, std::size_t Taken>
consteval bool require_inputs_in() {
  static_assert(Given == Taken,
                "lockstep: images: the model has several inputs (Taken), each of which takes samples of its own; hand "
                "in a std::tuple or a struct that has them (Given) in the order of the model's inputs<...>");
  return Given == Taken;
}

/// The samples of a model with one input: a view, or what take_images takes.
template <class Model, class Value, class Indices = std::make_index_sequence<Model::input_count>>
struct user_inputs;
template <class Model, class Value>
struct user_inputs<Model, Value, std::index_sequence<0>> {
  using owner = tensor<Value, batch_shape<Model::input_dims>>;
  using view = tensor_view<const Value, batch_shape<Model::input_dims>>;
  using taken = taken_samples<Model, Value>;

  /// Throws shape_error for samples that do not fit.
  template <class Images>
  [[nodiscard]] static taken take(std::string_view who, const Images& images) {
    const view x = take_images<Value, Model::input_dims>(who, images);
    return {x.data_handle(), x.extent(0)};
  }
  /// Room for samples, and where they lie in it.
  [[nodiscard]] static owner make(std::int64_t samples) { return owner(samples); }
  [[nodiscard]] static Value* pack(owner& all) { return all.data(); }
};

/// The samples of a model with several inputs: a tuple, a pair, an array or a plain struct of those of each.
template <class Model, class Value, std::size_t... K>
struct user_inputs<Model, Value, std::index_sequence<K...>> {
  using owner = std::tuple<tensor<Value, batch_shape<Model::input_extents[K]>>...>;
  using view = std::tuple<tensor_view<const Value, batch_shape<Model::input_extents[K]>>...>;
  using taken = taken_samples<Model, Value>;

  template <class Images>
  [[nodiscard]] static taken take(std::string_view who, const Images& images) {
    if constexpr (require_inputs_in<members_in<Images>, sizeof...(K)>()) {
      const auto members = tie_members(images);
      const view all(take_images<Value, Model::input_extents[K]>(label<K>.view(), std::get<K>(members))...);
      (check_count(who, K, std::get<K>(all).extent(0), std::get<0>(all).extent(0)), ...);
      return {.first = {{std::get<K>(all).data_handle()...}}, .count = std::get<0>(all).extent(0)};
    } else {
      return {};
    }
  }
  [[nodiscard]] static owner make(std::int64_t samples) {
    return owner(tensor<Value, batch_shape<Model::input_extents[K]>>(samples)...);
  }
  [[nodiscard]] static input_pack<Model, Value> pack(owner& all) { return {{std::get<K>(all).data()...}}; }

 private:
  static constexpr std::string_view name_of(std::size_t k) { return Model::graph.inputs[k].name; }

  /// Names an input in what take_images throws.
  struct label_text {
    char text[96]{};
    std::size_t length = 0;

    constexpr explicit label_text(std::string_view name) {
      for (const std::string_view part : {std::string_view("input "), name})
        for (const char c : part)
          if (length < sizeof(text)) text[length++] = c;
    }
    [[nodiscard]] constexpr std::string_view view() const { return {text, length}; }
  };
  template <std::size_t Index>
  static constexpr label_text label{name_of(Index)};

  static void check_count(std::string_view who, std::size_t k, std::int64_t given, std::int64_t wanted) {
    if (given != wanted)
      throw shape_error(who,
                        std::to_string(wanted)
                            .append(" samples of input ")
                            .append(name_of(k))
                            .append(", as many as of input ")
                            .append(name_of(0)),
                        std::to_string(given));
  }
};

}  // namespace lockstep::detail
