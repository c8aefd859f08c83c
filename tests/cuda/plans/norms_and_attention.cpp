// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <array>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>

#include <cudnn.h>
#include <dlfcn.h>

#include <lockstep/backend/cuda/cudnn_graph.hpp>

#include "described_device.hpp"
#include "support/catch.hpp"

/// \file
/// What cuDNN says to graphs of norms and of attention, for a device that is only described to it. Its engines for
/// these are compiled as a plan is made, and then given to the driver, for which driver.cpp stands in.

namespace {

using namespace lockstep_test;
using backend::graph_object;
using extents = std::array<std::int64_t, 4>;

/// Images of machine code that cuDNN has given to the driver.
int loaded_cubins() {
  // cuDNN opens libcuda.so.1 by that name, and so gets what is there by it already.
  static void* const driver = dlopen(LOCKSTEP_TEST_DRIVER, RTLD_NOW | RTLD_GLOBAL);
  if (driver == nullptr) throw std::runtime_error(dlerror());
  static const auto count = reinterpret_cast<int (*)()>(dlsym(driver, "driver_loaded_cubins"));
  return count();
}

class graph {
 public:
  cudnnBackendDescriptor_t tensor(const extents& sizes, const extents& strides, cudnnDataType_t elements,
                                  bool value = false) {
    graph_object made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, ++tensors_)
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, elements)
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes)
        .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16})
        .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, value);
    return parts_.keep(made.finalize("a tensor"));
  }
  cudnnBackendDescriptor_t rows(std::int64_t count, std::int64_t width, cudnnDataType_t elements) {
    return tensor({count, width, 1, 1}, {width, 1, width, width}, elements);
  }
  cudnnBackendDescriptor_t value() { return tensor({1, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_FLOAT, true); }

  void add(graph_object& operation) { parts_.add(operation.finalize("an operation")); }
  [[nodiscard]] bool planned() && {
    static const described_device device;
    return static_cast<bool>(std::move(parts_).plan<1>(device, true));
  }

 private:
  backend::graph_parts parts_;
  std::int64_t tensors_ = 0;
};

/// Sets an attribute of a type that the library's graphs do not have.
template <class T>
void set(graph_object& o, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T value) {
  backend::check(cudnnBackendSetAttribute(o.get(), name, type, 1, &value), "an attribute");
}

constexpr std::int64_t count = 1024;
constexpr std::int64_t width = 128;

bool norm_forward(cudnnBackendNormMode_t mode, cudnnDataType_t elements) {
  graph g;
  graph_object norm(CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR);
  set(norm, CUDNN_ATTR_OPERATION_NORM_FWD_MODE, CUDNN_TYPE_NORM_MODE, mode);
  set(norm, CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, CUDNN_TYPE_NORM_FWD_PHASE, CUDNN_NORM_FWD_TRAINING);
  norm.set(CUDNN_ATTR_OPERATION_NORM_FWD_XDESC, g.rows(count, width, elements))
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_YDESC, g.rows(count, width, elements))
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, g.rows(1, width, CUDNN_DATA_FLOAT))
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC, g.value())
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, g.rows(count, 1, CUDNN_DATA_FLOAT));
  if (mode == CUDNN_LAYER_NORM)
    norm.set(CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, g.rows(1, width, CUDNN_DATA_FLOAT))
        .set(CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, g.rows(count, 1, CUDNN_DATA_FLOAT));
  g.add(norm);
  return std::move(g).planned();
}

bool norm_backward(cudnnBackendNormMode_t mode, cudnnDataType_t elements) {
  graph g;
  graph_object norm(CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR);
  set(norm, CUDNN_ATTR_OPERATION_NORM_BWD_MODE, CUDNN_TYPE_NORM_MODE, mode);
  norm.set(CUDNN_ATTR_OPERATION_NORM_BWD_XDESC, g.rows(count, width, elements))
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC, g.rows(count, width, elements))
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC, g.rows(count, width, elements))
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, g.rows(1, width, CUDNN_DATA_FLOAT))
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, g.rows(1, width, CUDNN_DATA_FLOAT))
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, g.rows(count, 1, CUDNN_DATA_FLOAT));
  if (mode == CUDNN_LAYER_NORM)
    norm.set(CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, g.rows(1, width, CUDNN_DATA_FLOAT))
        .set(CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, g.rows(count, 1, CUDNN_DATA_FLOAT));
  g.add(norm);
  return std::move(g).planned();
}

/// Of a GPT's size: 8 samples, 4 heads of `head` numbers, 128 tokens; (sample, token, head) in memory.
bool attention_forward(cudnnDataType_t elements, std::int64_t head) {
  constexpr std::int64_t samples = 8;
  constexpr std::int64_t heads = 4;
  constexpr std::int64_t length = 128;
  const extents sizes{samples, heads, length, head};
  const extents strides{length * heads * head, head, heads * head, 1};
  graph g;
  graph_object attention(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
  attention.set(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, g.tensor(sizes, strides, elements))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, g.tensor(sizes, strides, elements))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, g.tensor(sizes, strides, elements))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, g.tensor(sizes, strides, elements))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC,
           g.tensor({samples, heads, length, 1}, {heads * length, length, 1, 1}, CUDNN_DATA_FLOAT))
      .set(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, g.value());
  g.add(attention);
  return std::move(g).planned();
}

}  // namespace

TEST_CASE("cuDNN compiles norms by rows, and loads them, as asked of an H100") {
  for (const auto mode : {CUDNN_LAYER_NORM, CUDNN_RMS_NORM})
    for (const auto elements : {CUDNN_DATA_FLOAT, CUDNN_DATA_BFLOAT16}) {
      CAPTURE(static_cast<int>(mode), static_cast<int>(elements));
      int before = loaded_cubins();
      CHECK(norm_forward(mode, elements));
      CHECK(loaded_cubins() > before);
      before = loaded_cubins();
      CHECK(norm_backward(mode, elements));
      CHECK(loaded_cubins() > before);
    }
}

TEST_CASE("cuDNN has an engine for attention that gives the same bits in every run, as asked of an H100") {
  const int before = loaded_cubins();
  CHECK(attention_forward(CUDNN_DATA_BFLOAT16, 64));
  CHECK(loaded_cubins() > before);
  CHECK_FALSE(attention_forward(CUDNN_DATA_BFLOAT16, 65));  // rows that are not aligned
}
