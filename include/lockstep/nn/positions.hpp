// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/nn/layer.hpp>

namespace lockstep {

/// Adds a learned row to each of the T rows that arrive, as GPT-2's embedding of positions: y[t] = x[t] + weight[t],
/// with x and y of (T, C). Parameters: `weight` (Context, C), from N(0, 1), of which T rows are used; Context is at
/// least T.
template <std::int64_t Context>
struct learned_positions {
  static constexpr std::string_view kind = "learned_positions";
  static constexpr layer_traits traits{.rows = row_rule::in_order,
                                       .backward_reads_input = false,
                                       .backward_in_place = true,
                                       .backward_keeps_gradient = true,
                                       .skips_parameter_gradient = true};

  template <class B>
  static constexpr bool runs_on = adds_rows<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(
        Arriving.rank == 2,
        "lockstep: learned_positions: a sample is (T, C), T rows of C values; what arrives (Arriving) is not");
    static_assert(Arriving.rank != 2 || Arriving.extent[0] <= Context,
                  "lockstep: learned_positions: more rows arrive (Arriving) than there are positions (Context)");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    parameter_list list;
    list.add_normal("weight", dims{Context, in.rank == 2 ? in[1] : 1}, 1.0);
    return list;
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }
  [[nodiscard]] static constexpr std::int64_t kept_values(const dims&, std::int64_t) { return 0; }
  /// Rows that come one after the other are no more than these.
  static constexpr std::int64_t most_rows = Context;

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr std::int64_t size = T.in.size();
    static constexpr std::int64_t all = Context * T.in[1];

   public:
    op(context&, std::int64_t samples) : samples_(samples) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    void forward(context& c, const pass& p, const activation* x, const activation* parameters, activation* y) {
      const auto* const row = p.row_of<activation>();
      if constexpr (runs_on<B>)
        B::add_row(c, samples_, size, x, parameters + (row == nullptr ? 0 : row->before * size), y);
    }

    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (runs_on<B>) {
        if constexpr (T.parameter_gradient) {
          B::sum_rows(c, samples_, size, a.dy, a.gradients, a.accumulate);
          if (!a.accumulate && all > size) B::clear(c, all - size, a.gradients + size);
        }
        if constexpr (T.input_gradient)
          if (a.dx != a.dy) B::copy(c, samples_ * size, static_cast<const activation*>(a.dy), a.dx);
      }
    }

   private:
    std::int64_t samples_;
  };
};

/// Adds sine and cosine waves to the T rows of C values that arrive: y[t][2i] = x[t][2i] + sin(t / 10000^(2i / C)), and
/// y[t][2i + 1] the same with the cosine. No parameters. Source: Vaswani et al., "Attention is all you need", 2017.
struct sinusoidal_positions {
  static constexpr std::string_view kind = "sinusoidal_positions";
  static constexpr layer_traits traits{.rows = row_rule::in_order,
                                       .backward_reads_input = false,
                                       .backward_in_place = true,
                                       .backward_keeps_gradient = true};

  template <class B>
  static constexpr bool runs_on = adds_rows<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(
        Arriving.rank == 2,
        "lockstep: sinusoidal_positions: a sample is (T, C), T rows of C values; what arrives (Arriving) is not");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims&) { return parameter_list{}; }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return in.size(); }
  [[nodiscard]] static constexpr std::int64_t kept_values(const dims&, std::int64_t) { return 0; }

  template <class B, node_traits T>
  class op {
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr std::int64_t size = T.in.size();

   public:
    op(context& c, std::int64_t samples) : samples_(samples), waves_(B::template allocate<activation>(c, size)) {
      write_waves(c, 0);
    }
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }
    [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t) {
      return size * std::int64_t{sizeof(activation)};
    }

    void forward(context& c, const pass& p, const activation* x, const activation*, activation* y) {
      if (const auto* const row = p.row_of<activation>()) write_waves(c, row->before);
      if constexpr (runs_on<B>) B::add_row(c, samples_, size, x, waves_.data(), y);
    }

    void backward(context& c, const pass&, const backward_arguments<B>& a) {
      if constexpr (T.input_gradient)
        if (a.dx != a.dy) B::copy(c, samples_ * size, static_cast<const activation*>(a.dy), a.dx);
    }

   private:
    /// The waves of the rows from `first` on.
    void write_waves(context& c, std::int64_t first) {
      constexpr std::int64_t width = T.in[1];
      std::array<activation, static_cast<std::size_t>(width)> waves;
      for (std::int64_t t = 0; t < T.in[0]; ++t) {
        for (std::int64_t i = 0; i < width; ++i) {
          const double turns = static_cast<double>(i / 2 * 2) / static_cast<double>(width);
          const double angle = static_cast<double>(first + t) * std::pow(10000.0, -turns);
          waves[static_cast<std::size_t>(i)] = static_cast<activation>(i % 2 == 0 ? std::sin(angle) : std::cos(angle));
        }
        B::template copy_in<activation>(c, width, waves.data(), waves_.data() + t * width);
      }
    }

    std::int64_t samples_;
    typename B::template buffer<activation> waves_;
  };
};

}  // namespace lockstep
