// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/embedding_geometry.hpp>
#include <lockstep/core/token.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// An option of embedding: the token that pads samples. Its row begins with zeros and gets no gradient.
template <std::int64_t Token>
struct padding_index {
  static constexpr std::int64_t padding_token = Token;
};

namespace detail {

/// The padding token among the options of an embedding; -1 without one, -2 for what is no option.
template <class... Options>
consteval std::int64_t padding_among() {
  std::int64_t found = -1;
  [[maybe_unused]] const auto take = [&]<class Option>(std::type_identity<Option>) {
    if constexpr (requires { Option::padding_token; })
      found = Option::padding_token < 0 ? -2 : Option::padding_token;
    else
      found = -2;
  };
  (take(std::type_identity<Options>{}), ...);
  return found;
}

/// The primitive of a backend, or what stands for it where the backend has none.
template <class B, embedding_geometry G>
struct embedding_on {
  using type = missing_primitive;
};
template <looks_up_rows B, embedding_geometry G>
struct embedding_on<B, G> {
  using type = typename B::template embedding<G>;
};

}  // namespace detail

/// Looks up a row of Width values for each of the T tokens that arrive, as torch.nn.Embedding: (T) becomes (T, Width).
/// Parameters: `weight` (Vocabulary, Width), from N(0, 1). The first layer of a model whose input is `tokens<T>`.
/// `tied` with a linear layer without bias from Width to Vocabulary, it shares its weight with that layer.
/// Options: `padding_index<Token>`.
template <std::int64_t Vocabulary, std::int64_t Width, class... Options>
struct embedding {
  static constexpr std::string_view kind = "embedding";
  static constexpr layer_traits traits{.writes_plain_order = true,
                                       .token_operands = 1,
                                       .is_table = true,
                                       .rows = row_rule::apart,
                                       .backward_reads_input = false,
                                       .backward_keeps_gradient = true,
                                       .skips_parameter_gradient = true};
  static constexpr std::int64_t vocabulary = Vocabulary;
  static constexpr std::int64_t padding = detail::padding_among<Options...>();

  template <class B>
  static constexpr bool runs_on = looks_up_rows<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(Vocabulary > 0 && Width > 0 && Vocabulary <= (std::int64_t{1} << 31),
                  "lockstep: embedding: a vocabulary of 1 to 2^31 tokens, and one value or more for each");
    static_assert(sizeof...(Options) <= 1 && padding >= -1 && padding < Vocabulary,
                  "lockstep: embedding: its only option is padding_index<Token>, of a token in the vocabulary");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return dims{in.size(), Width}; }

  [[nodiscard]] static constexpr parameter_list parameters(const dims&) {
    parameter_list list;
    list.add_normal("weight", dims{Vocabulary, Width}, 1.0);
    list.items[0].zero_row = padding;
    return list;
  }

  [[nodiscard]] static constexpr std::int64_t flops(const dims&) { return 0; }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr embedding_geometry geometry{.vocabulary = Vocabulary, .width = Width, .padding = padding};
    static constexpr std::int64_t tokens_in_sample = T.in.size();
    using table = typename detail::embedding_on<B, geometry>::type;

   public:
    op(context& c, std::int64_t samples) : table_(c, samples * tokens_in_sample) {}

    void set_samples(std::int64_t samples) noexcept
      requires takes_fewer_samples<table>
    {
      table_.set_samples(samples * tokens_in_sample);
    }

    void forward(context& c, const pass&, const token_id* tokens, const activation* parameters, activation* y) {
      table_.forward(c, tokens, parameters, y);
    }

    void backward(context& c, const pass&, const backward_arguments<B>& a, const token_id* tokens) {
      if constexpr (T.parameter_gradient) table_.backward(c, tokens, a.dy, a.gradients, a.accumulate);
    }

    [[nodiscard]] static constexpr std::int64_t physical(int, std::int64_t index) {
      return table::weight_offset(index / Width, index % Width);
    }

   private:
    table table_;
  };
};

}  // namespace lockstep
