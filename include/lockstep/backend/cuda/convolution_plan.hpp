// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <cudnn.h>

#include <lockstep/backend/cuda/context.hpp>
#include <lockstep/backend/cuda/cudnn.hpp>
#include <lockstep/backend/cuda/order.hpp>
#include <lockstep/backend/cuda/staging.hpp>
#include <lockstep/backend/geometry.hpp>
#include <lockstep/core/shape.hpp>

/// \file
/// How a pass of a convolution is done: by which algorithm of cuDNN's, on operands in which order, and lying where.

namespace lockstep::cuda_backend {

/// `count` pictures or filters of (channels, height, width).
struct convolution_operand {
  std::int64_t count;
  dims picture;

  [[nodiscard]] std::int64_t size() const { return count * picture.size(); }
};

/// The operands as cuDNN sees them, all channels-last or all in plain order.
struct convolution_operands {
  tensor_descriptor x, y, bias;
  filter_descriptor w;
};

/// One of cuDNN's algorithms for one pass of a convolution.
template <class Algorithm>
struct convolution_plan {
  convolution_descriptor window;
  const convolution_operands* operands = nullptr;
  bool plain = false;  ///< wants operands in plain order
  Algorithm algorithm{};
  std::int64_t bytes = 0;  ///< that it works in
};

/// The fastest algorithm, by cuDNN's heuristic, among those that cuDNN calls deterministic and that work in little
/// memory; else `usual`, which is deterministic too. First for channels-last operands, and for plain ones where cuDNN
/// has nothing for those: its manuals promise less of groups and dilations there. `list(operands, window, most, &n,
/// results)` and `measure(operands, window, algorithm, &bytes)` are cuDNN's functions for this pass. Throws
/// backend_error when there is no algorithm.
template <class Result, class Algorithm, class List, class Measure>
[[nodiscard, gnu::cold]] convolution_plan<Algorithm> plan_convolution(
    const convolution_geometry& g, cudnnDataType_t elements, factor_rounding rounding,
    const convolution_operands& channels_last, const convolution_operands& plain, int most, Algorithm usual,
    const List& list, const Measure& measure, std::string_view name) {
  constexpr std::size_t most_bytes = std::size_t{256} << 20U;
  convolution_plan<Algorithm> plan;
  plan.window = window(g);
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  std::size_t bytes = 0;
  const auto take = [&](const convolution_operands& operands, Algorithm algorithm, cudnnMathType_t math) {
    check(cudnnSetConvolutionMathType(plan.window.get(), math), name);
    status = measure(operands, plan.window.get(), algorithm, &bytes);
    plan.operands = &operands;
    plan.plain = &operands == &plain;
    plan.algorithm = algorithm;
    plan.bytes = static_cast<std::int64_t>(bytes);
    return status == CUDNN_STATUS_SUCCESS;
  };

  // The default lets tensor cores round float to TF32, which is as far as cuDNN goes by itself: factors of bfloat16
  // would have to be written to memory first. Tensors of bfloat16 go to tensor cores as they are.
  const bool tensor_cores = rounding != factor_rounding::none || elements != CUDNN_DATA_FLOAT;
  const cudnnMathType_t math = elements != CUDNN_DATA_FLOAT ? CUDNN_TENSOR_OP_MATH
                               : tensor_cores               ? CUDNN_DEFAULT_MATH
                                                            : CUDNN_FMA_MATH;
  std::vector<Result> results(static_cast<std::size_t>(most));
  for (const convolution_operands* operands : {&channels_last, &plain}) {
    check(cudnnSetConvolutionMathType(plan.window.get(), math), name);
    int found = 0;
    // Where the heuristic knows nothing, the usual algorithm may still exist.
    if (list(*operands, plan.window.get(), most, &found, results.data()) != CUDNN_STATUS_SUCCESS) found = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(found); ++i) {
      const Result& r = results[i];
      // Not the one that converts to half precision.
      const bool allowed = r.mathType == CUDNN_DEFAULT_MATH || r.mathType == CUDNN_FMA_MATH ||
                           (tensor_cores && r.mathType == CUDNN_TENSOR_OP_MATH);
      if (r.status != CUDNN_STATUS_SUCCESS || r.determinism != CUDNN_DETERMINISTIC || !allowed) continue;
      // An algorithm takes the time and the bytes it says only with the precision that the heuristic saw it with.
      if (take(*operands, r.algo, tensor_cores ? r.mathType : math) && bytes <= most_bytes) return plan;
    }
    if (take(*operands, usual, math)) return plan;
  }
  fail(status, name);
}

/// The staging of one pass: operands that cuDNN wants in plain order are turned on the way. The kernels behind its
/// convolutions load 16 bytes at a time, and its manuals promise nothing for less.
class convolution_staging : public staging {
 public:
  template <class Algorithm>
  explicit convolution_staging(const convolution_plan<Algorithm>& plan) : staging(plan.bytes), plain_(plan.plain) {}

  [[nodiscard]] bool plain() const { return plain_; }

  /// Room for an operand that lies at p, where it needs some. Before `open`.
  template <class A>
  [[nodiscard]] std::int64_t room(const convolution_operand& o, const A* p) {
    return staging::room(p, o.size(), plain_);
  }
  template <class A>
  [[nodiscard]] std::int64_t room(const convolution_operand& o) {
    return staging::room<A>(nullptr, o.size(), true);
  }
  using staging::room;  // for a vector, which has no order

  /// The operand where and as cuDNN can read it.
  template <class A>
  [[nodiscard]] const A* load(context& c, std::int64_t room, const convolution_operand& o, const A* p) const {
    if (!plain_) return staging::load(c, room, o.size(), p);
    A* to = place<A>(room, nullptr);  // each has room
    to_plain(c, o.count, o.picture, p, to);
    return to;
  }

  using staging::load;

  /// Brings what cuDNN has written to where it belongs.
  template <class A>
  void store(context& c, std::int64_t room, const convolution_operand& o, A* p) const {
    if (plain_)
      to_channels_last(c, o.count, o.picture, place<A>(room, nullptr), p);
    else
      staging::store(c, room, o.size(), p);
  }

 private:
  bool plain_;
};

}  // namespace lockstep::cuda_backend
