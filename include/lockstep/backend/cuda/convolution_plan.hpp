// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <cudnn.h>

#include <lockstep/backend/cuda/cudnn.hpp>
#include <lockstep/backend/cuda/cudnn_graph.hpp>
#include <lockstep/backend/geometry.hpp>

/// \file
/// The passes of a convolution as cuDNN graphs.

namespace lockstep::cuda_backend {

/// The number of tensors of all passes. `convolution_plan::run` takes their addresses in this order: x, w, y, bias.
inline constexpr std::size_t convolution_tensors = 4;
using convolution_plan = graph_plan<convolution_tensors>;

/// What one graph computes.
enum class convolution_pass : std::uint8_t {
  forward,                ///< y = x * w
  forward_bias,           ///< y = x * w + bias
  forward_bias_and_relu,  ///< y = max(x * w + bias, 0), asked to leave a NaN one
  weight_gradient,        ///< w = the weights' gradient for x and the gradient y
  input_gradient          ///< x = the input's gradient for w and the gradient y
};

/// Builds the graph of one pass over `samples` pictures. All tensors are channels-last and of the same elements, the
/// weights too (out, height, width, in / groups). Sums, and values computed from them, are float32 until they are
/// stored. cuDNN infers the number of groups from the channels.
class convolution_graph {
 public:
  [[gnu::cold]] convolution_graph(const convolution_geometry& g, std::int64_t samples, cudnnDataType_t elements)
      : elements_(elements),
        x_{samples, g.in_channels, g.in.height, g.in.width},
        w_{g.out_channels, g.in_channels / g.groups, g.kernel.height, g.kernel.width},
        y_{samples, g.out_channels, g.out().height, g.out().width},
        window_(parts_.keep(window(g))) {}

  /// Returns the plan, or an empty one where cuDNN has no engine that is allowed. `rounds`: float32 factors may be
  /// rounded to TF32.
  template <class Device>
  [[nodiscard, gnu::cold]] convolution_plan plan(const Device& device, convolution_pass pass, bool rounds) && {
    switch (pass) {
      case convolution_pass::weight_gradient:
        parts_.add(convolution(
            CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
            stored(y_number, y_)));
        break;
      case convolution_pass::input_gradient:
        parts_.add(convolution(
            CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
            stored(y_number, y_)));
        break;
      case convolution_pass::forward:
        forward(stored(y_number, y_));
        break;
      case convolution_pass::forward_bias:
      case convolution_pass::forward_bias_and_relu: {
        const bool relu = pass == convolution_pass::forward_bias_and_relu;
        const auto sums = between(sums_number);
        const auto biased = relu ? between(biased_number) : stored(y_number, y_);
        forward(sums);
        parts_.add(pointwise(CUDNN_POINTWISE_ADD, sums, biased)
                       .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, stored(bias_number, {1, y_[1], 1, 1}))
                       .finalize("a bias (cudnnBackendFinalize)"));
        if (relu)
          parts_.add(pointwise(CUDNN_POINTWISE_RELU_FWD, biased, stored(y_number, y_))
                         .finalize("a relu (cudnnBackendFinalize)"));
        break;
      }
    }
    return std::move(parts_).plan<convolution_tensors>(device, rounds);
  }

 private:
  /// cuDNN's names for the attributes of an operation, which differ between operations.
  struct convolution_attributes {
    cudnnBackendAttributeName_t x, w, y, window, alpha, beta;
  };
  static constexpr std::int64_t x_number = 1;
  static constexpr std::int64_t w_number = 2;
  static constexpr std::int64_t y_number = 3;
  static constexpr std::int64_t bias_number = 4;
  static constexpr std::int64_t sums_number = 5;
  static constexpr std::int64_t biased_number = 6;

  [[gnu::cold]] static graph_object window(const convolution_geometry& g) {
    const std::array<std::int64_t, 2> padding{g.padding.height, g.padding.width};
    const std::array<std::int64_t, 2> stride{g.stride.height, g.stride.width};
    const std::array<std::int64_t, 2> dilation{g.dilation.height, g.dilation.width};
    graph_object made(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    made.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
        .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding)
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding)
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, stride)
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, dilation);
    return made.finalize("a convolution's window (cudnnBackendFinalize)");
  }

  [[nodiscard]] cudnnBackendDescriptor_t stored(std::int64_t number, const std::array<std::int64_t, 4>& extents) {
    return parts_.keep(channels_last_tensor(number, extents, elements_));
  }
  /// A tensor that one operation hands to the next, in float32.
  [[nodiscard]] cudnnBackendDescriptor_t between(std::int64_t number) {
    return parts_.keep(channels_last_tensor(number, y_, CUDNN_DATA_FLOAT, false));
  }

  [[nodiscard]] graph_object convolution(cudnnBackendDescriptorType_t type, const convolution_attributes& a,
                                         cudnnBackendDescriptor_t y) {
    graph_object made(type);
    made.set(a.x, stored(x_number, x_))
        .set(a.w, stored(w_number, w_))
        .set(a.y, y)
        .set(a.window, window_)
        .set(a.alpha, 1.0F)
        .set(a.beta, 0.0F);
    return made.finalize("a convolution (cudnnBackendFinalize)");
  }
  void forward(cudnnBackendDescriptor_t y) {
    parts_.add(
        convolution(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                    {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
                    y));
  }

  /// Returns an operation that is not finalized yet.
  [[nodiscard]] graph_object pointwise(cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t from,
                                       cudnnBackendDescriptor_t to) {
    graph_object what(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    what.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    if (mode == CUDNN_POINTWISE_RELU_FWD) what.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_PROPAGATE_NAN);
    graph_object made(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
             parts_.keep(what.finalize("what a graph does to elements (cudnnBackendFinalize)")))
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
    return made;
  }

  cudnnDataType_t elements_;
  std::array<std::int64_t, 4> x_, w_, y_;
  graph_parts parts_;
  cudnnBackendDescriptor_t window_;
};

}  // namespace lockstep::cuda_backend
