// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// cuDNN's functions, as far as the library uses them: convolutions by their definition, of float or of bfloat16, with
// what a graph adds to them. As the manuals allow, the heuristic names engines first that must not be taken: one that
// is not deterministic, one that adds up in less than float, one that rounds the factors of float, one that refuses
// when a plan is made of it, and one that works in half the device's memory. Of the convolutions with a bias and a relu
// some are not to be had, and some make a NaN 0, whatever they were asked for.
#include <cudnn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cudnn_graph.hpp"
#include "machine.hpp"

struct cudnnContext {
  int device;
  cudaStream_t stream = nullptr;
};

namespace {

using namespace emulated;

constexpr std::int64_t workspace_bytes = 8192;

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_HANDLE:
      return 8;
    case CUDNN_TYPE_BOOLEAN:
      return 1;
    case CUDNN_TYPE_FLOAT:
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_CONVOLUTION_MODE:
    case CUDNN_TYPE_POINTWISE_MODE:
    case CUDNN_TYPE_NAN_PROPOGATION:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_NUMERICAL_NOTE:
      return 4;
    default:
      return 0;
  }
}

std::vector<engine> engines(const object& heuristic) {
  if (!heuristic.made->offered()) return {};
  if (heuristic.one<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_A)
    return {engine::by_chance, engine::coarse, engine::rounding, engine::refusing, engine::greedy};
  return {engine::by_chance, engine::steady};
}

std::vector<cudnnBackendNumericalNote_t> notes(engine e) {
  switch (e) {
    case engine::by_chance:
      return {CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC};
    case engine::coarse:
      return {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION};
    case engine::rounding:
      return {CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
    default:
      return {};
  }
}

std::int64_t bytes(engine e) { return e == engine::greedy ? std::int64_t{2} << 30U : workspace_bytes; }

template <class T>
cudnnStatus_t give(const std::vector<T>& values, cudnnBackendAttributeType_t is, cudnnBackendAttributeType_t asked,
                   std::int64_t room, std::int64_t* count, void* to) {
  if (is != asked) return CUDNN_STATUS_BAD_PARAM;
  *count = static_cast<std::int64_t>(values.size());
  std::copy_n(values.data(), std::min(*count, room), static_cast<T*>(to));
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
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  if (stream->work->device != handle->device) return CUDNN_STATUS_BAD_PARAM;
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* to) {
  const lock held(machine::get().mutex);
  auto made = std::make_unique<object>();
  made->type = type;
  living().insert(made.get());
  *to = made.release();
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t at) {
  const lock held(machine::get().mutex);
  if (living().erase(at) == 0) return CUDNN_STATUS_BAD_PARAM;
  const std::unique_ptr<object> ended(static_cast<object*>(at));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t at, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
  const lock held(machine::get().mutex);
  const std::size_t size = size_of(type);
  if (!living().contains(at) || static_cast<object*>(at)->finalized || size == 0 || count < 1 || values == nullptr)
    return CUDNN_STATUS_BAD_PARAM;
  const auto* const first = static_cast<const std::byte*>(values);
  static_cast<object*>(at)->attributes[name] = {type, count, {first, first + size * static_cast<std::size_t>(count)}};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t at) {
  const lock held(machine::get().mutex);
  if (!living().contains(at)) return CUDNN_STATUS_BAD_PARAM;
  object& o = *static_cast<object*>(at);
  bool good = !o.finalized;
  switch (o.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      good = good && is_tensor(o);
      break;
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
      good = good && is_window(o);
      break;
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
      good = good && is_pointwise(o);
      break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      good = good && is_convolution(o);
      break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      good = good && is_pointwise_operation(o);
      break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      if (!o.has<void*>(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE)) return CUDNN_STATUS_BAD_PARAM;
      o.made = graph_of(o);
      if (o.made == nullptr) return CUDNN_STATUS_NOT_SUPPORTED;
      break;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: {
      const object* const of = child(o, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
      good = good && of != nullptr && o.has<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE);
      if (good) o.made = of->made;
      break;
    }
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR: {
      const object* const of = child(o, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
      good = good && of != nullptr && o.has<void*>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE);
      if (!good) break;
      if (of->chosen == engine::refusing) return CUDNN_STATUS_NOT_SUPPORTED;
      o.made = of->made;
      o.chosen = of->chosen;
      break;
    }
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR: {
      const std::size_t count = o.all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).size();
      good = good && count > 0 && o.has<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count) &&
             o.has<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count) &&
             o.has<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR);
      break;
    }
    default:
      good = false;
  }
  if (!good) return CUDNN_STATUS_BAD_PARAM;
  o.finalized = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const at, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t room, std::int64_t* count,
                                       void* to) {
  const lock held(machine::get().mutex);
  if (!living().contains(at) || !static_cast<const object*>(at)->finalized) return CUDNN_STATUS_NOT_INITIALIZED;
  const object& o = *static_cast<const object*>(at);
  if (o.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
    if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) return CUDNN_STATUS_BAD_PARAM;
    const auto named = engines(o);
    *count = static_cast<std::int64_t>(named.size());
    for (std::size_t i = 0; i < named.size() && static_cast<std::int64_t>(i) < room; ++i) {
      object* const config = find(static_cast<void**>(to)[i], CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, false);
      if (config == nullptr || config->finalized) return CUDNN_STATUS_BAD_PARAM;
      config->made = o.made;
      config->chosen = named[i];
      config->finalized = true;
    }
    return CUDNN_STATUS_SUCCESS;
  }
  if (o.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_ENGINE) {
    object* const into = type == CUDNN_TYPE_BACKEND_DESCRIPTOR && room == 1
                             ? find(*static_cast<void**>(to), CUDNN_BACKEND_ENGINE_DESCRIPTOR, false)
                             : nullptr;
    if (into == nullptr || into->finalized) return CUDNN_STATUS_BAD_PARAM;
    *count = 1;
    into->chosen = o.chosen;
    into->finalized = true;
    return CUDNN_STATUS_SUCCESS;
  }
  if (o.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
    return give(notes(o.chosen), CUDNN_TYPE_NUMERICAL_NOTE, type, room, count, to);
  if (o.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
    return give(std::vector{bytes(o.chosen)}, CUDNN_TYPE_INT64, type, room, count, to);
  return CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_at,
                                  cudnnBackendDescriptor_t pack_at) {
  const lock held(machine::get().mutex);
  const object* const plan = find(plan_at, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  const object* const pack = find(pack_at, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  if (plan == nullptr || pack == nullptr || plan->one<void*>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != handle ||
      handle->stream == nullptr || handle->stream->work->device != current_device())
    return CUDNN_STATUS_BAD_PARAM;
  const auto made = plan->made;
  const auto numbers = pack->all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto addresses = pack->all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  void* const workspace = pack->one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (workspace == nullptr || numbers.size() != (made->biased ? 4 : 3)) return CUDNN_STATUS_BAD_PARAM;
  const auto address = [&](const tensor& t) -> void* {
    const auto found = std::ranges::find(numbers, t.number);
    return found == numbers.end() ? nullptr : addresses[static_cast<std::size_t>(found - numbers.begin())];
  };
  const operands at{address(made->x), address(made->w), address(made->y), made->biased ? address(made->bias) : nullptr};
  for (void* p : {at.x, at.w, at.y, made->biased ? at.bias : at.x})
    if (p == nullptr || reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return CUDNN_STATUS_BAD_PARAM;
  const bool taken = plan->chosen == engine::rounding || plan->chosen == engine::steady;
  const auto status = enqueue(handle->stream, make_work([made, at, workspace, taken, e = plan->chosen] {
                                spoil(workspace, workspace_bytes);
                                const tensor& result = made->result();
                                if (taken)
                                  compute(*made, e, at);
                                else  // what must not be taken gives no result
                                  spoil(&result == &made->x   ? at.x
                                        : &result == &made->w ? at.w
                                                              : at.y,
                                        static_cast<std::size_t>(result.elements()) * (result.bfloat16 ? 2 : 4));
                              }));
  return status == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}
