// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/comm/powersgd.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/comm/single.hpp>

#include "comm/ranks.hpp"
#include "support/catch.hpp"
#include "support/difference.hpp"
#include "support/sanitized.hpp"

namespace {

namespace ls = lockstep;
using comm_test::draw;
using comm_test::run_ranks;
using lockstep_test::difference_of;
using lockstep_test::largest_difference;

using matrix = std::vector<double>;  // row by row

/// torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook for one matrix of several ranks, in double and with
/// nothing but loops: means over the ranks, Gram-Schmidt column by column, the residual against the mean.
class reference_powersgd {
 public:
  reference_powersgd(std::size_t world, std::size_t rows, std::size_t columns, std::size_t rank, matrix q)
      : n_(rows), m_(columns), r_(rank), q_(std::move(q)), errors_(world, matrix(rows * columns)) {}

  /// The mean over the ranks, approximately.
  matrix step(std::vector<matrix> inputs) {
    const std::size_t world = inputs.size();
    for (std::size_t w = 0; w < world; ++w)
      for (std::size_t i = 0; i < n_ * m_; ++i) inputs[w][i] += errors_[w][i];
    orthogonalize(q_, m_);
    matrix p(n_ * r_);
    for (const matrix& input : inputs)
      for (std::size_t i = 0; i < n_; ++i)
        for (std::size_t j = 0; j < m_; ++j)
          for (std::size_t k = 0; k < r_; ++k) p[i * r_ + k] += input[i * m_ + j] * q_[j * r_ + k];
    orthogonalize(p, n_);
    q_.assign(m_ * r_, 0);
    for (const matrix& input : inputs)
      for (std::size_t i = 0; i < n_; ++i)
        for (std::size_t j = 0; j < m_; ++j)
          for (std::size_t k = 0; k < r_; ++k)
            q_[j * r_ + k] += input[i * m_ + j] * p[i * r_ + k] / static_cast<double>(world);
    matrix out(n_ * m_);
    for (std::size_t i = 0; i < n_; ++i)
      for (std::size_t j = 0; j < m_; ++j)
        for (std::size_t k = 0; k < r_; ++k) out[i * m_ + j] += p[i * r_ + k] * q_[j * r_ + k];
    for (std::size_t w = 0; w < world; ++w)
      for (std::size_t i = 0; i < n_ * m_; ++i) errors_[w][i] = inputs[w][i] - out[i];
    return out;
  }

 private:
  void orthogonalize(matrix& a, std::size_t rows) const {
    for (std::size_t k = 0; k < r_; ++k) {
      double norm = 0;
      for (std::size_t i = 0; i < rows; ++i) norm += a[i * r_ + k] * a[i * r_ + k];
      for (std::size_t i = 0; i < rows; ++i) a[i * r_ + k] /= std::sqrt(norm);
      for (std::size_t other = k + 1; other < r_; ++other) {
        double shared = 0;
        for (std::size_t i = 0; i < rows; ++i) shared += a[i * r_ + k] * a[i * r_ + other];
        for (std::size_t i = 0; i < rows; ++i) a[i * r_ + other] -= shared * a[i * r_ + k];
      }
    }
  }

  std::size_t n_;
  std::size_t m_;
  std::size_t r_;
  matrix q_;
  std::vector<matrix> errors_;
};

/// The Q that the hook starts from, row by row.
matrix first_q(ls::seed s, int bucket, std::size_t tensor, std::size_t columns, std::size_t rank) {
  const auto stream = ls::detail::powersgd_stream(s, bucket, tensor, 0);
  matrix q(columns * rank);
  std::vector<float> column(columns);
  for (std::size_t k = 0; k < rank; ++k) {
    ls::detail::draw_column(stream, static_cast<int>(k), column);
    for (std::size_t j = 0; j < columns; ++j) q[j * rank + k] = double{column[j]};
  }
  return q;
}

/// Element i of rank w's gradient at a step: a fixed matrix, the rank's own part, and noise.
float gradient(std::size_t w, int step, std::size_t i) {
  return draw(1, 0, i) + 0.3F * draw(2, w, i) + 0.1F * draw(3, static_cast<std::uint64_t>(step) * 16 + w, i);
}

double norm(const matrix& a) {
  double sum = 0;
  for (const double v : a) sum += v * v;
  return std::sqrt(sum);
}

/// A low-rank matrix: sum over k < rank of u_k v_k^T.
std::vector<float> low_rank(std::size_t rows, std::size_t columns, std::size_t rank, std::uint64_t seed) {
  std::vector<float> a(rows * columns);
  for (std::size_t k = 0; k < rank; ++k)
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < columns; ++j) a[i * columns + j] += draw(seed, 2 * k, i) * draw(seed, 2 * k + 1, j);
  return a;
}

ls::bucket_view whole(std::vector<float>& g, const ls::bucket_tensor& t) {
  return {.index = 0, .gradients = g, .tensors = {&t, 1}};
}

}  // namespace

TEST_CASE("PowerSGD on several ranks is PyTorch's algorithm, times the number of ranks", "[comm][powersgd]") {
  constexpr std::size_t rows = 37;
  constexpr std::size_t columns = 50;
  constexpr std::size_t rank = 3;
  constexpr int steps = 12;
  constexpr ls::seed seed{99};
  for (const std::size_t world : {1U, 2U, 3U, 5U}) {
    CAPTURE(world);
    // A bucket of padding, a vector, the matrix, and a matrix too small to gain.
    const std::vector<ls::bucket_tensor> tensors{{2, 11, 1}, {16, rows, columns}, {16 + rows * columns, 4, 4}};
    const std::size_t length = 16 + rows * columns + 16;
    std::vector<std::vector<std::vector<float>>> results(world, std::vector<std::vector<float>>(steps));
    std::vector<std::int64_t> wire(world);
    const auto messages = run_ranks(static_cast<int>(world), [&](auto& c) {
      const auto w = static_cast<std::size_t>(c.rank());
      ls::powersgd_hook hook({.rank = rank, .start_iteration = 0, .seed = seed});
      for (int step = 0; step < steps; ++step) {
        std::vector<float>& g = results[w][static_cast<std::size_t>(step)];
        g.resize(length);
        for (std::size_t i = 0; i < length; ++i) g[i] = gradient(w, step, i);
        hook(c, ls::bucket_view{.index = 4, .gradients = g, .tensors = tensors});
      }
      wire[w] = hook.wire_bytes();
    });
    for (const auto& m : messages) REQUIRE(m.empty());
    CHECK(wire[0] == 4 * steps * std::int64_t{(rows + columns) * rank + length - rows * columns});

    reference_powersgd reference(world, rows, columns, rank, first_q(seed, 4, 1, columns, rank));
    double worst_matrix = 0;
    double worst_rest = 0;
    bool equal = true;
    for (int step = 0; step < steps; ++step) {
      const auto at = static_cast<std::size_t>(step);
      std::vector<matrix> inputs(world, matrix(rows * columns));
      for (std::size_t w = 0; w < world; ++w)
        for (std::size_t i = 0; i < rows * columns; ++i) inputs[w][i] = double{gradient(w, step, 16 + i)};
      const matrix mean = reference.step(inputs);
      for (std::size_t i = 0; i < rows * columns; ++i)
        worst_matrix =
            std::max(worst_matrix, difference_of(double{results[0][at][16 + i]}, static_cast<double>(world) * mean[i]));
      for (std::size_t i = 0; i < length; ++i) {
        if (i >= 16 && i < 16 + rows * columns) continue;
        double sum = 0;
        for (std::size_t w = 0; w < world; ++w) sum += double{gradient(w, step, i)};
        worst_rest = std::max(worst_rest, difference_of(double{results[0][at][i]}, sum));
      }
      for (std::size_t w = 1; w < world; ++w)
        equal = equal && std::memcmp(results[w][at].data(), results[0][at].data(), length * sizeof(float)) == 0;
    }
    CHECK(worst_matrix < 2e-4);  // float against double, over power iterations that feed on each other
    CHECK(worst_rest < 1e-6);
    CHECK(equal);
  }
}

TEST_CASE("a rank as large as the matrix gives the exact sum", "[comm][powersgd]") {
  constexpr std::size_t rows = 9;
  constexpr std::size_t columns = 14;
  constexpr int world = 3;
  std::vector<std::vector<float>> g(world, std::vector<float>(rows * columns));
  const ls::bucket_tensor tensor{0, rows, columns};
  std::vector<double> sums(rows * columns);
  for (std::size_t w = 0; w < world; ++w)
    for (std::size_t i = 0; i < rows * columns; ++i) sums[i] += double{g[w][i] = gradient(w, 0, i)};
  const auto messages = run_ranks(world, [&](auto& c) {
    ls::powersgd_hook hook({.rank = 100, .start_iteration = 0, .min_compression_rate = 0.01});
    hook(c, whole(g[static_cast<std::size_t>(c.rank())], tensor));
    if (hook.wire_bytes() != std::int64_t{4 * (rows + columns) * 9}) throw ls::value_error("rank was not 9");
  });
  for (const auto& m : messages) REQUIRE(m.empty());
  for (std::size_t i = 0; i < rows * columns; ++i) CHECK(double{g[2][i]} == Approx(sums[i]).margin(1e-5));
}

TEST_CASE("a matrix of low rank comes through whole", "[comm][powersgd]") {
  ls::single_rank alone;
  const std::size_t rows = GENERATE(40U, 90U);
  const std::size_t columns = 130U - rows;
  const ls::bucket_tensor tensor{0, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)};
  for (const std::size_t true_rank : {1U, 3U})
    for (const int rank : {1, 3, 4}) {
      CAPTURE(rows, true_rank, rank);
      // A seed whose draws are not nearly orthogonal to the matrices: floats would lose digits to the cancellation.
      ls::powersgd_hook hook({.rank = rank, .start_iteration = 0, .seed = ls::seed{1}});
      for (int step = 0; step < 3; ++step) {
        const std::vector<float> truth = low_rank(rows, columns, true_rank, 10 + static_cast<std::uint64_t>(step));
        std::vector<float> g = truth;
        hook(alone, whole(g, tensor));
        const double difference = largest_difference(g, truth);
        CHECK(std::isfinite(difference));
        if (step == 0 && rank >= static_cast<int>(true_rank)) CHECK(difference < 1e-5);
        if (rank < static_cast<int>(true_rank)) CHECK(difference > 0.01);
      }
    }
}

TEST_CASE("error feedback bounds what PowerSGD loses", "[comm][powersgd]") {
  constexpr std::size_t rows = 24;
  constexpr std::size_t columns = 30;
  constexpr std::size_t size = rows * columns;
  constexpr int world = 2;
  constexpr int steps = LOCKSTEP_TEST_SANITIZED() ? 100 : 400;
  const ls::bucket_tensor tensor{0, rows, columns};
  const auto lost = [&](bool feedback) {
    std::vector<matrix> results(world, matrix(size));
    const auto messages = run_ranks(world, [&](auto& c) {
      const auto w = static_cast<std::size_t>(c.rank());
      ls::powersgd_hook hook({.rank = 2, .start_iteration = 0, .error_feedback = feedback});
      std::vector<float> g(size);
      for (int step = 0; step < steps; ++step) {
        for (std::size_t i = 0; i < size; ++i) g[i] = gradient(w, step, i);
        hook(c, whole(g, tensor));
        for (std::size_t i = 0; i < size; ++i) results[w][i] += double{g[i]};
      }
    });
    for (const auto& m : messages) CHECK(m.empty());
    matrix rest = results[0];
    for (int step = 0; step < steps; ++step)
      for (std::size_t w = 0; w < world; ++w)
        for (std::size_t i = 0; i < size; ++i) rest[i] -= double{gradient(w, step, i)};
    return norm(rest);
  };
  matrix one(size);
  for (std::size_t i = 0; i < size; ++i) one[i] = double{gradient(0, 0, i)} + double{gradient(1, 0, i)};
  // What is still missing is the residual: some steps' worth, about (shorter side) / rank of them, and never more.
  const double with = lost(true);
  const double without = lost(false);
  CAPTURE(with, without, norm(one));
  CHECK(with < 12 * norm(one));
  CHECK(without > steps / 4 * norm(one));
}

TEST_CASE("PowerSGD starts late when told so", "[comm][powersgd]") {
  ls::single_rank alone;
  const ls::bucket_tensor tensor{0, 20, 20};
  ls::powersgd_hook hook({.rank = 1, .start_iteration = 2});
  for (int step = 0; step < 4; ++step) {
    const std::vector<float> truth = low_rank(20, 20, 5, 1);
    std::vector<float> g = truth;
    hook(alone, whole(g, tensor));
    const double difference = largest_difference(g, truth);
    CHECK(std::isfinite(difference));
    CHECK((difference == 0) == (step < 2));
  }
  CHECK(hook.plain_bytes() == 4 * 4 * 400);
  CHECK(hook.wire_bytes() == 4 * (2 * 400 + 2 * 40));
  hook.reset();
  std::vector<float> g = low_rank(20, 20, 5, 1);
  hook(alone, whole(g, tensor));
  CHECK(g == low_rank(20, 20, 5, 1));
}

TEST_CASE("a gradient of zero loses no direction, and NaN no more than its step", "[comm][powersgd]") {
  ls::single_rank alone;
  const ls::bucket_tensor tensor{0, 30, 40};
  const std::vector<float> truth = low_rank(30, 40, 2, 5);
  for (const float bad : {0.F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    ls::powersgd_hook hook({.rank = 3, .start_iteration = 0});
    std::vector<float> g = truth;
    hook(alone, whole(g, tensor));
    if (bad == 0)
      g.assign(g.size(), bad);
    else
      g[77] = bad;
    hook(alone, whole(g, tensor));
    if (bad == 0)
      CHECK(largest_difference(g, std::vector<float>(g.size())) < 1e-5);  // what the first step has left
    else
      CHECK(std::isnan(g[77]));
    g = truth;
    hook(alone, whole(g, tensor));
    CHECK(largest_difference(g, truth) < 1e-5);
  }
}

TEST_CASE("directions that vanish are drawn anew", "[comm][powersgd]") {
  ls::single_rank alone;
  const ls::bucket_tensor tensor{0, 30, 40};
  for (const bool feedback : {false, true}) {
    ls::powersgd_hook hook({.rank = 3, .start_iteration = 0, .error_feedback = feedback});
    // No gradient at all, then one direction, then three: each time Q holds fewer than it needs.
    for (const std::size_t rank : {0U, 1U, 3U}) {
      const std::vector<float> truth = low_rank(30, 40, rank, 5);
      std::vector<float> g = truth;
      hook(alone, whole(g, tensor));
      CHECK(largest_difference(g, truth) < 1e-4);
    }
  }
}

TEST_CASE("draws differ by seed, bucket and tensor; without warm start also by step", "[comm][powersgd]") {
  const auto q = [](std::uint64_t s, int bucket, std::size_t tensor) {
    return first_q(ls::seed{s}, bucket, tensor, 50, 2);
  };
  CHECK(q(1, 0, 0) == q(1, 0, 0));
  CHECK(q(1, 0, 0) != q(2, 0, 0));
  CHECK(q(1, 0, 0) != q(1, 1, 0));
  CHECK(q(1, 0, 0) != q(1, 0, 1));
  // About normal: mean 0, variance 1.
  const matrix many = first_q(ls::seed{4}, 0, 0, 10000, 2);
  double mean = 0;
  for (const double v : many) mean += v / 20000;
  CHECK(std::fabs(mean) < 0.03);
  CHECK(norm(many) / std::sqrt(20000.0) == Approx(1).epsilon(0.03));

  ls::single_rank alone;
  const ls::bucket_tensor tensor{0, 30, 40};
  for (const bool warm : {false, true}) {
    ls::powersgd_hook hook({.rank = 1, .start_iteration = 0, .error_feedback = false, .warm_start = warm});
    const std::vector<float> truth = low_rank(30, 40, 6, 8);
    std::vector<double> loss;
    for (int step = 0; step < 30; ++step) {
      std::vector<float> g = truth;
      hook(alone, whole(g, tensor));
      double sum = 0;
      for (std::size_t i = 0; i < g.size(); ++i) sum += std::pow(double{g[i]} - double{truth[i]}, 2);
      loss.push_back(std::sqrt(sum));
    }
    // A warm start is a power iteration: it settles on the best approximation. Fresh draws stay worse.
    const double spread = difference_of(loss[29], loss[28]);
    CHECK(std::isfinite(spread));
    CHECK((spread < 1e-3 * loss[29]) == warm);
    if (warm) CHECK(loss[29] < loss[0]);
  }
}

TEST_CASE("PowerSGD refuses options and buckets that cannot be", "[comm][powersgd]") {
  CHECK_THROWS_AS(ls::powersgd_hook({.rank = 0}), ls::value_error);
  CHECK_THROWS_AS(ls::powersgd_hook({.start_iteration = -1}), ls::value_error);
  CHECK_THROWS_AS(ls::powersgd_hook({.min_compression_rate = 0}), ls::value_error);
  ls::single_rank alone;
  ls::powersgd_hook hook;
  std::vector<float> g(100);
  const std::vector<ls::bucket_tensor> overlapping{{0, 5, 10}, {49, 5, 10}};
  const std::vector<ls::bucket_tensor> too_long{{0, 5, 10}, {51, 5, 10}};
  const std::vector<ls::bucket_tensor> good{{0, 5, 10}, {50, 5, 10}};
  CHECK_THROWS_WITH(hook(alone, ls::bucket_view{.index = 0, .gradients = g, .tensors = overlapping}),
                    Catch::Contains("tensor 1 of 5 x 10 at 49"));
  CHECK_THROWS_AS(hook(alone, ls::bucket_view{.index = 0, .gradients = g, .tensors = too_long}), ls::value_error);
  CHECK_THROWS_AS(hook(alone, ls::bucket_view{.index = -1, .gradients = g, .tensors = good}), ls::value_error);
  CHECK_NOTHROW(hook(alone, ls::bucket_view{.index = 0, .gradients = g, .tensors = good}));
  CHECK_THROWS_WITH(hook(alone, ls::bucket_view{.index = 0, .gradients = g, .tensors = {}}),
                    Catch::Contains("bucket 0 with the tensors it had before"));
}
