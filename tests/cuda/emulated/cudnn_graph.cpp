// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "cudnn_graph.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>

namespace emulated {

namespace {

tensor tensor_of(const object& o) {
  tensor t{.number = o.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID),
           .bfloat16 = o.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16,
           .size = {},
           .stride = {},
           .stored = !o.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)};
  std::ranges::copy(o.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS), t.size.begin());
  std::ranges::copy(o.all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES), t.stride.begin());
  return t;
}

struct convolution_names {
  cudnnBackendAttributeName_t x, w, y, window, alpha, beta;
};
const convolution_names* names_of(cudnnBackendDescriptorType_t type) {
  static constexpr convolution_names forward{
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  static constexpr convolution_names weights{
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  static constexpr convolution_names data{
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
  switch (type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return &forward;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return &weights;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return &data;
    default:
      return nullptr;
  }
}

/// Whether the extents are those of a convolution.
bool fits(const graph& g) {
  const auto& [x, w, y] = std::tie(g.x.size, g.w.size, g.y.size);
  if (x[0] != y[0] || w[0] != y[1] || x[1] % w[1] != 0 || w[0] % (x[1] / w[1]) != 0) return false;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::int64_t reach = g.c.dilation[i] * (w[i + 2] - 1) + 1;
    if (y[i + 2] != (x[i + 2] + 2 * g.c.padding[i] - reach) / g.c.stride[i] + 1) return false;
  }
  return true;
}

/// The convolution that an operation is, or none.
std::optional<graph> convolution_of(const object& o) {
  const convolution_names& n = *names_of(o.type);
  const object* const x = child(o, n.x, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const object* const w = child(o, n.w, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const object* const y = child(o, n.y, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const object* const c = child(o, n.window, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  if (x == nullptr || w == nullptr || y == nullptr || c == nullptr || !o.has<float>(n.alpha, CUDNN_TYPE_FLOAT) ||
      !o.has<float>(n.beta, CUDNN_TYPE_FLOAT) || o.one<float>(n.alpha) != 1 || o.one<float>(n.beta) != 0)
    return std::nullopt;
  graph g{.pass = o.type, .x = tensor_of(*x), .w = tensor_of(*w), .y = tensor_of(*y), .c = {}, .bias = {}};
  std::ranges::copy(c->all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), g.c.padding.begin());
  std::ranges::copy(c->all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES), g.c.stride.begin());
  std::ranges::copy(c->all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS), g.c.dilation.begin());
  return fits(g) ? std::optional(g) : std::nullopt;
}

}  // namespace

std::set<const void*>& living() {
  static std::set<const void*> all;
  return all;
}

object* find(cudnnBackendDescriptor_t at, cudnnBackendDescriptorType_t type, bool finalized) {
  if (!living().contains(at)) return nullptr;
  auto* const o = static_cast<object*>(at);
  return o->type == type && (!finalized || o->finalized) ? o : nullptr;
}

object* child(const object& o, cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type) {
  if (!o.has<void*>(name, CUDNN_TYPE_BACKEND_DESCRIPTOR)) return nullptr;
  return find(o.one<void*>(name), type);
}

bool is_tensor(const object& o) {
  if (!o.has<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64) ||
      !o.has<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE) ||
      !o.has<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4) ||
      !o.has<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4) ||
      !o.has<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64) ||
      !o.has<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN))
    return false;
  const auto type = o.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
  const auto size = o.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  return (type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16) &&
         o.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT) == 16 &&
         std::ranges::all_of(size, [](std::int64_t n) { return n > 0; });
}

bool is_window(const object& o) {
  return o.has<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64) &&
         o.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) == 2 &&
         o.has<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE) &&
         o.one<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) == CUDNN_DATA_FLOAT &&
         o.has<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE) &&
         o.one<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) == CUDNN_CROSS_CORRELATION &&
         o.has<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2) &&
         o.has<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2) &&
         o.all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS) ==
             o.all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS) &&
         o.has<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2) &&
         o.has<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2);
}

bool is_pointwise(const object& o) {
  return o.has<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE) &&
         o.has<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE) &&
         o.one<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC) == CUDNN_DATA_FLOAT;
}

bool is_convolution(const object& o) { return convolution_of(o).has_value(); }

bool is_pointwise_operation(const object& o) {
  const object* const what = child(o, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  return what != nullptr &&
         child(o, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR) != nullptr &&
         child(o, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR) != nullptr &&
         (what->one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE) != CUDNN_POINTWISE_ADD ||
          child(o, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_BACKEND_TENSOR_DESCRIPTOR) != nullptr);
}

std::shared_ptr<const graph> graph_of(const object& o) {
  const auto operations = o.all<void*>(CUDNN_ATTR_OPERATIONGRAPH_OPS);
  if (operations.empty() || operations.size() > 3 || !living().contains(operations[0])) return nullptr;
  const auto& first = *static_cast<const object*>(operations[0]);
  if (!first.finalized || names_of(first.type) == nullptr) return nullptr;
  graph g = convolution_of(first).value();
  void* last = first.one<void*>(names_of(first.type)->y);
  for (std::size_t i = 1; i < operations.size(); ++i) {
    const object* const next = find(operations[i], CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    // What goes from one operation to the next is float, and not stored.
    if (next == nullptr || !g.forward() || next->one<void*>(CUDNN_ATTR_OPERATION_POINTWISE_XDESC) != last ||
        g.y.stored || g.y.bfloat16)
      return nullptr;
    last = next->one<void*>(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const tensor to = tensor_of(*static_cast<const object*>(last));
    if (to.size != g.y.size || to.stride != g.y.stride) return nullptr;
    g.y = to;
    const auto* const what = static_cast<const object*>(next->one<void*>(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR));
    const auto mode = what->one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    if (i == 1 && mode == CUDNN_POINTWISE_ADD) {
      g.biased = true;
      g.bias = tensor_of(*static_cast<const object*>(next->one<void*>(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)));
      if (g.bias.size != extents{1, g.y.size[1], 1, 1} || !g.bias.stored) return nullptr;
    } else if (i == 2 && mode == CUDNN_POINTWISE_RELU_FWD) {
      g.relu = true;
      g.keeps_nan =
          what->has<cudnnNanPropagation_t>(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION) &&
          what->one<cudnnNanPropagation_t>(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION) == CUDNN_PROPAGATE_NAN;
    } else {
      return nullptr;
    }
  }
  return g.x.stored && g.w.stored && g.y.stored ? std::make_shared<const graph>(g) : nullptr;
}

}  // namespace emulated
