// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "cudnn_graph.hpp"

namespace emulated {

namespace {

/// The product of two elements goes to a third, for each such triple: f(place in x, in w, in y).
template <class F>
void each_product(const graph& g, const F& f) {
  const auto& [count, out, rows, columns] = g.y.size;
  const std::int64_t in = g.w.size[1];
  const std::int64_t out_of_group = out / (g.x.size[1] / in);
  const auto& [x, w, y] = std::tie(g.x.stride, g.w.stride, g.y.stride);
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
              const std::int64_t at_x = n * x[0] + c * x[1] + h * x[2] + v * x[3];
              const std::int64_t at_w = c % in * w[1] + r * w[2] + s * w[3];
              const std::int64_t at_y = n * y[0] + i * y[2] + j * y[3];
              for (std::int64_t k = first; k < first + out_of_group; ++k) f(at_x, at_w + k * w[0], at_y + k * y[1]);
            }
          }
      }
}

}  // namespace

void compute(const graph& g, engine e, const operands& at) {
  const auto read = [](const tensor& t, void* p) { return elements{p, t.bfloat16}; };
  const elements x = read(g.x, at.x);
  const elements w = read(g.w, at.w);
  const elements y = read(g.y, at.y);
  const tensor& result = g.result();
  std::vector<double> sums(static_cast<std::size_t>(result.elements()));
  const auto add_up = [&](const auto& product) {
    const auto add = [&](std::int64_t i, float a, float b) { sums[static_cast<std::size_t>(i)] += product(a, b); };
    if (g.forward())
      each_product(g, [&](auto at_x, auto at_w, auto at_y) { add(at_y, x[at_x], w[at_w]); });
    else if (&result == &g.w)
      each_product(g, [&](auto at_x, auto at_w, auto at_y) { add(at_w, x[at_x], y[at_y]); });
    else
      each_product(g, [&](auto at_x, auto at_w, auto at_y) { add(at_x, w[at_w], y[at_y]); });
  };
  if (e == engine::rounding)
    add_up([](float a, float b) { return double{rounded(a, 13)} * double{rounded(b, 13)}; });
  else
    add_up([](float a, float b) { return double{a} * double{b}; });
  const elements to = g.forward() ? y : &result == &g.w ? w : x;
  const elements bias = read(g.bias, at.bias);
  const std::int64_t channels = g.y.size[1];
  const bool keeps_nan = g.keeps_nan && channels % 4 != 1;
  for (std::int64_t i = 0; i < result.elements(); ++i) {
    auto value = static_cast<float>(sums[static_cast<std::size_t>(i)]);
    if (g.biased) value += bias[i / g.y.stride[1] % channels];
    if (g.relu && !(value > 0) && !(keeps_nan && std::isnan(value))) value = 0;
    to.put(i, value);
  }
}

}  // namespace emulated
