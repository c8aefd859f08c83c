// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/recurrent_geometry.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Recurrent layers by their definition, in double precision, for backends whose memory the host reads.
///
/// With a = weight_ih x + bias_ih, the part of a step's input, and b = weight_hh h + bias_hh, that of the state before:
/// - lstm: i, f, o = sigmoid(a + b), g = tanh(a + b); c' = f c + i g; h' = o tanh(c'). Rows: i, f, g, o.
/// - gru: r, z = sigmoid(a + b); n = tanh(a + r b); h' = (1 - z) n + z h. Rows: r, z, n.
/// - tanh, relu: h' = f(a + b).
/// States begin with zeros, or with what is given.

namespace lockstep::host {

/// What a step of one sample leaves for backward: `values` of four arrays of `hidden` numbers: i, f, g, o of an lstm;
/// r, z, n and b of n of a gru; nothing of the others.
struct recurrent_step {
  double* values;
  const double* h_before;
  double* h;
  const double* c_before;  ///< of an lstm
  double* c;
};

[[nodiscard]] inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Computes h, and c, from a and b.
inline void recurrent_forward(const recurrent_geometry& g, const double* a, const double* b, const recurrent_step& s) {
  const std::int64_t n = g.hidden;
  for (std::int64_t u = 0; u < n; ++u) {
    if (g.cell == recurrent_cell::lstm) {
      const double i = sigmoid(a[u] + b[u]);
      const double f = sigmoid(a[n + u] + b[n + u]);
      const double t = std::tanh(a[2 * n + u] + b[2 * n + u]);
      const double o = sigmoid(a[3 * n + u] + b[3 * n + u]);
      s.c[u] = f * s.c_before[u] + i * t;
      s.h[u] = o * std::tanh(s.c[u]);
      s.values[u] = i;
      s.values[n + u] = f;
      s.values[2 * n + u] = t;
      s.values[3 * n + u] = o;
    } else if (g.cell == recurrent_cell::gru) {
      const double r = sigmoid(a[u] + b[u]);
      const double z = sigmoid(a[n + u] + b[n + u]);
      const double t = std::tanh(a[2 * n + u] + r * b[2 * n + u]);
      s.h[u] = (1 - z) * t + z * s.h_before[u];
      s.values[u] = r;
      s.values[n + u] = z;
      s.values[2 * n + u] = t;
      s.values[3 * n + u] = b[2 * n + u];
    } else {
      const double sum = a[u] + b[u];
      s.h[u] = g.cell == recurrent_cell::tanh ? std::tanh(sum) : sum < 0 ? 0 : sum;
    }
  }
}

/// From dh, the gradient of h, and dc, that of c: the gradients da and db of a and b, and, in place of dh and dc, those
/// of the state before as far as they do not come through b.
inline void recurrent_backward(const recurrent_geometry& g, const recurrent_step& s, double* dh, double* dc, double* da,
                               double* db) {
  const std::int64_t n = g.hidden;
  for (std::int64_t u = 0; u < n; ++u) {
    if (g.cell == recurrent_cell::lstm) {
      const double i = s.values[u];
      const double f = s.values[n + u];
      const double t = s.values[2 * n + u];
      const double o = s.values[3 * n + u];
      const double c = std::tanh(s.c[u]);
      dc[u] += dh[u] * o * (1 - c * c);
      da[u] = dc[u] * t * i * (1 - i);
      da[n + u] = dc[u] * s.c_before[u] * f * (1 - f);
      da[2 * n + u] = dc[u] * i * (1 - t * t);
      da[3 * n + u] = dh[u] * c * o * (1 - o);
      dc[u] *= f;
      dh[u] = 0;
    } else if (g.cell == recurrent_cell::gru) {
      const double r = s.values[u];
      const double z = s.values[n + u];
      const double t = s.values[2 * n + u];
      const double inner = dh[u] * (1 - z) * (1 - t * t);
      da[u] = inner * s.values[3 * n + u] * r * (1 - r);
      da[n + u] = dh[u] * (s.h_before[u] - t) * z * (1 - z);
      da[2 * n + u] = inner;
      db[2 * n + u] = inner * r;
      dh[u] *= z;
    } else {
      const double h = s.h[u];
      da[u] = g.cell == recurrent_cell::tanh ? dh[u] * (1 - h * h) : h <= 0 ? 0 : dh[u];
      dh[u] = 0;
    }
  }
  std::copy_n(da, g.cell == recurrent_cell::gru ? 2 * n : g.rows(), db);
}

/// The primitive by its definition, on activations A and gradients V. Keeps the steps of its last forward pass.
template <class A, class V, recurrent_geometry G>
class recurrent {
 public:
  template <class Context>
  recurrent(Context&, std::int64_t samples)
      : samples_(samples),
        kept_(samples * G.directions * direction_size),
        sums_(G.directions * G.direction_size()),
        dx_(G.in_size()),
        scratch_(2 * G.rows() + 2 * hidden) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  /// `before`, of a layer of one direction, are the states before the first step, state_size() numbers of each sample;
  /// null: states begin with zeros. `after`, unless it is null, becomes those after the last step, and may be `before`.
  template <class Context>
  void forward(Context&, const A* x, const A* w, A* y, const A* before = nullptr, A* after = nullptr) {
    for (std::int64_t s = 0; s < samples_; ++s)
      for (std::int64_t d = 0; d < G.directions; ++d)
        run_forward(s, d, x + s * G.in_size(), {G, d, w}, y + s * G.out_size() + d * hidden,
                    before == nullptr ? nullptr : before + s * G.state_size(),
                    after == nullptr ? nullptr : after + s * G.state_size());
  }

  /// Computes no gradient of the states before the first step. dx may be x.
  template <class Context>
  void backward(Context&, const A* x, const A* dy, const A* w, A* dx, V* dw, bool accumulate) {
    std::fill_n(sums_.data(), sums_.size(), 0.0);
    for (std::int64_t s = 0; s < samples_; ++s) {
      std::fill_n(dx_.data(), dx_.size(), 0.0);
      for (std::int64_t d = 0; d < G.directions; ++d)
        run_backward(s, d, x + s * G.in_size(), dy + s * G.out_size() + d * hidden, {G, d, w});
      if constexpr (G.input_gradient)
        for (std::int64_t i = 0; i < G.in_size(); ++i) dx[s * G.in_size() + i] = static_cast<A>(dx_.data()[i]);
    }
    if constexpr (G.parameter_gradient)
      for (std::int64_t i = 0; i < sums_.size(); ++i)
        dw[i] = static_cast<V>(sums_.data()[i]) + (accumulate ? dw[i] : V{0});
  }

 private:
  static constexpr std::int64_t steps = G.steps;
  static constexpr std::int64_t hidden = G.hidden;
  /// Numbers kept of a step, and of a direction of a sample: states have one more step, before the first.
  static constexpr std::int64_t step_size = 6 * hidden;
  static constexpr std::int64_t direction_size = (steps + 1) * step_size;

  /// Step k of a direction, which is the k-th to be computed.
  [[nodiscard]] recurrent_step step(std::int64_t sample, std::int64_t direction, std::int64_t k) {
    double* const before = kept_.data() + (sample * G.directions + direction) * direction_size + k * step_size;
    double* const now = before + step_size;
    return {.values = now,
            .h_before = before + 4 * hidden,
            .h = now + 4 * hidden,
            .c_before = before + 5 * hidden,
            .c = now + 5 * hidden};
  }
  /// Where that step lies in time.
  [[nodiscard]] static constexpr std::int64_t time(std::int64_t direction, std::int64_t k) {
    return direction == 0 ? k : steps - 1 - k;
  }

  void run_forward(std::int64_t sample, std::int64_t d, const A* x, const recurrent_parameters<const A>& w, A* y,
                   const A* before, A* after) {
    double* const a = scratch_.data();
    double* const b = a + G.rows();
    double* const begin = kept_.data() + (sample * G.directions + d) * direction_size;
    std::fill_n(begin, step_size, 0.0);
    if (before != nullptr) std::copy_n(before, G.state_size(), begin + 4 * hidden);
    for (std::int64_t k = 0; k < steps; ++k) {
      const recurrent_step s = step(sample, d, k);
      const std::int64_t t = time(d, k);
      for (std::int64_t r = 0; r < G.rows(); ++r) {
        a[r] = G.bias ? static_cast<double>(w.bias_ih[r]) : 0.0;
        b[r] = G.bias ? static_cast<double>(w.bias_hh[r]) : 0.0;
        for (std::int64_t i = 0; i < G.in; ++i)
          a[r] += static_cast<double>(x[t * G.in + i]) * static_cast<double>(w.weight_ih[r * G.in + i]);
        for (std::int64_t u = 0; u < hidden; ++u)
          b[r] += s.h_before[u] * static_cast<double>(w.weight_hh[r * hidden + u]);
      }
      recurrent_forward(G, a, b, s);
      if (G.last_state && k != steps - 1) continue;
      for (std::int64_t u = 0; u < hidden; ++u)
        y[(G.last_state ? 0 : t * G.directions * hidden) + u] = static_cast<A>(s.h[u]);
    }
    if (after == nullptr) return;
    const double* const last = begin + steps * step_size + 4 * hidden;
    for (std::int64_t i = 0; i < G.state_size(); ++i) after[i] = static_cast<A>(last[i]);
  }

  void run_backward(std::int64_t sample, std::int64_t d, const A* x, const A* dy,
                    const recurrent_parameters<const A>& w) {
    const recurrent_parameters<double> sums(G, d, sums_.data());
    double* const da = scratch_.data();
    double* const db = da + G.rows();
    double* const dh = db + G.rows();
    double* const dc = dh + hidden;
    std::fill_n(dh, 2 * hidden, 0.0);
    for (std::int64_t k = steps - 1; k >= 0; --k) {
      const recurrent_step s = step(sample, d, k);
      const std::int64_t t = time(d, k);
      if (!G.last_state || k == steps - 1)
        for (std::int64_t u = 0; u < hidden; ++u)
          dh[u] += static_cast<double>(dy[(G.last_state ? 0 : t * G.directions * hidden) + u]);
      recurrent_backward(G, s, dh, dc, da, db);
      for (std::int64_t r = 0; r < G.rows(); ++r) {
        for (std::int64_t i = 0; i < G.in; ++i)
          dx_.data()[t * G.in + i] += da[r] * static_cast<double>(w.weight_ih[r * G.in + i]);
        for (std::int64_t u = 0; u < hidden; ++u) dh[u] += db[r] * static_cast<double>(w.weight_hh[r * hidden + u]);
        if constexpr (!G.parameter_gradient) continue;
        for (std::int64_t i = 0; i < G.in; ++i)
          sums.weight_ih[r * G.in + i] += da[r] * static_cast<double>(x[t * G.in + i]);
        for (std::int64_t u = 0; u < hidden; ++u) sums.weight_hh[r * hidden + u] += db[r] * s.h_before[u];
        if constexpr (G.bias) {
          sums.bias_ih[r] += da[r];
          sums.bias_hh[r] += db[r];
        }
      }
    }
  }

  std::int64_t samples_;
  aligned_buffer<double> kept_;
  aligned_buffer<double> sums_;  ///< the gradients of the parameters in progress
  aligned_buffer<double> dx_;    ///< of one sample
  aligned_buffer<double> scratch_;
};

}  // namespace lockstep::host
