// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cuDNN's functions, as far as the library uses them: convolutions by their definition, of float or of bfloat16. As its
// manuals allow, groups and dilations are not had in channels-last order, and the heuristic names an algorithm first
// that is not deterministic. Of the convolutions with a bias and a relu some are not to be had, and some make a NaN 0,
// whatever they were asked for.
#include <cudnn.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "machine.hpp"

struct cudnnContext {
  int device;
  cudaStream_t stream = nullptr;
};

/// Pictures or filters, in either order.
struct cudnnTensorStruct {
  cudnnTensorFormat_t order{};
  bool bfloat16 = false;
  std::array<std::int64_t, 4> extents{};  ///< count, channels, height, width

  /// From one picture, channel, line and column to the next.
  [[nodiscard]] std::array<std::int64_t, 4> strides() const {
    const auto& e = extents;
    if (order == CUDNN_TENSOR_NHWC) return {e[1] * e[2] * e[3], 1, e[1] * e[3], e[1]};
    return {e[1] * e[2] * e[3], e[2] * e[3], e[3], 1};
  }
  [[nodiscard]] std::int64_t size() const { return extents[0] * extents[1] * extents[2] * extents[3]; }
};
struct cudnnFilterStruct : cudnnTensorStruct {};

struct cudnnActivationStruct {
  cudnnActivationMode_t mode{};
  bool keeps_nan = false;
};

struct cudnnConvolutionStruct {
  std::array<int, 2> padding{};
  std::array<int, 2> stride{};
  std::array<int, 2> dilation{};
  int groups = 1;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};

namespace {

using namespace emulated;

constexpr std::size_t workspace_bytes = 8192;

struct operands {
  cudnnTensorStruct x, y, w;
  cudnnConvolutionStruct c;

  [[nodiscard]] bool alike() const { return x.bfloat16 == y.bfloat16 && x.bfloat16 == w.bfloat16; }
};

elements read(const cudnnTensorStruct& of, const void* p) { return {const_cast<void*>(p), of.bfloat16}; }

/// The product of two elements goes to a third, for each such triple: f(place in x, in w, in y).
template <class F>
void each_product(const operands& o, const F& f) {
  const auto& [count, out, rows, columns] = o.y.extents;
  const std::int64_t in = o.w.extents[1];
  const std::int64_t out_of_group = out / o.c.groups;
  const auto x = o.x.strides();
  const auto y = o.y.strides();
  const auto w = o.w.strides();
  for (std::int64_t n = 0; n < count; ++n)
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t r = 0; r < o.w.extents[2]; ++r) {
        const std::int64_t h = i * o.c.stride[0] - o.c.padding[0] + r * o.c.dilation[0];
        if (h < 0 || h >= o.x.extents[2]) continue;
        for (std::int64_t j = 0; j < columns; ++j)
          for (std::int64_t s = 0; s < o.w.extents[3]; ++s) {
            const std::int64_t v = j * o.c.stride[1] - o.c.padding[1] + s * o.c.dilation[1];
            if (v < 0 || v >= o.x.extents[3]) continue;
            for (std::int64_t c = 0; c < o.x.extents[1]; ++c) {
              const std::int64_t first = c / in * out_of_group;  // of the group's outputs
              const std::int64_t at_x = n * x[0] + c * x[1] + h * x[2] + v * x[3];
              const std::int64_t at_w = c % in * w[1] + r * w[2] + s * w[3];
              const std::int64_t at_y = n * y[0] + i * y[2] + j * y[3];
              for (std::int64_t k = first; k < first + out_of_group; ++k) f(at_x, at_w + k * w[0], at_y + k * y[1]);
            }
          }
      }
}

/// The sums of a forward pass.
auto forward_sums(const operands& o, const void* x, const void* w) {
  return [o, in = read(o.x, x), weights = read(o.w, w)](double* sums) {
    each_product(o, [&](std::int64_t at_x, std::int64_t at_w, std::int64_t at_y) {
      sums[at_y] += double{in[at_x]} * double{weights[at_w]};
    });
  };
}

/// What becomes of a sum before it is stored.
struct as_it_is {
  float operator()(std::int64_t, double sum) const { return static_cast<float>(sum); }
};

/// What is behind all passes: sums of products in double, then one store of each.
template <class Pass, class Finish = as_it_is>
cudnnStatus_t enqueue_pass(cudnnHandle_t handle, const void* alpha, const void* beta, void* workspace, std::size_t size,
                           bool fits, std::int64_t results, elements to, Pass pass, Finish finish = {}) {
  const lock held(machine::get().mutex);
  if (*static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0 || size < workspace_bytes ||
      workspace == nullptr || !fits || handle->stream == nullptr || handle->stream->work->device != current_device())
    return CUDNN_STATUS_BAD_PARAM;
  const auto status = enqueue(handle->stream, make_work([=] {
                                spoil(workspace, workspace_bytes);
                                std::vector<double> sums(static_cast<std::size_t>(results));
                                pass(sums.data());
                                for (std::int64_t i = 0; i < results; ++i)
                                  to.put(i, finish(i, sums[static_cast<std::size_t>(i)]));
                              }));
  return status == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

bool aligned(const void* a, const void* b, const void* c) {
  for (const void* p : {a, b, c})
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return false;
  return true;
}

bool supported(const cudnnTensorStruct& x, const cudnnConvolutionStruct& c) {
  return x.order == CUDNN_TENSOR_NCHW || (c.groups == 1 && c.dilation[0] == 1 && c.dilation[1] == 1);
}

template <class Result, class Algorithm>
cudnnStatus_t list(const cudnnTensorStruct& x, const cudnnConvolutionStruct& c, Algorithm fast, Algorithm steady,
                   int wanted, int* count, Result* results) {
  if (wanted < 2) return CUDNN_STATUS_BAD_PARAM;
  if (!supported(x, c)) return CUDNN_STATUS_NOT_SUPPORTED;
  for (int i = 0; i < 2; ++i) {
    results[i] = {};
    results[i].algo = i == 0 ? fast : steady;
    results[i].status = CUDNN_STATUS_SUCCESS;
    results[i].determinism = i == 0 ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
    results[i].memory = workspace_bytes;
    results[i].mathType = c.math;
  }
  *count = 2;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t measure(const cudnnTensorStruct& x, const cudnnConvolutionStruct& c, std::size_t* bytes) {
  *bytes = workspace_bytes;
  return supported(x, c) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}

template <class T>
cudnnStatus_t make(T** to) {
  *to = new T;
  return CUDNN_STATUS_SUCCESS;
}
template <class T>
cudnnStatus_t end(T* object) {
  delete object;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM" : "an emulated status";
}
void cudnnGetLastErrorString(char* to, std::size_t size) {
  if (size > 0) *to = '\0';
}
std::size_t cudnnGetVersion() { return CUDNN_VERSION; }

cudnnStatus_t cudnnCreate(cudnnHandle_t* to) {
  *to = new cudnnContext{current_device()};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return end(handle); }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  if (stream->work->device != handle->device) return CUDNN_STATUS_BAD_PARAM;
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* to) { return make(to); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t t) { return end(t); }
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t t, cudnnTensorFormat_t order, cudnnDataType_t type,
                                         int n, int c, int h, int w) {
  if ((type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_BFLOAT16) || n < 1) return CUDNN_STATUS_BAD_PARAM;
  *t = {order, type == CUDNN_DATA_BFLOAT16, {n, c, h, w}};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* to) { return make(to); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t f) { return end(f); }
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t f, cudnnDataType_t type, cudnnTensorFormat_t order,
                                         int k, int c, int h, int w) {
  if (type != CUDNN_DATA_FLOAT && type != CUDNN_DATA_BFLOAT16) return CUDNN_STATUS_BAD_PARAM;
  f->order = order;
  f->bfloat16 = type == CUDNN_DATA_BFLOAT16;
  f->extents = {k, c, h, w};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* to) { return make(to); }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t c) { return end(c); }
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t c, int pad_h, int pad_w, int u, int v,
                                              int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t type) {
  if (mode != CUDNN_CROSS_CORRELATION || type != CUDNN_DATA_FLOAT) return CUDNN_STATUS_BAD_PARAM;
  c->padding = {pad_h, pad_w};
  c->stride = {u, v};
  c->dilation = {dilation_h, dilation_w};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t c, int groups) {
  c->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t c, cudnnMathType_t math) {
  c->math = math;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t* to) { return make(to); }
cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t a) { return end(a); }
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t a, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t nan, double) {
  *a = {mode, nan == CUDNN_PROPAGATE_NAN};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithmMaxCount(cudnnHandle_t, int* count) {
  *count = 2;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(cudnnHandle_t, int* count) {
  *count = 2;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithmMaxCount(cudnnHandle_t, int* count) {
  *count = 2;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                     const cudnnFilterDescriptor_t,
                                                     const cudnnConvolutionDescriptor_t c,
                                                     const cudnnTensorDescriptor_t, const int wanted, int* count,
                                                     cudnnConvolutionFwdAlgoPerf_t* results) {
  return list(*x, *c, CUDNN_CONVOLUTION_FWD_ALGO_FFT, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, wanted, count,
              results);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                            const cudnnTensorDescriptor_t,
                                                            const cudnnConvolutionDescriptor_t c,
                                                            const cudnnFilterDescriptor_t, const int wanted, int* count,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t* results) {
  return list(*x, *c, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, wanted, count, results);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, const cudnnFilterDescriptor_t,
                                                          const cudnnTensorDescriptor_t,
                                                          const cudnnConvolutionDescriptor_t c,
                                                          const cudnnTensorDescriptor_t x, const int wanted, int* count,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* results) {
  return list(*x, *c, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, wanted, count, results);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                      const cudnnFilterDescriptor_t,
                                                      const cudnnConvolutionDescriptor_t c,
                                                      const cudnnTensorDescriptor_t, cudnnConvolutionFwdAlgo_t,
                                                      std::size_t* bytes) {
  return measure(*x, *c, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t, const cudnnTensorDescriptor_t x,
                                                             const cudnnTensorDescriptor_t,
                                                             const cudnnConvolutionDescriptor_t c,
                                                             const cudnnFilterDescriptor_t,
                                                             cudnnConvolutionBwdFilterAlgo_t, std::size_t* bytes) {
  return measure(*x, *c, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t, const cudnnFilterDescriptor_t,
                                                           const cudnnTensorDescriptor_t,
                                                           const cudnnConvolutionDescriptor_t c,
                                                           const cudnnTensorDescriptor_t x,
                                                           cudnnConvolutionBwdDataAlgo_t, std::size_t* bytes) {
  return measure(*x, *c, bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t x_of,
                                      const void* x, const cudnnFilterDescriptor_t w_of, const void* w,
                                      const cudnnConvolutionDescriptor_t c, cudnnConvolutionFwdAlgo_t, void* workspace,
                                      std::size_t size, const void* beta, const cudnnTensorDescriptor_t y_of, void* y) {
  const operands o{*x_of, *y_of, *w_of, *c};
  return enqueue_pass(handle, alpha, beta, workspace, size, o.alike() && aligned(x, w, y), o.y.size(), read(o.y, y),
                      forward_sums(o, x, w));
}
cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t x_of, const void* x,
    const cudnnFilterDescriptor_t w_of, const void* w, const cudnnConvolutionDescriptor_t c,
    cudnnConvolutionFwdAlgo_t algorithm, void* workspace, std::size_t size, const void* beta,
    const cudnnTensorDescriptor_t z_of, const void*, const cudnnTensorDescriptor_t b_of, const void* b,
    const cudnnActivationDescriptor_t a, const cudnnTensorDescriptor_t y_of, void* y) {
  const operands o{*x_of, *y_of, *w_of, *c};
  const std::int64_t channels = o.y.extents[1];
  const bool fits = z_of->extents == o.y.extents && z_of->order == o.y.order &&
                    b_of->extents == std::array<std::int64_t, 4>{1, channels, 1, 1} && aligned(b, y, y);
  if (!fits) return CUDNN_STATUS_BAD_PARAM;
  if (a->mode != CUDNN_ACTIVATION_RELU &&
      (a->mode != CUDNN_ACTIVATION_IDENTITY || algorithm != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM))
    return CUDNN_STATUS_NOT_SUPPORTED;
  if (channels % 4 == 2 || !fuses()) return CUDNN_STATUS_NOT_SUPPORTED;
  const bool relu = a->mode == CUDNN_ACTIVATION_RELU;
  const bool keeps_nan = a->keeps_nan && channels % 4 != 1;
  const elements bias = read(*b_of, b);
  const std::int64_t stride = o.y.strides()[1];
  return enqueue_pass(handle, alpha, beta, workspace, size,
                      o.alike() && b_of->bfloat16 == o.x.bfloat16 && aligned(x, w, y), o.y.size(), read(o.y, y),
                      forward_sums(o, x, w), [=](std::int64_t i, double sum) {
                        const float value = static_cast<float>(sum) + bias[i / stride % channels];
                        if (!relu || value > 0 || (keeps_nan && std::isnan(value))) return value;
                        return 0.F;
                      });
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             const cudnnTensorDescriptor_t x_of, const void* x,
                                             const cudnnTensorDescriptor_t y_of, const void* dy,
                                             const cudnnConvolutionDescriptor_t c, cudnnConvolutionBwdFilterAlgo_t,
                                             void* workspace, std::size_t size, const void* beta,
                                             const cudnnFilterDescriptor_t w_of, void* dw) {
  const operands o{*x_of, *y_of, *w_of, *c};
  const elements in = read(o.x, x);
  const elements gradient = read(o.y, dy);
  return enqueue_pass(handle, alpha, beta, workspace, size, o.alike() && aligned(x, dy, dw), o.w.size(), read(o.w, dw),
                      [=](double* sums) {
                        each_product(o, [=](std::int64_t at_x, std::int64_t at_w, std::int64_t at_y) {
                          sums[at_w] += double{in[at_x]} * double{gradient[at_y]};
                        });
                      });
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha, const cudnnFilterDescriptor_t w_of,
                                           const void* w, const cudnnTensorDescriptor_t y_of, const void* dy,
                                           const cudnnConvolutionDescriptor_t c, cudnnConvolutionBwdDataAlgo_t,
                                           void* workspace, std::size_t size, const void* beta,
                                           const cudnnTensorDescriptor_t x_of, void* dx) {
  const operands o{*x_of, *y_of, *w_of, *c};
  const elements weights = read(o.w, w);
  const elements gradient = read(o.y, dy);
  return enqueue_pass(handle, alpha, beta, workspace, size, o.alike() && aligned(w, dy, dx), o.x.size(), read(o.x, dx),
                      [=](double* sums) {
                        each_product(o, [=](std::int64_t at_x, std::int64_t at_w, std::int64_t at_y) {
                          sums[at_x] += double{weights[at_w]} * double{gradient[at_y]};
                        });
                      });
}
