// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/attention_mask.hpp>
#include <lockstep/core/tensor.hpp>

/// \file
/// Scaled dot-product attention (Vaswani et al., "Attention is all you need", 2017) by its definition, for backends
/// whose memory the host reads.

namespace lockstep::host {

/// The first element that head h has of a row.
template <class T>
[[nodiscard]] T* head_of_row(const attention_geometry& g, const attention_rows& rows, T* array, std::int64_t sample,
                             std::int64_t h, std::int64_t row) {
  return array + sample * rows.sample + row * rows.row + h * g.width;
}

/// What a query's probabilities are, and what dropout makes of them.
struct attention_probabilities {
  double* each;     ///< softmax of scale q.k over the `seen` keys
  double* factors;  ///< by which dropout multiplies them
  std::int64_t seen = 0;
};

template <class A>
void find_probabilities(const attention_geometry& g, double scale, const attention_arguments& a, std::int64_t sample,
                        std::int64_t h, std::int64_t i, const A* q, const A* k, attention_probabilities& p) {
  p.seen = g.seen(i, a.length(g, sample));
  const A* const query = head_of_row(g, g.q, q, sample, h, i);
  double top = -HUGE_VAL;
  for (std::int64_t j = 0; j < p.seen; ++j) {
    const A* const key = head_of_row(g, g.k, k, sample, h, j);
    double score = 0;
    for (std::int64_t d = 0; d < g.width; ++d) score += static_cast<double>(query[d]) * static_cast<double>(key[d]);
    p.each[j] = scale * score;
    top = (std::max)(top, p.each[j]);
  }
  double sum = 0;
  for (std::int64_t j = 0; j < p.seen; ++j) sum += p.each[j] = std::exp(p.each[j] - top);
  for (std::int64_t j = 0; j < p.seen; ++j) p.each[j] /= sum;
  std::fill_n(p.factors, p.seen, 1.0);
  if (a.dropout != nullptr)
    attention_mask(g, *a.dropout, sample).each_factor(h, i, 0, p.seen, [&](std::int64_t j, float factor) {
      p.factors[j] = static_cast<double>(factor);
    });
}

/// Doubles of scratch that forward and backward need.
[[nodiscard]] constexpr std::int64_t attention_scratch(const attention_geometry& g) {
  return 2 * g.keys + (g.queries + 2 * g.keys) * g.width;
}

/// y = sum over the keys that a query sees of p v, with p = softmax(scale q.k) and dropout's factors; 0 where there is
/// no such key.
template <class A>
void attend(const attention_geometry& g, double scale, std::int64_t samples, const attention_arguments& a, const A* q,
            const A* k, const A* v, A* y, double* scratch) {
  attention_probabilities p{.each = scratch, .factors = scratch + g.keys};
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t h = 0; h < g.heads; ++h)
      for (std::int64_t i = 0; i < g.queries; ++i) {
        find_probabilities(g, scale, a, s, h, i, q, k, p);
        A* const to = head_of_row(g, g.y, y, s, h, i);
        for (std::int64_t d = 0; d < g.width; ++d) {
          double sum = 0;
          for (std::int64_t j = 0; j < p.seen; ++j)
            sum += p.each[j] * p.factors[j] * static_cast<double>(head_of_row(g, g.v, v, s, h, j)[d]);
          to[d] = static_cast<A>(sum);
        }
      }
}

/// The gradients of q, k and v, whose arrays may be those themselves: with f dropout's factors,
/// dp = f (dy.v), ds = p (dp - sum of p dp), dq = scale sum of ds k, dk = scale sum of ds q, dv = sum of f p dy.
template <class A>
void attend_backward(const attention_geometry& g, double scale, std::int64_t samples, const attention_arguments& a,
                     const A* q, const A* k, const A* v, const A* dy, A* dq, A* dk, A* dv, double* scratch) {
  attention_probabilities p{.each = scratch, .factors = scratch + g.keys};
  double* const of_queries = scratch + 2 * g.keys;
  double* const of_keys = of_queries + g.queries * g.width;
  double* const of_values = of_keys + g.keys * g.width;
  const auto write = [&](std::int64_t s, std::int64_t h, const attention_rows& rows, std::int64_t count,
                         const double* from, A* to) {
    for (std::int64_t i = 0; i < count * g.width; ++i)
      head_of_row(g, rows, to, s, h, i / g.width)[i % g.width] = static_cast<A>(from[i]);
  };
  for (std::int64_t s = 0; s < samples; ++s)
    for (std::int64_t h = 0; h < g.heads; ++h) {
      std::fill_n(of_queries, (g.queries + 2 * g.keys) * g.width, 0.0);
      for (std::int64_t i = 0; i < g.queries; ++i) {
        find_probabilities(g, scale, a, s, h, i, q, k, p);
        const A* const query = head_of_row(g, g.q, q, s, h, i);
        const A* const gradient = head_of_row(g, g.y, dy, s, h, i);
        const auto of_probability = [&](std::int64_t j) {
          double product = 0;
          for (std::int64_t d = 0; d < g.width; ++d)
            product += static_cast<double>(gradient[d]) * static_cast<double>(head_of_row(g, g.v, v, s, h, j)[d]);
          return p.factors[j] * product;
        };
        double mean = 0;
        for (std::int64_t j = 0; j < p.seen; ++j) mean += p.each[j] * of_probability(j);
        for (std::int64_t j = 0; j < p.seen; ++j) {
          const double of_score = scale * p.each[j] * (of_probability(j) - mean);
          const A* const key = head_of_row(g, g.k, k, s, h, j);
          for (std::int64_t d = 0; d < g.width; ++d) {
            of_queries[i * g.width + d] += of_score * static_cast<double>(key[d]);
            of_keys[j * g.width + d] += of_score * static_cast<double>(query[d]);
            of_values[j * g.width + d] += p.factors[j] * p.each[j] * static_cast<double>(gradient[d]);
          }
        }
      }
      write(s, h, g.q, g.queries, of_queries, dq);
      write(s, h, g.k, g.keys, of_keys, dk);
      write(s, h, g.v, g.keys, of_values, dv);
    }
}

/// The primitive by its definition, on activations A.
template <class A, attention_geometry G>
class attention {
 public:
  template <class Context>
  attention(Context&, std::int64_t samples, double scale)
      : samples_(samples), scale_(scale), scratch_(attention_scratch(G)) {}
  void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

  template <class Context>
  void forward(Context&, const attention_arguments& a, const A* q, const A* k, const A* v, A* y) {
    attend(G, scale_, samples_, a, q, k, v, y, scratch_.data());
  }
  template <class Context>
  void backward(Context&, const attention_arguments& a, const A* q, const A* k, const A* v, const A*, const A* dy,
                A* dq, A* dk, A* dv) {
    attend_backward(G, scale_, samples_, a, q, k, v, dy, dq, dk, dv, scratch_.data());
  }

 private:
  std::int64_t samples_;
  double scale_;
  aligned_buffer<double> scratch_;
};

}  // namespace lockstep::host
