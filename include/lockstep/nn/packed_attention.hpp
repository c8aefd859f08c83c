// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/capabilities.hpp>
#include <lockstep/core/token.hpp>
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
    attend(c, p, nullptr, x, y);
  }

  void backward(context& c, const pass& p, const backward_arguments<B>& a) {
    attend_backward(c, p, nullptr, a.x, a.y, a.dy, a.dx);
  }

 protected:
  /// `lengths` are the keys of each sample that are seen; null for all.
  void attend(context& c, const pass& p, const token_id* lengths, const activation* x, activation* y) {
    if constexpr (attends<B>) primitive_.forward(c, arguments(p, lengths), x, x + Keys, x + Values, y);
  }
  void attend_backward(context& c, const pass& p, const token_id* lengths, const activation* x, const activation* y,
                       const activation* dy, activation* dx) {
    if constexpr (attends<B> && T.input_gradient)
      primitive_.backward(c, arguments(p, lengths), x, x + Keys, x + Values, y, dy, dx, dx + Keys, dx + Values);
  }

 private:
  [[nodiscard]] static attention_arguments arguments(const pass& p, const token_id* lengths) {
    return {.key_lengths = lengths, .dropout = G.dropout.parts > 0 && p.training ? &p.key : nullptr};
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

/// The same among samples of different lengths: reads rows (T, 3C), and the length of each sample.
template <std::int64_t Heads, attention_options Options>
struct attention_with_lengths {
  using packed = basic_packed_attention<Heads, Options>;
  using extents = std::array<dims, 2>;
  static constexpr std::string_view kind = packed::kind;
  static constexpr layer_traits traits{.operands = 2,
                                       .token_operands = 2,
                                       .remembers_forward = true,
                                       .backward_reads_output = true,
                                       .backward_keeps_gradient = true};
  template <class B>
  static constexpr bool runs_on = attends<B>;

  template <dims Arriving, dims Lengths>
  static consteval void check() {
    static_assert(Lengths == dims{1},
                  "lockstep: attention: the input that key_lengths names is not tokens<1>, the length of each sample");
  }

  /// A length is at most the number of rows.
  [[nodiscard]] static constexpr std::int64_t vocabulary(const extents& in) { return in[0][0] + 1; }
  [[nodiscard]] static constexpr dims output(const extents& in) { return packed::output(in[0]); }
  [[nodiscard]] static constexpr parameter_list parameters(const extents&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const extents& in) { return packed::flops(in[0]); }

  template <class B, node_traits T, extents>
  class op : public packed::template op<B, T> {
    using base = typename packed::template op<B, T>;
    using activation = typename B::activation_type;
    using context = typename B::context;

   public:
    using base::base;

    void forward(context& c, const pass& p, const std::array<const activation*, 2>& x, const activation*, activation* y,
                 const token_id* lengths) {
      base::attend(c, p, lengths, x[0], y);
    }
    void backward(context& c, const pass& p, const joint_backward_arguments<B, 2>& a, const token_id* lengths) {
      base::attend_backward(c, p, lengths, a.x[0], a.y, a.dy, a.dx[0]);
    }
  };
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
    static_assert(options.known && !options.names_bias && !options.has_lengths,
                  "lockstep: attention: takes causal and dropout<>");
    static_assert(options.dropped.valid(), "lockstep: attention: the probability of dropout lies between 0 and 1");
    static_assert(detail::cuts_into_heads(Arriving, 3, Heads),
                  "lockstep: attention: what arrives (Arriving) is not T rows of a query, a key and a value, each of "
                  "as many features, which the number of heads divides");
  }
};

}  // namespace lockstep
