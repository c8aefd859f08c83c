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
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/core/token.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/parallel/split/fields.hpp>
#include <lockstep/parallel/trainer/user_arrays.hpp>
#include <lockstep/parallel/trainer/user_tokens.hpp>

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

/// Room for copies of a user's tokens, for each input.
template <class Model>
using token_copies = std::array<std::vector<token_id>, Model::input_count>;

/// The samples of input K as the view that a trainer reads.
template <class Model, std::size_t K, class Value, class Samples>
[[nodiscard]] auto take_input(std::string_view who, const Samples& samples,
                              [[maybe_unused]] token_copies<Model>& copies) {
  if constexpr (Model::takes_tokens[K])
    return take_tokens<Model::input_extents[K]>(who, samples, Model::graph.inputs[K].vocabulary, copies[K]);
  else
    return take_images<Value, Model::input_extents[K]>(who, samples);
}

template <class Model, std::size_t K, class Value>
using input_tensor = tensor<input_element<Model::takes_tokens[K], Value>, batch_shape<Model::input_extents[K]>>;
template <class Model, std::size_t K, class Value>
using input_tensor_view =
    tensor_view<const input_element<Model::takes_tokens[K], Value>, batch_shape<Model::input_extents[K]>>;

/// The samples of a model with one input: a view, or what take_images or take_tokens takes.
template <class Model, class Value, class Indices = std::make_index_sequence<Model::input_count>>
struct user_inputs;
template <class Model, class Value>
struct user_inputs<Model, Value, std::index_sequence<0>> {
  using owner = input_tensor<Model, 0, Value>;
  using view = input_tensor_view<Model, 0, Value>;
  using taken = taken_samples<Model, Value>;

  /// Throws shape_error for samples that do not fit, value_error for tokens that are not in the vocabulary. What is
  /// returned may lie in `copies`.
  template <class Images>
  [[nodiscard]] static taken take(std::string_view who, const Images& images, token_copies<Model>& copies) {
    const view x = take_input<Model, 0, Value>(who, images, copies);
    return {x.data_handle(), x.extent(0)};
  }
  /// Room for samples, and where they lie in it.
  [[nodiscard]] static owner make(std::int64_t samples) { return owner(samples); }
  [[nodiscard]] static input_pack<Model, Value> pack(owner& all) { return all.data(); }
};

/// The samples of a model with several inputs: a tuple, a pair, an array or a plain struct of those of each.
template <class Model, class Value, std::size_t... K>
struct user_inputs<Model, Value, std::index_sequence<K...>> {
  using owner = std::tuple<input_tensor<Model, K, Value>...>;
  using view = std::tuple<input_tensor_view<Model, K, Value>...>;
  using taken = taken_samples<Model, Value>;

  template <class Images>
  [[nodiscard]] static taken take(std::string_view who, const Images& images, token_copies<Model>& copies) {
    if constexpr (require_inputs_in<members_in<Images>, sizeof...(K)>()) {
      const auto members = tie_members(images);
      const view all(take_input<Model, K, Value>(label<K>.view(), std::get<K>(members), copies)...);
      (check_count(who, K, std::get<K>(all).extent(0), std::get<0>(all).extent(0)), ...);
      return {.first = {{std::get<K>(all).data_handle()...}}, .count = std::get<0>(all).extent(0)};
    } else {
      return {};
    }
  }
  [[nodiscard]] static owner make(std::int64_t samples) { return owner(input_tensor<Model, K, Value>(samples)...); }
  [[nodiscard]] static input_pack<Model, Value> pack(owner& all) { return {{std::get<K>(all).data()...}}; }

 private:
  static constexpr std::string_view name_of(std::size_t k) { return Model::graph.inputs[k].name; }

  /// Names an input in what take_input throws.
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
