// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include <lockstep/backend/cpu/array.hpp>
#include <lockstep/backend/cpu/context.hpp>
#include <lockstep/backend/cpu/onednn.hpp>
#include <lockstep/backend/cpu/recurrent/backward.hpp>
#include <lockstep/backend/cpu/recurrent/forward.hpp>
#include <lockstep/backend/cpu/recurrent/panels.hpp>
#include <lockstep/backend/cpu/recurrent/weight_gradient.hpp>
#include <lockstep/backend/cpu/simd.hpp>
#include <lockstep/backend/cpu/weights_version.hpp>
#include <lockstep/backend/host_recurrent.hpp>
#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/core/tensor.hpp>

namespace lockstep::cpu_backend {

namespace recurrence {

/// to (columns x rows x size) = from (rows x columns x size).
inline void exchange(std::int64_t rows, std::int64_t columns, std::int64_t size, const float* from, float* to) {
  for (std::int64_t c = 0; c < columns; ++c)
    for (std::int64_t r = 0; r < rows; ++r, to += size) std::copy_n(from + (r * columns + c) * size, size, to);
}

/// What one direction keeps of a forward pass, by steps, then samples. Geometries are values: layers share this code.
///
/// One product serves the inputs of all steps, and one each gives the gradients of both weights and of the inputs; in
/// between, each step multiplies the states of all samples with weight_hh. Steps lie one after the other, so that what
/// a step reads is contiguous.
class direction {
 public:
  direction(const recurrent_geometry& g, std::int64_t samples)
      : g_(g),
        kept_(g.steps * samples * kept_row()),
        states_((g.steps + 1) * samples * g.hidden),
        cells_(is_lstm() ? (g.steps + 1) * samples * g.hidden : 0),
        forward_panels_(panels_size(g.gates(), g.hidden)),
        backward_panels_(panels_size(g.gates(), g.hidden)),
        bias_(kept_row()) {}

  /// Floats that a direction keeps.
  [[nodiscard]] static constexpr std::int64_t size(const recurrent_geometry& g, std::int64_t samples) {
    const std::int64_t arrays = kept_of(g.cell) + (g.cell == recurrent_cell::lstm ? 2 : 1);
    return (g.steps + 1) * samples * arrays * g.hidden + 2 * panels_size(g.gates(), g.hidden);
  }
  /// Floats of scratch for `backward`: gradients of states, cells and biases, and of a weight.
  [[nodiscard]] static constexpr std::int64_t scratch(const recurrent_geometry& g, std::int64_t samples) {
    return 2 * samples * padded(g.hidden, widest) + kept_of(g.cell) * g.hidden +
           (std::max)(gradient_scratch(g.rows(), g.in), gradient_scratch(g.rows(), g.hidden));
  }

  /// `x` are the inputs by steps. Calls f(time, states) after each step. `before` and `after`: see host::recurrent.
  template <class V, recurrent_cell Cell, class F>
  void forward(context& c, std::int64_t samples, bool reverse, const float* x,
               const recurrent_parameters<const float>& w, const float* before, float* after, const F& f) {
    onednn::sgemm('N', 'T', g_.steps * samples, g_.rows(), g_.in, x, g_.in, w.weight_ih, g_.in, 0.F, kept_.data(),
                  kept_row());
    if (forward_version_.changed(c, w.weight_hh))
      run_for<V, pack_forward>(g_.gates(), g_.hidden, w.weight_hh, forward_panels_.data());
    add_biases(w);
    const std::int64_t begin = (reverse ? g_.steps : 0) * samples * g_.hidden;
    begins_with_zeros_ = before == nullptr;
    if (before != nullptr) {
      each_state<Cell>(samples, begin, before,
                       [&](float* own, const float* user) { std::copy_n(user, g_.hidden, own); });
    } else {
      std::fill_n(states_.data() + begin, samples * g_.hidden, 0.F);
      if constexpr (Cell == recurrent_cell::lstm) std::fill_n(cells_.data() + begin, samples * g_.hidden, 0.F);
    }
    for (std::int64_t k = 0; k < g_.steps; ++k) {
      const places at(*this, samples, reverse, k);
      recurrence::forward<V, Cell>({.samples = samples,
                                    .hidden = g_.hidden,
                                    .first = k == 0 && before == nullptr,
                                    .panels = forward_panels_.data(),
                                    .bias = bias_.data(),
                                    .before = states_.data() + at.before,
                                    .cells_before = cells_at(at.before),
                                    .kept = kept_.data() + at.kept,
                                    .cells = cells_at(at.after),
                                    .states = states_.data() + at.after});
      f(at.time, static_cast<const float*>(states_.data() + at.after));
      if (after != nullptr && k + 1 == g_.steps)
        each_state<Cell>(samples, at.after, after, [&](float* own, float* user) { std::copy_n(own, g_.hidden, user); });
    }
  }

  /// Writes the gradients of the gates where their values were, and those of the parameters. dy(time) is where the
  /// gradients of a step's states begin, or null; they lie `dy_row` apart.
  template <class V, recurrent_cell Cell, class Dy>
  void backward(context& c, std::int64_t samples, bool reverse, const float* x, const Dy& dy, std::int64_t dy_row,
                const recurrent_parameters<const float>& w, const recurrent_parameters<float>* dw, bool accumulate,
                float* scratch) {
    if (backward_version_.changed(c, w.weight_hh))
      pack_backward<V>(g_.rows(), g_.hidden, w.weight_hh, backward_panels_.data());
    const std::int64_t row = padded(g_.hidden, widest);
    float* const d_states = scratch;
    float* const d_cells = d_states + samples * row;
    float* const d_bias = d_cells + samples * row;
    float* const products = d_bias + kept_row();
    std::fill_n(scratch, 2 * samples * row + kept_row(), 0.F);
    for (std::int64_t k = g_.steps - 1; k >= 0; --k) {
      const places at(*this, samples, reverse, k);
      run_for<V, backward_cells<Cell>>(backward_step{.samples = samples,
                                                     .hidden = g_.hidden,
                                                     .row = row,
                                                     .dy = dy(at.time),
                                                     .dy_row = dy_row,
                                                     .before = states_.data() + at.before,
                                                     .states = states_.data() + at.after,
                                                     .cells_before = cells_at(at.before),
                                                     .cells = cells_at(at.after),
                                                     .kept = kept_.data() + at.kept,
                                                     .d_states = d_states,
                                                     .d_cells = d_cells,
                                                     .d_bias = d_bias});
      if (k > 0)
        multiply_backward<V>({.hidden = g_.hidden,
                              .row = row,
                              .kept_row = kept_row(),
                              .depth = shared_rows(),
                              .skip = 3 * g_.hidden,
                              .more = g_.rows() - shared_rows(),
                              .kept = kept_.data() + at.kept,
                              .d_states = d_states},
                             backward_panels_.data(), samples);
    }
    if (dw != nullptr) write_gradients<V>(samples, reverse, x, d_bias, *dw, accumulate, products);
  }

  /// dx (+)= the gradients of the gates * weight_ih, by steps.
  void input_gradient(std::int64_t samples, const recurrent_parameters<const float>& w, bool add, float* dx) {
    onednn::sgemm('N', 'N', g_.steps * samples, g_.in, g_.rows(), kept_.data(), kept_row(), w.weight_ih, g_.in,
                  add ? 1.F : 0.F, dx);
  }

 private:
  /// Calls f(a state, the user's) for the states of each sample that begin at `at`, and for its cells.
  template <recurrent_cell Cell, class Float, class F>
  void each_state(std::int64_t samples, std::int64_t at, Float* user, const F& f) {
    for (std::int64_t s = 0; s < samples; ++s, user += g_.state_size()) {
      f(states_.data() + at + s * g_.hidden, user);
      if constexpr (Cell == recurrent_cell::lstm) f(cells_.data() + at + s * g_.hidden, user + g_.hidden);
    }
  }

  /// Where the arrays of the k-th step begin.
  struct places {
    std::int64_t time, before, after, kept;

    places(const direction& d, std::int64_t samples, bool reverse, std::int64_t k)
        : time(reverse ? d.g_.steps - 1 - k : k),
          before((reverse ? time + 1 : time) * samples * d.g_.hidden),
          after((reverse ? time : time + 1) * samples * d.g_.hidden),
          kept(time * samples * d.kept_row()) {}
  };

  /// Where cells begin; null where there are none.
  [[nodiscard]] float* cells_at(std::int64_t offset) { return is_lstm() ? cells_.data() + offset : nullptr; }
  [[nodiscard]] bool is_lstm() const { return g_.cell == recurrent_cell::lstm; }
  [[nodiscard]] std::int64_t kept_row() const { return kept_of(g_.cell) * g_.hidden; }
  /// Rows of both weights whose gradients are the same: all but those of a gru's n.
  [[nodiscard]] std::int64_t shared_rows() const { return g_.cell == recurrent_cell::gru ? 2 * g_.hidden : g_.rows(); }

  void add_biases(const recurrent_parameters<const float>& w) {
    if (!g_.bias) return;
    float* const bias = bias_.data();
    for (std::int64_t r = 0; r < g_.rows(); ++r)
      bias[r] = r < shared_rows() ? w.bias_ih[r] + w.bias_hh[r] : w.bias_ih[r];
    std::copy(w.bias_hh + shared_rows(), w.bias_hh + g_.rows(), bias + g_.rows());
  }

  template <class V>
  void write_gradients(std::int64_t samples, bool reverse, const float* x, const float* d_bias,
                       const recurrent_parameters<float>& dw, bool accumulate, float* scratch) {
    const auto product = [&](std::int64_t rows, std::int64_t columns, std::int64_t n, const float* gates,
                             const float* values, float* to) {
      weight_gradient<V>({.rows = rows,
                          .columns = columns,
                          .n = n,
                          .gate_row = kept_row(),
                          .gates = gates,
                          .values = values,
                          .dw = to,
                          .accumulate = accumulate},
                         scratch);
    };
    product(g_.rows(), g_.in, g_.steps * samples, kept_.data(), x, dw.weight_ih);
    // States before the first step that are zeros have no part in the products. Only what reads forward is given
    // others.
    const std::int64_t zeros = begins_with_zeros_ ? samples : 0;
    const float* const gates = kept_.data() + (reverse ? 0 : zeros * kept_row());
    const float* const before = states_.data() + zeros * g_.hidden;
    const std::int64_t n = g_.steps * samples - zeros;
    product(shared_rows(), g_.hidden, n, gates, before, dw.weight_hh);
    if (shared_rows() < g_.rows())
      product(g_.rows() - shared_rows(), g_.hidden, n, gates + 3 * g_.hidden, before,
              dw.weight_hh + shared_rows() * g_.hidden);
    if (!g_.bias) return;
    const auto write = [&](std::int64_t count, const float* from, float* to) {
      for (std::int64_t r = 0; r < count; ++r) to[r] = accumulate ? to[r] + from[r] : from[r];
    };
    write(g_.rows(), d_bias, dw.bias_ih);
    write(shared_rows(), d_bias, dw.bias_hh);
    write(g_.rows() - shared_rows(), d_bias + 3 * g_.hidden, dw.bias_hh + shared_rows());
  }

  recurrent_geometry g_;
  aligned_buffer<float> kept_;
  aligned_buffer<float> states_;  ///< one step more than there are: before the first
  aligned_buffer<float> cells_;
  aligned_buffer<float> forward_panels_;
  aligned_buffer<float> backward_panels_;
  aligned_buffer<float> bias_;
  weights_version forward_version_;
  weights_version backward_version_;
  bool begins_with_zeros_ = true;  ///< in the last forward pass
};

}  // namespace recurrence

/// See host_recurrent.hpp.
template <recurrent_geometry G>
class recurrent {
  using definition = host::recurrent<float, float, G>;
  using parameters = recurrent_parameters<const float>;

 public:
  recurrent(context& c, std::int64_t samples) : samples_(samples) {
    if (!has_avx2()) {
      definition_ = std::make_unique<definition>(c, samples);
      return;
    }
    for (auto& each : directions_) each = std::make_unique<recurrence::direction>(G, samples);
  }
  /// Sets the number of samples of the next passes, at most the number given to the constructor.
  void set_samples(std::int64_t samples) noexcept {
    samples_ = samples;
    if (definition_) definition_->set_samples(samples);
  }
  [[nodiscard]] static constexpr std::int64_t kept_bytes(std::int64_t samples) {
    return G.directions * recurrence::direction::size(G, samples) * static_cast<std::int64_t>(sizeof(float));
  }

  /// See host::recurrent.
  void forward(context& c, const float* x, const float* w, float* y, const float* before = nullptr,
               float* after = nullptr) {
    if (definition_) return definition_->forward(c, x, w, y, before, after);
    const float* const by_steps = inputs_by_steps(x, c.workspace(samples_ * G.in_size()));
    with_widest([&]<class V>(std::type_identity<V>) {
      for (std::int64_t d = 0; d < G.directions; ++d) {
        float* const to = y + d * G.hidden;
        const auto write = [&](std::int64_t time, const float* states) {
          if (G.last_state && time != last(d)) return;
          float* const row = to + (G.last_state ? 0 : time * G.directions * G.hidden);
          for (std::int64_t s = 0; s < samples_; ++s)
            std::copy_n(states + s * G.hidden, G.hidden, row + s * G.out_size());
        };
        directions_[d]->template forward<V, G.cell>(c, samples_, d == 1, by_steps, parameters(G, d, w), before, after,
                                                    write);
      }
    });
  }

  /// dx may be x.
  void backward(context& c, const float* x, const float* dy, const float* w, float* dx, float* dw, bool accumulate) {
    if (definition_) return definition_->backward(c, x, dy, w, dx, dw, accumulate);
    const std::int64_t size = samples_ * G.in_size();
    float* const inputs = c.workspace(2 * size + recurrence::direction::scratch(G, samples_));
    float* const d_inputs = inputs + size;
    float* const scratch = d_inputs + size;
    const float* const by_steps = G.parameter_gradient ? inputs_by_steps(x, inputs) : nullptr;
    with_widest([&]<class V>(std::type_identity<V>) {
      for (std::int64_t d = 0; d < G.directions; ++d) {
        const auto from = [&](std::int64_t time) -> const float* {
          if (G.last_state) return time == last(d) ? dy + d * G.hidden : nullptr;
          return dy + (time * G.directions + d) * G.hidden;
        };
        std::optional<recurrent_parameters<float>> gradients;
        if constexpr (G.parameter_gradient) gradients.emplace(G, d, dw);
        directions_[d]->template backward<V, G.cell>(c, samples_, d == 1, by_steps, from, G.out_size(),
                                                     parameters(G, d, w), gradients ? &*gradients : nullptr, accumulate,
                                                     scratch);
      }
    });
    if constexpr (G.input_gradient) {
      float* const to = samples_ == 1 ? dx : d_inputs;
      for (std::int64_t d = 0; d < G.directions; ++d)
        directions_[d]->input_gradient(samples_, parameters(G, d, w), d > 0, to);
      if (to != dx) recurrence::exchange(G.steps, samples_, G.in, to, dx);
    }
  }

 private:
  /// The time of a direction's last step.
  [[nodiscard]] static constexpr std::int64_t last(std::int64_t direction) { return direction == 0 ? G.steps - 1 : 0; }

  /// x by steps, then samples: x itself, or `to` with a copy.
  [[nodiscard]] const float* inputs_by_steps(const float* x, float* to) const {
    if (samples_ == 1 || G.steps == 1) return x;
    recurrence::exchange(samples_, G.steps, G.in, x, to);
    return to;
  }

  std::int64_t samples_;
  std::unique_ptr<definition> definition_;  ///< where the machine lacks AVX2
  array_of<std::unique_ptr<recurrence::direction>, G.directions> directions_;
};

}  // namespace lockstep::cpu_backend
