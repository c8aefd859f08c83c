// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/attention_options.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

namespace detail {

/// Attention among the rows of a sample (T, 3C), each of which holds a query, a key and a value of C elements.
[[nodiscard]] constexpr attention_geometry packed_geometry(const dims& in, std::int64_t heads,
                                                           const attention_options& options) {
  const attention_rows rows{.sample = in.size(), .row = in[1]};
  return {.queries = in[0],
          .keys = in[0],
          .heads = heads,
          .width = in[1] / (3 * heads),
          .q = rows,
          .k = rows,
          .v = rows,
          .y = {.sample = in.size() / 3, .row = in[1] / 3},
          .causal = options.is_causal,
          .dropout = options.dropped};
}

/// Attention of one array, in which the keys begin Keys elements after the queries, and the values Values elements.
template <class B, node_traits T, attention_geometry G, std::int64_t Keys, std::int64_t Values>
class attention_op {
  using activation = typename B::activation_type;
  using context = typename B::context;

  struct no_primitive {
    no_primitive(context&, std::int64_t, double) {}
    void set_samples(std::int64_t) noexcept {}
  };
  static consteval auto pick() {
    if constexpr (attends<B>)
      return std::type_identity<typename B::template attention<G>>{};
    else
      return std::type_identity<no_primitive>{};
  }
  using primitive = typename decltype(pick())::type;

 public:
  attention_op(context& c, std::int64_t samples) : samples_(samples), primitive_(c, samples, G.default_scale()) {}

  void set_samples(std::int64_t samples) noexcept
    requires takes_fewer_samples<primitive>
  {
    samples_ = samples;
    primitive_.set_samples(samples);
  }

  [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t samples)
    requires keeps_memory<primitive>
  {
    return primitive::kept_bytes(samples);
  }

  void forward(context& c, const pass& p, const activation* x, const activation*, activation* y) {
    if constexpr (G.queries == 1 && G.causal && attends_in_order<B>)
      if (const auto* const row = p.row_of<activation>())
        return B::attend_to_kept(
            c,
            {.heads = G.heads, .width = G.width, .before = row->before, .most = row->most, .scale = G.default_scale()},
            samples_, x, row->kept[p.key.layer], y);
    if constexpr (attends<B>) primitive_.forward(c, arguments(p), x, x + Keys, x + Values, y);
  }

  void backward(context& c, const pass& p, const backward_arguments<B>& a) {
    if constexpr (attends<B> && T.input_gradient)
      primitive_.backward(c, arguments(p), a.x, a.x + Keys, a.x + Values, a.y, a.dy, a.dx, a.dx + Keys, a.dx + Values);
  }

 private:
  [[nodiscard]] static attention_arguments arguments(const pass& p) {
    return {.dropout = G.dropout.parts > 0 && p.training ? &p.key : nullptr};
  }

  std::int64_t samples_;
  primitive primitive_;
};

/// packed_attention with its options as a value, for composites, which have checked what arrives.
template <std::int64_t Heads, attention_options Options>
struct basic_packed_attention {
  static constexpr std::string_view kind = "attention";
  static constexpr layer_traits traits{.remembers_forward = true,
                                       .rows = Options.is_causal ? row_rule::in_order : row_rule::mixed,
                                       .backward_reads_output = true,
                                       .backward_overwrites_input = true,
                                       .backward_keeps_gradient = true};
  template <class B>
  static constexpr bool runs_on = attends<B>;

  [[nodiscard]] static constexpr dims output(const dims& in) { return dims{in[0], in[1] / 3}; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  /// Two products of each query with the keys that it sees.
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) {
    const std::int64_t pairs = Options.is_causal ? in[0] * (in[0] + 1) / 2 : in[0] * in[0];
    return 4 * pairs * (in[1] / 3);
  }

  /// The keys and the values of all rows.
  [[nodiscard]] static constexpr std::int64_t kept_values(const dims& in, std::int64_t rows) {
    return rows * 2 * (in[1] / 3);
  }

  template <class B, node_traits T>
  using op = attention_op<B, T, packed_geometry(T.in, Heads, Options), T.in.extent[1] / 3, 2 * (T.in.extent[1] / 3)>;
};

}  // namespace detail

/// Scaled dot-product attention among the T rows of a sample: (T, 3C), in each row a query, a key and a value of C
/// features, becomes (T, C). Each is cut into `Heads` heads of D = C / Heads features; a head's output is
/// softmax(q k^T / sqrt(D)) v, as torch.nn.functional.scaled_dot_product_attention. Options: causal, and dropout<> for
/// the probabilities while training. The CPU never holds all T x T scores of a head (Dao et al., "FlashAttention",
/// 2022). Cost: 4 T T C flops, half of it when causal.
template <std::int64_t Heads, class... Options>
struct packed_attention : detail::basic_packed_attention<Heads, detail::attention_options::of<Options...>()> {
  static constexpr auto options = detail::attention_options::of<Options...>();

  template <dims Arriving>
  static consteval void check() {
    static_assert(options.known && !options.names_bias, "lockstep: attention: takes causal and dropout<>");
    static_assert(options.dropped.valid(), "lockstep: attention: the probability of dropout lies between 0 and 1");
    static_assert(detail::cuts_into_heads(Arriving, 3, Heads),
                  "lockstep: attention: what arrives (Arriving) is not T rows of a query, a key and a value, each of "
                  "as many features, which the number of heads divides");
  }
};

}  // namespace lockstep
