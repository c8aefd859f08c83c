// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cudnn_graph.hpp"

// Operands are copied, so that each is looked at once where it lies, and the loops over products run over elements that
// lie side by side: with sanitizers, and without, a test takes as long as they do.

namespace emulated {

namespace {

/// Where the elements of x, w and y are in the copies: what belongs to the outputs of one place is together.
struct places {
  extents x, w, y;

  explicit places(const graph& g)
      : x{g.x.size[2] * g.x.size[3] * g.x.size[1], 1, g.x.size[3] * g.x.size[1], g.x.size[1]},
        w{1, g.w.size[0], g.w.size[3] * g.w.size[1] * g.w.size[0], g.w.size[1] * g.w.size[0]},
        y{g.y.size[2] * g.y.size[3] * g.y.size[1], 1, g.y.size[3] * g.y.size[1], g.y.size[1]} {}
};

/// f(where an element of `t` lies, where it lies by other strides)
template <class F>
void each_element(const tensor& t, const extents& other, const F& f) {
  for (std::int64_t a = 0; a < t.size[0]; ++a)
    for (std::int64_t b = 0; b < t.size[1]; ++b)
      for (std::int64_t c = 0; c < t.size[2]; ++c)
        for (std::int64_t d = 0; d < t.size[3]; ++d)
          f(a * t.stride[0] + b * t.stride[1] + c * t.stride[2] + d * t.stride[3],
            a * other[0] + b * other[1] + c * other[2] + d * other[3]);
}

std::vector<float> copy_of(const tensor& t, void* at, const extents& to, engine e) {
  const elements from{at, t.bfloat16};
  std::vector<float> all(static_cast<std::size_t>(t.elements()));
  each_element(t, to, [&](std::int64_t i, std::int64_t own) {
    all[static_cast<std::size_t>(own)] = e == engine::rounding ? rounded(from[i], 13) : from[i];
  });
  return all;
}

/// f(place in x, of the first output in w, of the first in y, how many outputs): each product belongs to one of them.
template <class F>
void each_product(const graph& g, const places& at, const F& f) {
  const auto& [count, out, rows, columns] = g.y.size;
  const std::int64_t in = g.w.size[1];
  const std::int64_t out_of_group = out / (g.x.size[1] / in);
  for (std::int64_t n = 0; n < count; ++n)
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t r = 0; r < g.w.size[2]; ++r) {
        const std::int64_t h = i * g.c.stride[0] - g.c.padding[0] + r * g.c.dilation[0];
        if (h < 0 || h >= g.x.size[2]) continue;
        for (std::int64_t j = 0; j < columns; ++j)
          for (std::int64_t s = 0; s < g.w.size[3]; ++s) {
            const std::int64_t v = j * g.c.stride[1] - g.c.padding[1] + s * g.c.dilation[1];
            if (v < 0 || v >= g.x.size[3]) continue;
            for (std::int64_t c = 0; c < g.x.size[1]; ++c) {
              const std::int64_t first = c / in * out_of_group;  // of the group's outputs
              f(n * at.x[0] + c + h * at.x[2] + v * at.x[3], first + c % in * at.w[1] + r * at.w[2] + s * at.w[3],
                first + n * at.y[0] + i * at.y[2] + j * at.y[3], out_of_group);
            }
          }
      }
}

/// sums[k] += a * b[k]. The sanitizers have seen the operands where they lay, and need not look at the copies.
__attribute__((no_sanitize("address", "undefined"))) void add_products(double* sums, float a, const float* b,
                                                                       std::int64_t n) {
  for (std::int64_t k = 0; k < n; ++k) sums[k] += double{a} * double{b[k]};
}

/// *sum += a[k] * b[k], one after the other.
__attribute__((no_sanitize("address", "undefined"))) void add_product(double* sum, const float* a, const float* b,
                                                                      std::int64_t n) {
  double total = *sum;
  for (std::int64_t k = 0; k < n; ++k) total += double{a[k]} * double{b[k]};
  *sum = total;
}

}  // namespace

void compute(const graph& g, engine e, const operands& at) {
  const places own(g);
  const tensor& result = g.result();
  std::vector<double> sums(static_cast<std::size_t>(result.elements()));
  const bool of_weights = &result == &g.w;
  if (g.forward()) {
    const auto x = copy_of(g.x, at.x, own.x, e);
    const auto w = copy_of(g.w, at.w, own.w, e);
    each_product(g, own, [&](std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t n) {
      add_products(sums.data() + k, x[static_cast<std::size_t>(i)], w.data() + j, n);
    });
  } else if (of_weights) {
    const auto x = copy_of(g.x, at.x, own.x, e);
    const auto y = copy_of(g.y, at.y, own.y, e);
    each_product(g, own, [&](std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t n) {
      add_products(sums.data() + j, x[static_cast<std::size_t>(i)], y.data() + k, n);
    });
  } else {
    const auto w = copy_of(g.w, at.w, own.w, e);
    const auto y = copy_of(g.y, at.y, own.y, e);
    each_product(g, own, [&](std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t n) {
      add_product(sums.data() + i, w.data() + j, y.data() + k, n);
    });
  }
  const elements to{g.forward() ? at.y : of_weights ? at.w : at.x, result.bfloat16};
  const elements bias{at.bias, g.bias.bfloat16};
  const std::int64_t channels = g.y.size[1];
  const bool keeps_nan = g.keeps_nan && channels % 4 != 1;
  each_element(result,
               g.forward()  ? own.y
               : of_weights ? own.w
                            : own.x,
               [&](std::int64_t i, std::int64_t from) {
                 auto value = static_cast<float>(sums[static_cast<std::size_t>(from)]);
                 if (g.biased) value += bias[i / g.y.stride[1] % channels];
                 if (g.relu && !(value > 0) && !(keeps_nan && std::isnan(value))) value = 0;
                 to.put(i, value);
               });
}

}  // namespace emulated
