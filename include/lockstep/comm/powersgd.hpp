// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/low_rank.hpp>
#include <lockstep/comm/single.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>

namespace lockstep {

/// The defaults are those of torch.distributed's PowerSGDState.
struct powersgd_options {
  int rank = 1;                         ///< of the approximation, limited to a matrix's shorter side
  std::int64_t start_iteration = 1000;  ///< the number of steps that are reduced in full first
  double min_compression_rate = 2;      ///< a matrix is compressed if (rows + columns) * rank * this < rows * columns
  bool error_feedback = true;           ///< adds what a step leaves out to the next one; 8 bytes per parameter
  bool warm_start = true;               ///< starts a step from the last step's Q; if false, from a new draw
  struct seed seed = {};                ///< of the draws: the same on all ranks
};

namespace detail {

/// The purpose of PowerSGD's draws. Its number is far above those that core counts up from 1.
inline constexpr auto powersgd_purpose = static_cast<random_purpose>(0x50534744U);

/// Fills a column of Q with roughly normal draws of mean 0 and variance 1. They are exact sums of uniforms, without a
/// logarithm, so that ranks with different mathematics libraries draw the same bits.
inline void draw_column(const random_stream& stream, int k, std::span<float> column) {
  const std::uint64_t first = static_cast<std::uint64_t>(k) * column.size();
  for (std::size_t i = 0; i < column.size(); ++i) {
    const auto bits = stream.block(first + i);
    float sum = -2;
    for (const std::uint32_t b : bits) sum += to_unit_float(b);
    column[i] = sum * 1.7320508F;
  }
}

/// The stream of draws for tensor number `tensor` of a bucket at a step.
[[nodiscard]] inline random_stream powersgd_stream(seed s, int bucket, std::size_t tensor, std::int64_t step) {
  return {s, powersgd_purpose, (static_cast<std::uint64_t>(bucket) << 32U) | tensor, static_cast<std::uint64_t>(step)};
}

}  // namespace detail

/// Reduces matrices as products of two thin factors: PowerSGD (Vogels, Karimireddy, Jaggi, "PowerSGD: practical
/// low-rank gradient compression for distributed optimization", NeurIPS 2019), after torch.distributed's powerSGD_hook:
///
///   M += residual;  P = all_reduce(M Q);  P = orthonormal columns of P;  Q = all_reduce(M^T P);  result = P Q^T
///
/// Vectors, matrices too small to gain, and padding between tensors are reduced uncompressed, in one message with P.
/// The result is the sum over the ranks (the loss has divided by the global denominator), with the same bits on all.
///
/// The hook reads a tensor as rows x columns, row-major. A backend that stores the transposed matrix must swap the
/// extents: the method compresses a matrix and its transpose equally well, but unswapped extents cut the data into rows
/// that are not the matrix's and have no low rank.
///
/// Where this differs from PyTorch's hook:
/// - the residual is M minus this rank's own product P (M^T P)^T, as in the paper. PyTorch keeps M minus the mean over
///   the ranks. Both residuals have the same sum over the ranks, and only the sum enters a result, but PyTorch's
///   residuals also collect the ranks' differences, without bound;
/// - a direction that vanishes (a gradient of zero, or of lower rank than the approximation) is drawn anew. PyTorch
///   divides by zero, or with its epsilon loses the direction for good;
/// - the result passes on a NaN or an infinity, and the tensor then starts over without a residual;
/// - compression may start at step 0, because buckets never change here.
///
/// The first call for a bucket and its first compressed step allocate; other calls do not. Cost per matrix and step: 3
/// products of 2 rows * columns * rank flops, 4 with error feedback; (rows + columns) * rank floats sent, in two
/// messages.
class powersgd_hook {
 public:
  /// Throws value_error for a rank below 1, a start iteration below 0 or a minimum compression rate not above 0.
  explicit powersgd_hook(const powersgd_options& options = {}) : options_(options) {
    if (options.rank < 1) throw value_error("powersgd_hook", "a rank of 1 or more", std::to_string(options.rank));
    if (options.start_iteration < 0)
      throw value_error("powersgd_hook", "a start iteration from 0", std::to_string(options.start_iteration));
    if (!(options.min_compression_rate > 0))
      throw value_error("powersgd_hook", "a minimum compression rate above 0",
                        std::to_string(options.min_compression_rate));
  }

  /// Throws value_error when a bucket's index is negative, when tensors overlap, are out of order or reach past their
  /// bucket, and when a bucket's length or tensors have changed.
  template <communicator C>
  void operator()(C& c, const bucket_view& bucket) {
    bucket_state& state = state_of(bucket);
    state.open_step();
    const std::int64_t step = state.steps++;
    plain_bytes_ += bytes(bucket.gradients.size());
    if (step < options_.start_iteration || state.matrices.empty()) {
      c.all_reduce(bucket.gradients);
      wire_bytes_ += bytes(bucket.gradients.size());
      return;
    }
    allocate(state);
    state.keep_factors();
    float* gradients = bucket.gradients.data();

    for (matrix& m : state.matrices) {
      if (options_.error_feedback) {
        const float* before = state.residuals_before.data() + m.residual;
        float* residual = state.residuals.data() + m.residual;
        for (std::int64_t i = 0; i < m.tensor.size(); ++i) residual[i] = before[i] + gradients[m.tensor.offset + i];
      }
      prepare_q(state, m, bucket.index, step);
      detail::multiply(m.tensor.rows, m.tensor.columns, m.rank, input(state, m, gradients), m.q(state), m.p(state));
    }
    pack(state, gradients, true);
    c.all_reduce(std::span<float>(state.first));
    pack(state, gradients, false);

    for (matrix& m : state.matrices) {
      float* p = m.p(state);
      for (int k = 0; k < m.rank; ++k) detail::orthonormalize_column(m.tensor.rows, k, p);
      detail::multiply_transposed(m.tensor.rows, m.tensor.columns, m.rank, input(state, m, gradients), p, m.q(state));
      if (options_.error_feedback)
        detail::add_product(m.tensor.rows, m.tensor.columns, m.rank, -1, p, m.q(state),
                            state.residuals.data() + m.residual);
    }
    c.all_reduce(std::span<float>(state.second));

    for (matrix& m : state.matrices) {
      float* out = gradients + m.tensor.offset;
      std::fill_n(out, m.tensor.size(), 0.F);
      detail::add_product(m.tensor.rows, m.tensor.columns, m.rank, 1, m.p(state), m.q(state), out);
      // The factors have the same bits on all ranks, so every rank decides alike.
      m.fresh = !detail::all_finite(m.tensor.rows * m.rank, m.p(state)) ||
                !detail::all_finite(m.tensor.columns * m.rank, m.q(state));
      if (m.fresh && options_.error_feedback) std::fill_n(state.residuals.data() + m.residual, m.tensor.size(), 0.F);
    }
    wire_bytes_ += bytes(state.first.size()) + bytes(state.second.size());
  }

  /// Bytes of gradients and factors that this rank has sent.
  [[nodiscard]] std::int64_t wire_bytes() const noexcept { return wire_bytes_; }

  /// Bytes that this rank would have sent without compression.
  [[nodiscard]] std::int64_t plain_bytes() const noexcept { return plain_bytes_; }

  /// Forgets residuals, factors and the number of steps.
  void reset() { states_.clear(); }

  /// Keeps what the last step has changed.
  void commit() noexcept {
    for (bucket_state& state : states_) state.open = false;
  }
  /// Undoes what the last step has changed.
  void rollback() noexcept {
    for (bucket_state& state : states_) state.undo_step();
  }
  [[nodiscard]] bool has_state() const noexcept { return !states_.empty(); }

 private:
  struct bucket_state;

  struct matrix {
    bucket_tensor tensor;
    std::size_t number = 0;  ///< of the tensor in the bucket
    int rank = 0;
    std::int64_t first = 0;     ///< offset of P in the first message
    std::int64_t second = 0;    ///< offset of Q in the second message
    std::int64_t residual = 0;  ///< offset in the residuals
    bool fresh = true;          ///< Q has no direction yet
    bool fresh_before = true;   ///< `fresh` before the open step

    [[nodiscard]] float* p(bucket_state& s) const { return s.first.data() + first; }
    [[nodiscard]] float* q(bucket_state& s) const { return s.second.data() + second; }
  };

  /// A piece of the bucket that is reduced uncompressed.
  struct piece {
    std::int64_t offset = 0;
    std::int64_t size = 0;
  };

  struct bucket_state {
    bool known = false;
    std::int64_t steps = 0;
    std::size_t length = 0;
    std::vector<bucket_tensor> tensors;
    std::vector<matrix> matrices;
    std::vector<piece> pieces;
    std::int64_t pieces_at = 0;  ///< offset of the pieces in the first message
    std::int64_t first_length = 0;
    std::int64_t second_length = 0;
    std::int64_t residual_length = 0;
    std::vector<float> first;   ///< every P, then the pieces
    std::vector<float> second;  ///< every Q
    std::vector<float> residuals;
    // The open step, and what its members *_before held before it.
    bool open = false;
    bool factored = false;  ///< the open step has changed factors and residuals
    std::int64_t steps_before = 0;
    std::vector<float> second_before;
    std::vector<float> residuals_before;

    void open_step() noexcept {
      open = true;
      factored = false;
      steps_before = steps;
    }
    /// Saves factors and residuals for undo_step. The residuals are swapped, not copied: the step rewrites all of them.
    void keep_factors() noexcept {
      factored = true;
      residuals.swap(residuals_before);
      std::copy(second.begin(), second.end(), second_before.begin());
      for (matrix& m : matrices) m.fresh_before = m.fresh;
    }
    void undo_step() noexcept {
      if (!std::exchange(open, false)) return;
      steps = steps_before;
      if (!factored) return;
      residuals.swap(residuals_before);
      second.swap(second_before);
      for (matrix& m : matrices) m.fresh = m.fresh_before;
    }
  };

  [[nodiscard]] static std::int64_t bytes(std::size_t floats) { return 4 * static_cast<std::int64_t>(floats); }

  /// The matrix to factor: the gradients themselves, or their sum with the residual, stored in place of the residual.
  [[nodiscard]] float* input(bucket_state& s, const matrix& m, float* gradients) const {
    return options_.error_feedback ? s.residuals.data() + m.residual : gradients + m.tensor.offset;
  }

  bucket_state& state_of(const bucket_view& bucket) {
    if (bucket.index < 0) throw value_error("powersgd_hook", "a bucket number from 0", std::to_string(bucket.index));
    const auto index = static_cast<std::size_t>(bucket.index);
    if (index >= states_.size()) states_.resize(index + 1);
    bucket_state& s = states_[index];
    if (!s.known) {
      s = plan(bucket);
    } else {
      const auto same = [](const bucket_tensor& a, const bucket_tensor& b) {
        return a.offset == b.offset && a.rows == b.rows && a.columns == b.columns;
      };
      if (s.length != bucket.gradients.size() ||
          !std::equal(s.tensors.begin(), s.tensors.end(), bucket.tensors.begin(), bucket.tensors.end(), same))
        throw value_error("powersgd_hook", "bucket " + std::to_string(index) + " with the tensors it had before",
                          "others", "use one hook per trainer, or reset() it");
    }
    return s;
  }

  [[nodiscard]] bucket_state plan(const bucket_view& bucket) const {
    bucket_state s;
    s.length = bucket.gradients.size();
    s.tensors.assign(bucket.tensors.begin(), bucket.tensors.end());
    const auto length = static_cast<std::int64_t>(s.length);
    std::int64_t reached = 0;  // end of the tensors so far
    std::int64_t open = 0;     // start of the piece that ends at the next matrix
    const auto close_piece = [&](std::int64_t end) {
      if (end > open) s.pieces.push_back({open, end - open});
    };
    for (std::size_t i = 0; i < s.tensors.size(); ++i) {
      const bucket_tensor& t = s.tensors[i];
      if (t.rows < 0 || t.columns < 0 || t.offset < reached || t.offset > length || t.size() > length - t.offset)
        throw value_error("powersgd_hook",
                          "tensors of bucket " + std::to_string(bucket.index) + " in order, within its " +
                              std::to_string(length) + " gradients",
                          "tensor " + std::to_string(i) + " of " + std::to_string(t.rows) + " x " +
                              std::to_string(t.columns) + " at " + std::to_string(t.offset));
      reached = t.offset + t.size();
      const auto rank = static_cast<int>((std::min)({t.rows, t.columns, std::int64_t{options_.rank}}));
      const auto sides = static_cast<double>((t.rows + t.columns) * rank);
      if (!(sides * options_.min_compression_rate < static_cast<double>(t.size()))) continue;
      s.matrices.push_back({t, i, rank, s.first_length, s.second_length, s.residual_length, true, true});
      s.first_length += t.rows * rank;
      s.second_length += t.columns * rank;
      s.residual_length += t.size();
      close_piece(t.offset);
      open = reached;
    }
    close_piece(length);
    s.pieces_at = s.first_length;
    for (const piece& p : s.pieces) s.first_length += p.size;
    s.known = true;
    return s;
  }

  /// Allocates the factors and residuals at the first step that needs them.
  void allocate(bucket_state& s) const {
    if (!s.first.empty()) return;
    s.first.resize(static_cast<std::size_t>(s.first_length));
    s.second.resize(static_cast<std::size_t>(s.second_length));
    s.second_before.resize(static_cast<std::size_t>(s.second_length));
    if (!options_.error_feedback) return;
    s.residuals.resize(static_cast<std::size_t>(s.residual_length));
    s.residuals_before.resize(static_cast<std::size_t>(s.residual_length));
  }

  /// Makes the columns of Q orthonormal: those of the last step's Q, or new draws.
  void prepare_q(bucket_state& s, matrix& m, int bucket, std::int64_t step) const {
    const std::int64_t n = m.tensor.columns;
    const random_stream stream = detail::powersgd_stream(options_.seed, bucket, m.number, step);
    const bool draw = m.fresh || !options_.warm_start;
    for (int k = 0; k < m.rank; ++k) {
      const std::span<float> column(m.q(s) + k * n, static_cast<std::size_t>(n));
      if (draw) detail::draw_column(stream, k, column);
      if (detail::orthonormalize_column(n, k, m.q(s)) || draw) continue;
      detail::draw_column(stream, k, column);
      detail::orthonormalize_column(n, k, m.q(s));
    }
    m.fresh = false;
  }

  /// Copies the pieces to the first message, or back.
  static void pack(bucket_state& s, float* gradients, bool to_message) {
    float* place = s.first.data() + s.pieces_at;
    for (const piece& p : s.pieces) {
      float* own = gradients + p.offset;
      if (to_message)
        std::copy_n(own, p.size, place);
      else
        std::copy_n(place, p.size, own);
      place += p.size;
    }
  }

  powersgd_options options_;
  std::vector<bucket_state> states_;  ///< by bucket
  std::int64_t wire_bytes_ = 0;
  std::int64_t plain_bytes_ = 0;
};

static_assert(reduction_hook<powersgd_hook, single_rank>);
static_assert(stateful_hook<powersgd_hook>);

}  // namespace lockstep
