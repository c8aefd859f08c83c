// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/backend/attention_geometry.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/core/random.hpp>

#include "backend/support.hpp"

/// \file
/// Attention against loops in double that hold all scores of a head.

namespace attention_test {

using namespace lockstep_test;
using ls::attention_geometry;

constexpr float dropped = 0.25F;

/// Queries, keys and values in one array, each row behind another.
constexpr attention_geometry packed(std::int64_t rows, std::int64_t heads, std::int64_t width) {
  const std::int64_t all = heads * width;
  const ls::attention_rows of{.sample = rows * 3 * all, .row = 3 * all};
  return {.queries = rows,
          .keys = rows,
          .heads = heads,
          .width = width,
          .q = of,
          .k = of,
          .v = of,
          .y = {.sample = rows * all, .row = all}};
}
/// Each in an array of its own; rows of queries and outputs lie further apart than they are long.
constexpr attention_geometry separate(std::int64_t queries, std::int64_t keys, std::int64_t heads, std::int64_t width) {
  const std::int64_t all = heads * width;
  const auto rows = [](std::int64_t count, std::int64_t row) {
    return ls::attention_rows{.sample = count * row, .row = row};
  };
  return {.queries = queries,
          .keys = keys,
          .heads = heads,
          .width = width,
          .q = rows(queries, all + 3),
          .k = rows(keys, all),
          .v = rows(keys, all),
          .y = rows(queries, all + 1)};
}
constexpr attention_geometry causal(attention_geometry g) {
  g.causal = true;
  return g;
}
constexpr attention_geometry dropping(attention_geometry g) {
  g.dropout = ls::probability(double{dropped});
  return g;
}

/// The arrays of a pass. Those of queries, keys and values are one where the geometry packs them.
struct arrays {
  doubles q, k, v, y;
};

bool is_packed(const attention_geometry& g) { return g.q.row == 3 * g.heads * g.width; }

struct draws {
  ls::step_values now{.seed = 11, .step = 5, .first_sample = 40};
  std::uint32_t layer = 3;
  std::int64_t first_sample = 2;

  /// Dropout's factor, by its definition in random numbers.
  [[nodiscard]] double factor(const attention_geometry& g, std::int64_t sample, std::int64_t head, std::int64_t query,
                              std::int64_t key) const {
    if (g.dropout.parts == 0) return 1;
    const ls::random_stream stream(ls::seed{now.seed}, ls::random_purpose::dropout, (now.step << 16U) | layer,
                                   static_cast<std::uint64_t>(now.first_sample + first_sample + sample));
    const std::int64_t row = (head * g.queries + query) * ((g.keys + 3) / 4 * 4);
    return stream.uniform(static_cast<std::uint64_t>(row + key)) < dropped ? 0.0 : double{1 / (1 - dropped)};
  }
};

/// What a pass computes of one head of one sample.
class head_loops {
 public:
  head_loops(const attention_geometry& g, double scale, const draws& random, std::int64_t length, std::int64_t sample,
             std::int64_t head)
      : g_(g),
        scale_(scale),
        random_(random),
        length_(length),
        sample_(sample),
        head_(head),
        p_(static_cast<std::size_t>(g.queries * g.keys)) {}

  void forward(const arrays& x, doubles& y) {
    for (std::int64_t i = 0; i < g_.queries; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < g_.keys; ++j) {
        double score = 0;
        for (std::int64_t d = 0; d < g_.width; ++d) score += x.q[in_q(i, d)] * x.k[in_k(x, j, d)];
        sum += p(i, j) = sees(i, j) ? std::exp(scale_ * score) : 0;
      }
      for (std::int64_t j = 0; j < g_.keys; ++j) p(i, j) = sum > 0 ? p(i, j) / sum : 0;
      for (std::int64_t d = 0; d < g_.width; ++d) {
        double value = 0;
        for (std::int64_t j = 0; j < g_.keys; ++j) value += p(i, j) * factor(i, j) * x.v[in_v(x, j, d)];
        y[in_y(i, d)] = value;
      }
    }
  }

  /// After forward, by the chain rule through the matrix of softmax's derivatives.
  void backward(const arrays& x, const doubles& dy, arrays& dx) const {
    for (std::int64_t i = 0; i < g_.queries; ++i) {
      std::vector<double> dp(static_cast<std::size_t>(g_.keys));
      for (std::int64_t j = 0; j < g_.keys; ++j)
        for (std::int64_t d = 0; d < g_.width; ++d)
          dp[static_cast<std::size_t>(j)] += factor(i, j) * dy[in_y(i, d)] * x.v[in_v(x, j, d)];
      for (std::int64_t j = 0; j < g_.keys; ++j) {
        double ds = 0;
        for (std::int64_t m = 0; m < g_.keys; ++m)
          ds += dp[static_cast<std::size_t>(m)] * p(i, m) * ((m == j ? 1 : 0) - p(i, j));
        for (std::int64_t d = 0; d < g_.width; ++d) {
          dx.q[in_q(i, d)] += scale_ * ds * x.k[in_k(x, j, d)];
          (is_packed(g_) ? dx.q : dx.k)[in_k(x, j, d)] += scale_ * ds * x.q[in_q(i, d)];
          (is_packed(g_) ? dx.q : dx.v)[in_v(x, j, d)] += p(i, j) * factor(i, j) * dy[in_y(i, d)];
        }
      }
    }
  }

 private:
  [[nodiscard]] bool sees(std::int64_t i, std::int64_t j) const { return j < length_ && (!g_.causal || j <= i); }
  [[nodiscard]] double factor(std::int64_t i, std::int64_t j) const { return random_.factor(g_, sample_, head_, i, j); }
  [[nodiscard]] double& p(std::int64_t i, std::int64_t j) { return p_[static_cast<std::size_t>(i * g_.keys + j)]; }
  [[nodiscard]] double p(std::int64_t i, std::int64_t j) const { return p_[static_cast<std::size_t>(i * g_.keys + j)]; }
  [[nodiscard]] std::size_t place(const ls::attention_rows& rows, std::int64_t row, std::int64_t d) const {
    return static_cast<std::size_t>(sample_ * rows.sample + row * rows.row + head_ * g_.width + d);
  }
  [[nodiscard]] std::size_t behind(std::int64_t arrays) const {
    return is_packed(g_) ? static_cast<std::size_t>(arrays * g_.heads * g_.width) : 0;
  }
  [[nodiscard]] std::size_t in_q(std::int64_t i, std::int64_t d) const { return place(g_.q, i, d); }
  [[nodiscard]] std::size_t in_k(const arrays&, std::int64_t j, std::int64_t d) const {
    return place(g_.k, j, d) + behind(1);
  }
  [[nodiscard]] std::size_t in_v(const arrays&, std::int64_t j, std::int64_t d) const {
    return place(g_.v, j, d) + behind(2);
  }
  [[nodiscard]] std::size_t in_y(std::int64_t i, std::int64_t d) const { return place(g_.y, i, d); }

  const attention_geometry& g_;
  double scale_;
  const draws& random_;
  std::int64_t length_, sample_, head_;
  std::vector<double> p_;
};

/// What tests vary of a geometry.
struct variation {
  std::int64_t samples = 2;
  std::vector<std::int32_t> lengths{};  ///< of all samples, or none
  double spread = 1;                    ///< of queries and keys
  double scale = 0.7;
  bool in_place = false;
};

/// The elements of a row that belong to no head keep what was there.
doubles with_gaps(const attention_geometry& g, const ls::attention_rows& rows, doubles values, const doubles& was) {
  const std::int64_t used = is_packed(g) && rows == g.q ? rows.row : g.heads * g.width;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (static_cast<std::int64_t>(i) % rows.row >= used) values[i] = was[i];
  return values;
}

template <class B, attention_geometry G>
void check(typename B::context& c, const variation& how = {}) {
  using activation = typename B::activation_type;
  const std::int64_t n = how.samples;
  CAPTURE(B::name, G.queries, G.keys, G.heads, G.width, G.causal, is_packed(G), how.lengths.size(), how.spread);
  // Values that are alike in magnitude, so that an error in any of them shows.
  arrays x{held<B>(uniform(n * G.q.sample, 1, -how.spread, how.spread)), {}, {}, doubles(0)};
  if (is_packed(G)) {
    x.k = x.v = x.q;
  } else {
    x.k = held<B>(uniform(n * G.k.sample, 2, -how.spread, how.spread));
    x.v = held<B>(uniform(n * G.v.sample, 3));
  }
  const doubles dy = held<B>(uniform(n * G.y.sample, 4));
  x.y = filled(n * G.y.sample, 0);
  arrays dx{filled(n * G.q.sample, 0), filled(n * G.k.sample, 0), filled(n * G.v.sample, 0), {}};
  const draws random;
  for (std::int64_t s = 0; s < n; ++s)
    for (std::int64_t h = 0; h < G.heads; ++h) {
      const std::int64_t length = how.lengths.empty() ? G.keys : how.lengths[static_cast<std::size_t>(s)];
      head_loops loops(G, how.scale, random, length, s, h);
      loops.forward(x, x.y);
      loops.backward(x, dy, dx);
    }

  array<B> q(x.q), k(is_packed(G) ? doubles{} : x.k), v(is_packed(G) ? doubles{} : x.v);
  array<B, std::int32_t> lengths(doubles(how.lengths.begin(), how.lengths.end()));
  stored<B, ls::step_values> now(random.now);
  const ls::dropout_key key{.now = now.get(), .layer = random.layer, .first_sample = random.first_sample};
  const ls::attention_arguments a{.key_lengths = how.lengths.empty() ? nullptr : lengths.data(),
                                  .dropout = G.dropout.parts == 0 ? nullptr : &key};
  const doubles before = filled(n * G.y.sample, 77);
  array<B> y(before), pdy(dy);
  const std::int64_t all = G.heads * G.width;
  const auto of = [&](array<B>& first, array<B>& own, std::int64_t place) {
    return is_packed(G) ? first.data() + place * all : own.data();
  };
  // Prepared for more samples than come.
  typename B::template attention<G> op(c, n + 1, how.scale);
  op.set_samples(n);
  op.forward(c, a, q.data(), of(q, k, 1), of(q, v, 2), y.data());
  constexpr double relative = sizeof(typename B::value_type) == 4 ? 1e-5 : 1e-12;
  check_close(y.read(), with_gaps(G, G.y, x.y, before), relative * std::max(1e-30, largest_magnitude(x.y)),
              rounding<B>);

  const auto blank = [&](const doubles& like) { return filled(static_cast<std::int64_t>(like.size()), 78); };
  array<B> dq(blank(x.q)), dk(is_packed(G) ? doubles{} : blank(x.k)), dv(is_packed(G) ? doubles{} : blank(x.v));
  array<B>& to_q = how.in_place ? q : dq;
  array<B>& to_k = how.in_place ? k : dk;
  array<B>& to_v = how.in_place ? v : dv;
  op.backward(c, a, q.data(), of(q, k, 1), of(q, v, 2), static_cast<const activation*>(y.data()), pdy.data(),
              to_q.data(), of(to_q, to_k, 1), of(to_q, to_v, 2));
  const auto compare = [&](array<B>& got, const doubles& want, const ls::attention_rows& rows, const doubles& was) {
    check_close(got.read(), with_gaps(G, rows, want, was), relative * std::max(1e-30, largest_magnitude(want)),
                4 * rounding<B>);
  };
  compare(to_q, dx.q, G.q, how.in_place ? x.q : blank(x.q));
  if (!is_packed(G)) {
    compare(to_k, dx.k, G.k, how.in_place ? x.k : blank(x.k));
    compare(to_v, dx.v, G.v, how.in_place ? x.v : blank(x.v));
  }
  check_close(pdy.read(), dy, 0);
}

template <class B>
void check_all() {
  entered<B> e;
  auto& c = e.context;
  check<B, packed(1, 1, 1)>(c);
  check<B, packed(7, 2, 5)>(c, {.in_place = true});
  check<B, causal(packed(7, 2, 5))>(c);
  // More queries and keys than a tile has, in numbers that fill it and that do not.
  check<B, packed(64, 1, 16)>(c);
  check<B, causal(packed(137, 2, 8))>(c, {.in_place = true});
  check<B, causal(packed(137, 2, 8))>(c, {.lengths = {90, 137}, .spread = 8});
  check<B, separate(40, 70, 1, 33)>(c);
  check<B, causal(packed(70, 1, 64))>(c);
  check<B, separate(1, 150, 3, 4)>(c, {.samples = 3, .lengths = {150, 1, 65}, .in_place = true});
  check<B, causal(separate(20, 70, 1, 3))>(c);
  check<B, causal(separate(70, 20, 1, 3))>(c, {.lengths = {20, 3}});
  // No key counts, and fewer or more than there are.
  check<B, separate(3, 4, 1, 6)>(c, {.samples = 4, .lengths = {0, -2, 4, 9}});
  check<B, dropping(packed(9, 2, 3))>(c);
  check<B, dropping(causal(packed(137, 2, 8)))>(c, {.lengths = {90, 137}});
  check<B, packed(5, 1, 2)>(c, {.samples = 0});
}

}  // namespace attention_test

TEMPLATE_LIST_TEST_CASE("attention and its gradients", "[attention]", lockstep_test::backends) {
  using B = TestType;
  if constexpr (lockstep::attends<B>)
    attention_test::check_all<B>();
  else
    LOCKSTEP_SKIP("the backend has no attention");
}

TEST_CASE("the definition of attention", "[attention]") { attention_test::check_all<lockstep_test::oracle>(); }

TEMPLATE_LIST_TEST_CASE("attention to what is far apart or no number", "[attention]", lockstep_test::backends) {
  using namespace attention_test;
  using B = TestType;
  if constexpr (ls::attends<B>) {
    entered<B> e;
    constexpr attention_geometry g = separate(3, 4, 1, 1);
    const auto run = [&](const doubles& queries, const doubles& keys, const doubles& values,
                         const ls::attention_arguments& a) {
      doubles spaced;
      for (const double each : queries) spaced.insert(spaced.end(), {each, 0, 0, 0});
      array<B> q(spaced), k(keys), v(values), y(filled(6, 77));
      typename B::template attention<g> op(e.context, 1, 1.0);
      op.forward(e.context, a, q.data(), k.data(), v.data(), y.data());
      const doubles all = y.read();
      return doubles{all[0], all[2], all[4]};
    };
    // The largest score has all of the weight, and is taken from the others before their exponentials.
    check_close(run({1e4, -1e4, 0}, {1, -1, 0.5, 0.25}, {1, 2, 3, 4}, {}), {1, 2, 2.5}, 1e-6);
    // A NaN reaches the query that meets it, through its score, and all of them through a key or a value.
    const doubles one = run({poison, 1, 2}, {1, 2, 3, 4}, {1, 1, 1, 1}, {});
    check_close(one, {poison, 1, 1}, 1e-6);
    check_close(run({1, 1, 2}, {1, 2, 3, poison}, {1, 1, 1, 1}, {}), filled(3, poison), 0);
    check_close(run({1, 1, 2}, {1, 2, 3, 4}, {poison, 1, 1, 1}, {}), filled(3, poison), 0);
    check_close(run({1, 1, 2}, {1, 2, infinity, 4}, {1, 1, 1, 1}, {}), filled(3, poison), 0);
    // What is no key of a sample may be anything.
    array<B, std::int32_t> length(doubles{2});
    check_close(run({0, 0, 0}, {1, 2, poison, poison}, {1, 3, poison, infinity}, {.key_lengths = length.data()}),
                filled(3, 2), 1e-6);
  } else {
    LOCKSTEP_SKIP("the backend has no attention");
  }
}

TEST_CASE("attention against differences", "[attention]") {
  using namespace attention_test;
  constexpr attention_geometry g = dropping(causal(packed(5, 2, 3)));
  entered<oracle> e;
  const draws random;
  const ls::dropout_key key{.now = &random.now, .layer = random.layer, .first_sample = random.first_sample};
  const ls::attention_arguments a{.dropout = &key};
  doubles x = uniform(g.q.sample, 1);
  const doubles dy = uniform(g.y.sample, 2);
  oracle::attention<g> op(e.context, 1, g.default_scale());
  const auto loss = [&] {
    doubles y(dy.size());
    op.forward(e.context, a, x.data(), x.data() + 6, x.data() + 12, y.data());
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  doubles dx(x.size());
  op.backward(e.context, a, x.data(), x.data() + 6, x.data() + 12, nullptr, dy.data(), dx.data(), dx.data() + 6,
              dx.data() + 12);
  doubles differences;
  for (double& each : x) {
    const double was = each;
    each = was + 1e-5;
    const double up = loss();
    each = was - 1e-5;
    differences.push_back((up - loss()) / 2e-5);
    each = was;
  }
  check_close(dx, differences, 1e-9);
}
