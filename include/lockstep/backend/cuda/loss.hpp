// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/cross_entropy_arguments.hpp>
#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/launch.hpp>
#include <lockstep/backend/cuda/sums.hpp>
#include <lockstep/backend/cuda/transfer.hpp>
#include <lockstep/backend/element_loss.hpp>
#include <lockstep/backend/step_values.hpp>

namespace lockstep::cuda_backend {

/// The most blocks of a loss kernel: fixed, so that the order of the sum does not depend on the device.
inline constexpr std::int64_t most_loss_blocks = 1024;

/// The first thread of each block writes its sum to `sums`; that of a single block adds it to *sum.
inline __device__ void leave_sum(double total, double* sums, double* sum) {
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1)
    *sum += total;
  else
    sums[blockIdx.x] = total;
}

/// The softmax cross entropy of each row, by Team threads a row, and `leave_sum` of the losses. Reads `now` unless
/// dlogits is null. Host counterpart: host::softmax_cross_entropy.
template <class A, int Threads, int Team>
__global__ void __launch_bounds__(Threads)
    cross_entropy_kernel(std::int64_t rows, cross_entropy_arguments a, const A* logits, const std::int64_t* targets,
                         A* dlogits, const step_values* now, double* sums, double* sum) {
  constexpr int teams = Threads / Team;
  __shared__ team_sums<Threads, Team> shared;
  const int lane = static_cast<int>(threadIdx.x) % Team;
  const std::int64_t classes = a.classes;
  const auto weight = [&](std::int64_t k) { return a.class_weights == nullptr ? 1.0 : double{a.class_weights[k]}; };
  const bool smoothed = a.label_smoothing != 0.F;
  const double smooth = double{a.label_smoothing} / static_cast<double>(classes);
  const double sharp = 1.0 - double{a.label_smoothing};
  const double scale = dlogits == nullptr ? 1.0 : now->scale;
  double weight_sum = static_cast<double>(classes);
  if (smoothed && a.class_weights != nullptr) {
    weight_sum = 0;
    for (std::int64_t k = lane; k < classes; k += Team) weight_sum += weight(k);
    weight_sum = shared.sum(weight_sum);
  }

  double total = 0;  // of the team's rows; only the first thread's value counts
  for (std::int64_t r = std::int64_t{blockIdx.x} * teams + threadIdx.x / Team; r < rows;
       r += std::int64_t{gridDim.x} * teams) {
    const auto z = [row = logits + r * classes](std::int64_t k) { return static_cast<float>(row[k]); };
    A* out = dlogits == nullptr ? nullptr : dlogits + r * classes;
    const std::int64_t target = targets[r];
    if (target == a.ignore_index) {
      if (out != nullptr)
        for (std::int64_t k = lane; k < classes; k += Team) out[k] = static_cast<A>(0.F);
      continue;
    }
    float top = -INFINITY;
    for (std::int64_t k = lane; k < classes; k += Team) top = z(k) > top ? z(k) : top;
    top = shared.largest(top);
    double exponentials = 0;
    for (std::int64_t k = lane; k < classes; k += Team) exponentials += double{expf(z(k) - top)};
    exponentials = shared.sum(exponentials);
    const double log_sum = double{top} + log(exponentials);
    const double target_weight = weight(target);
    double loss = sharp * target_weight * (log_sum - double{z(target)});
    if (smoothed) {
      double rest = 0;
      for (std::int64_t k = lane; k < classes; k += Team) rest += weight(k) * (log_sum - double{z(k)});
      loss += smooth * shared.sum(rest);
    }
    total += loss;
    if (out == nullptr) continue;
    // d/dz_c of sum_k q_k (log_sum - z_k), with q the smoothed and weighted target: p_c * sum(q) - q_c.
    const double inverse = (sharp * target_weight + smooth * weight_sum) * scale / exponentials;
    for (std::int64_t k = lane; k < classes; k += Team) {
      const double q = (k == target ? sharp * target_weight : 0.0) + (smoothed ? smooth * weight(k) : 0.0);
      out[k] = static_cast<A>(static_cast<float>(double{expf(z(k) - top)} * inverse - q * scale));
    }
  }
  leave_sum(shared.sum_of_teams(total), sums, sum);
}

/// Squared differences, and `leave_sum` of them. Reads `now` unless dy is null.
template <class A, int Threads>
__global__ void __launch_bounds__(Threads) squared_error_kernel(std::int64_t n, const A* y, const float* t, A* dy,
                                                                const step_values* now, double* sums, double* sum) {
  __shared__ team_sums<Threads, Threads> shared;
  const float factor = dy == nullptr ? 0.F : static_cast<float>(2 * now->scale);
  double total = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * Threads + threadIdx.x; i < n;
       i += std::int64_t{gridDim.x} * Threads) {
    const float difference = static_cast<float>(y[i]) - t[i];
    total += double{difference} * double{difference};
    if (dy != nullptr) dy[i] = static_cast<A>(factor * difference);
  }
  leave_sum(shared.sum(total), sums, sum);
}

/// The rule's values of `n` elements, and `leave_sum` of them; element i has the weight i % size. Reads `now` unless dy
/// is null. Host counterpart: host::element_loss.
template <class A, int Threads, class Rule>
__global__ void __launch_bounds__(Threads)
    element_loss_kernel(std::int64_t n, std::int64_t size, Rule rule, const float* weights, const A* y, const float* t,
                        A* dy, const step_values* now, double* sums, double* sum) {
  __shared__ team_sums<Threads, Threads> shared;
  const float scale = dy == nullptr ? 0.F : static_cast<float>(now->scale);
  double total = 0;
  for (std::int64_t i = std::int64_t{blockIdx.x} * Threads + threadIdx.x; i < n;
       i += std::int64_t{gridDim.x} * Threads) {
    const auto output = static_cast<float>(y[i]);
    const float target = t[i];
    float value = 0;
    float gradient = 0;
    if constexpr (takes_weights<Rule>)
      rule(output, target, weights[i % size], value, gradient);
    else
      rule(output, target, value, gradient);
    total += double{value};
    if (dy != nullptr) dy[i] = static_cast<A>(gradient * scale);
  }
  leave_sum(shared.sum(total), sums, sum);
}

/// A thread for each row takes the log-probability of its target, and `leave_sum` of these. Writes the targets'
/// gradients unless dy is null, and then reads `now`. Host counterpart: host::negative_log_likelihood.
template <class A, int Threads>
__global__ void __launch_bounds__(Threads)
    likelihood_kernel(std::int64_t rows, cross_entropy_arguments a, const A* y, const std::int64_t* targets, A* dy,
                      const step_values* now, double* sums, double* sum) {
  __shared__ team_sums<Threads, Threads> shared;
  const double scale = dy == nullptr ? 1.0 : now->scale;
  double total = 0;
  for (std::int64_t r = std::int64_t{blockIdx.x} * Threads + threadIdx.x; r < rows;
       r += std::int64_t{gridDim.x} * Threads) {
    const std::int64_t target = targets[r];
    if (target == a.ignore_index) continue;
    const double weight = a.class_weights == nullptr ? 1.0 : double{a.class_weights[target]};
    total -= weight * double{static_cast<float>(y[r * a.classes + target])};
    if (dy != nullptr) dy[r * a.classes + target] = static_cast<A>(static_cast<float>(-weight * scale));
  }
  leave_sum(shared.sum(total), sums, sum);
}

/// Calls f(sums), which enqueues a kernel whose blocks write to `sums`, and enqueues another that adds these to *sum. A
/// single block adds to *sum itself: then `sums` is null.
template <class F>
void launch_loss(context& c, std::string_view what, std::int64_t blocks, double* sum, const F& f) {
  auto* sums = blocks == 1 ? nullptr : static_cast<double*>(c.workspace(blocks * std::int64_t{sizeof(double)}));
  f(sums);
  if (blocks > 1) add_sum(c, what, blocks, sums, sum);
}

/// *sum += the losses of `rows` rows, and dlogits = their gradient times now->scale unless dlogits is null: as
/// torch.nn.CrossEntropyLoss(reduction="sum"). A row whose target is a.ignore_index adds nothing. Targets must be
/// valid; all pointers are to the device's memory.
template <class A>
void softmax_cross_entropy(context& c, std::int64_t rows, const cross_entropy_arguments& a, const A* logits,
                           const std::int64_t* targets, A* dlogits, const step_values* now, double* sum) {
  if (rows == 0) return;
  constexpr std::string_view what = "a softmax cross entropy";
  constexpr int warp = 32;
  const auto run = [&](auto* kernel, int threads, std::int64_t blocks) {
    launch_loss(c, what, blocks, sum, [&](double* sums) {
      launch(c, what, kernel, blocks, threads, rows, a, logits, targets, dlogits, now, sums, sum);
    });
  };
  // For so few rows one large block is faster than several blocks and a second kernel that sums over them.
  constexpr int large_block = 1024;
  constexpr std::int64_t few_rows = 2 * large_block / warp;
  if (a.classes > 1024)
    run(cross_entropy_kernel<A, block_threads, block_threads>, block_threads, blocks_for(rows, 1, most_loss_blocks));
  else if (rows <= few_rows)
    run(cross_entropy_kernel<A, large_block, warp>, large_block, 1);
  else
    run(cross_entropy_kernel<A, block_threads, warp>, block_threads,
        blocks_for(rows, block_threads / warp, most_loss_blocks));
}

/// *sum += the sum of (y - t)^2 over n elements, and dy = 2 (y - t) now->scale unless dy is null: as
/// torch.nn.MSELoss(reduction="sum").
template <class A>
void squared_error(context& c, std::int64_t n, const A* y, const float* t, A* dy, const step_values* now, double* sum) {
  if (n == 0) return;
  constexpr std::string_view what = "a squared error";
  const std::int64_t blocks = blocks_for(n, std::int64_t{4} * block_threads, most_loss_blocks);
  launch_loss(c, what, blocks, sum, [&](double* sums) {
    launch(c, what, squared_error_kernel<A, block_threads>, blocks, block_threads, n, y, t, dy, now, sums, sum);
  });
}

/// *sum += the rule's values of `samples` outputs of `size` elements, and dy = its gradients times now->scale unless dy
/// is null. `rule` is trivially copyable, and its function LOCKSTEP_HOST_DEVICE or constexpr.
template <class A, class Rule>
void element_loss(context& c, std::int64_t samples, std::int64_t size, const Rule& rule, const float* weights,
                  const A* y, const float* t, A* dy, const step_values* now, double* sum) {
  static_assert(
      std::is_trivially_copyable_v<Rule>,
      "lockstep: cuda: the rule of a loss (Rule), or the user's function in it, is copied to the device and so "
      "is trivially copyable");
  const std::int64_t n = samples * size;
  if (n == 0) return;
  constexpr std::string_view what = "a loss by element";
  const std::int64_t blocks = blocks_for(n, std::int64_t{4} * block_threads, most_loss_blocks);
  launch_loss(c, what, blocks, sum, [&](double* sums) {
    launch(c, what, element_loss_kernel<A, block_threads, Rule>, blocks, block_threads, n, size, rule, weights, y, t,
           dy, now, sums, sum);
  });
}

/// *sum += the sum of -weight * y[target] over `rows` rows, and dy = its gradient times now->scale unless dy is null:
/// as torch.nn.NLLLoss(reduction="sum"). A row whose target is a.ignore_index adds nothing. Targets must be valid.
template <class A>
void negative_log_likelihood(context& c, std::int64_t rows, const cross_entropy_arguments& a, const A* y,
                             const std::int64_t* targets, A* dy, const step_values* now, double* sum) {
  if (rows == 0) return;
  constexpr std::string_view what = "a negative log-likelihood";
  if (dy != nullptr) clear(c, rows * a.classes, dy);
  const std::int64_t blocks = blocks_for(rows, block_threads, most_loss_blocks);
  launch_loss(c, what, blocks, sum, [&](double* sums) {
    launch(c, what, likelihood_kernel<A, block_threads>, blocks, block_threads, rows, a, y, targets, dy, now, sums,
           sum);
  });
}

}  // namespace lockstep::cuda_backend
