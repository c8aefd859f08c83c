// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <cudnn.h>

#include <lockstep/backend/cuda/cudnn.hpp>
#include <lockstep/backend/cuda/handle.hpp>
#include <lockstep/backend/cuda/staging.hpp>

/// \file
/// What all graphs of cuDNN's graph API share: objects with attributes, tensors, and the choice of an engine.

namespace lockstep::cuda_backend {

/// The graph API's name for the type T of an attribute.
template <class T>
consteval cudnnBackendAttributeType_t attribute_type() {
  if constexpr (std::same_as<T, std::int64_t>)
    return CUDNN_TYPE_INT64;
  else if constexpr (std::same_as<T, float>)
    return CUDNN_TYPE_FLOAT;
  else if constexpr (std::same_as<T, bool>)
    return CUDNN_TYPE_BOOLEAN;
  else if constexpr (std::same_as<T, cudnnDataType_t>)
    return CUDNN_TYPE_DATA_TYPE;
  else if constexpr (std::same_as<T, cudnnConvolutionMode_t>)
    return CUDNN_TYPE_CONVOLUTION_MODE;
  else if constexpr (std::same_as<T, cudnnPointwiseMode_t>)
    return CUDNN_TYPE_POINTWISE_MODE;
  else if constexpr (std::same_as<T, cudnnNanPropagation_t>)
    return CUDNN_TYPE_NAN_PROPOGATION;
  else if constexpr (std::same_as<T, cudnnBackendHeurMode_t>)
    return CUDNN_TYPE_HEUR_MODE;
  else if constexpr (std::same_as<T, cudnnBackendNumericalNote_t>)
    return CUDNN_TYPE_NUMERICAL_NOTE;
  else if constexpr (std::same_as<T, cudnnHandle_t>)
    return CUDNN_TYPE_HANDLE;
  else {
    static_assert(std::same_as<T, cudnnBackendDescriptor_t>, "lockstep: not a type of attributes");
    return CUDNN_TYPE_BACKEND_DESCRIPTOR;
  }
}

/// An object of the graph API (a "backend descriptor"). It is given attributes, then finalized, and does not change
/// after that. Objects that are its attributes must outlive it.
class graph_object {
 public:
  [[gnu::cold]] explicit graph_object(cudnnBackendDescriptorType_t type) {
    check(cudnnBackendCreateDescriptor(type, object_.out()), "an object of a graph (cudnnBackendCreateDescriptor)");
  }

  [[nodiscard]] cudnnBackendDescriptor_t get() const noexcept { return object_.get(); }

  template <class T>
  graph_object& set(cudnnBackendAttributeName_t name, std::span<const T> values) {
    return set(name, attribute_type<T>(), static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  graph_object& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, std::span<const T>(&value, 1));
  }
  template <class T, std::size_t N>
  graph_object& set(cudnnBackendAttributeName_t name, const std::array<T, N>& values) {
    return set(name, std::span<const T>(values));
  }
  graph_object& set(cudnnBackendAttributeName_t name, const graph_object& value) { return set(name, value.get()); }
  /// Sets addresses, whose C++ type is that of an object, too.
  graph_object& set_addresses(cudnnBackendAttributeName_t name, std::span<void* const> values) {
    return set(name, CUDNN_TYPE_VOID_PTR, static_cast<std::int64_t>(values.size()), values.data());
  }

  [[nodiscard]] cudnnStatus_t try_finalize() { return cudnnBackendFinalize(get()); }
  graph_object&& finalize(std::string_view what) {
    check(try_finalize(), what);
    return std::move(*this);
  }

  /// Returns as many of the attribute's values as there are and `to` has room for. cuDNN fills in objects in place:
  /// `to` names them beforehand.
  template <class T>
  [[nodiscard]] std::span<T> get(cudnnBackendAttributeName_t name, std::span<T> to) const {
    std::int64_t count = 0;
    check(cudnnBackendGetAttribute(get(), name, attribute_type<T>(), static_cast<std::int64_t>(to.size()), &count,
                                   to.data()),
          "an attribute of a graph's object (cudnnBackendGetAttribute)");
    return to.first((std::min)(to.size(), static_cast<std::size_t>(count)));
  }
  template <class T>
  [[nodiscard]] T get(cudnnBackendAttributeName_t name) const {
    T value{};
    static_cast<void>(get(name, std::span<T>(&value, 1)));
    return value;
  }

 private:
  graph_object& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                    const void* values) {
    check(cudnnBackendSetAttribute(get(), name, type, count, values),
          "an attribute of a graph's object (cudnnBackendSetAttribute)");
    return *this;
  }

  handle<cudnnBackendDescriptor_t, cudnnBackendDestroyDescriptor> object_;
};

/// A tensor of count x channels x height x width, channels-last, at an address that is a multiple of library_alignment;
/// unless `stored`, one that is never in memory. `number` is its name when a plan runs.
[[nodiscard, gnu::cold]] inline graph_object channels_last_tensor(std::int64_t number,
                                                                  const std::array<std::int64_t, 4>& extents,
                                                                  cudnnDataType_t elements, bool stored = true) {
  const auto& [count, channels, height, width] = extents;
  const std::array<std::int64_t, 4> strides{channels * height * width, 1, width * channels, channels};
  graph_object made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, number)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, elements)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, extents)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, library_alignment)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, !stored);
  return made.finalize("a tensor (cudnnBackendFinalize)");
}

/// Tells the graph API which device a plan is made for: that of a handle.
struct handle_device {
  cudnnHandle_t handle;
  std::int64_t memory;  ///< of the device, in bytes

  void tell_graph(graph_object& graph) const { graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle); }
  void tell_heuristic(graph_object&) const {}  // the heuristic asks the graph
  void tell_plan(graph_object& plan) const { plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle); }
};

/// Whether an engine gives the same bits in every run, sums in float32, and rounds no factor (or, if `rounds`, only to
/// TF32).
[[nodiscard, gnu::cold]] inline bool engine_allowed(const graph_object& config, bool rounds) {
  const graph_object engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t at = engine.get();
  static_cast<void>(config.get(CUDNN_ATTR_ENGINECFG_ENGINE, std::span(&at, 1)));
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> room{};
  const auto notes = engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, std::span<cudnnBackendNumericalNote_t>(room));
  return std::ranges::none_of(notes, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:  // the note does not say to which type
        return true;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:  // tensor cores take float32 as TF32
        return !rounds;
      default:
        return false;
    }
  });
}

/// Engines for a graph with their settings, first those that cuDNN expects to be the fastest; empty when it has none.
template <class Device>
[[nodiscard, gnu::cold]] std::vector<graph_object> engine_configs(const Device& device, const graph_object& graph,
                                                                  cudnnBackendHeurMode_t mode) {
  constexpr std::size_t most = 64;
  graph_object heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  device.tell_heuristic(heuristic);
  if (heuristic.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
  std::vector<graph_object> configs;
  std::vector<cudnnBackendDescriptor_t> at;
  for (std::size_t i = 0; i < most; ++i) at.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  const auto found = heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, std::span(at)).size();
  configs.erase(configs.begin() + static_cast<std::ptrdiff_t>(found), configs.end());
  return configs;
}

/// Runs a graph whose tensors have numbers from 1 to Tensors, or some of these numbers.
template <std::size_t Tensors>
class graph_plan {
 public:
  /// An empty plan, which converts to false and cannot run.
  graph_plan() = default;
  /// `parts`: the objects that the plan refers to.
  graph_plan(std::vector<graph_object> parts, graph_object plan)
      : parts_(std::move(parts)),
        plan_(std::move(plan)),
        bytes_(plan_->template get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)) {}

  [[nodiscard]] explicit operator bool() const noexcept { return plan_.has_value(); }
  /// Bytes of workspace, in the device's memory, that the plan needs.
  [[nodiscard]] std::int64_t bytes() const noexcept { return bytes_; }

  /// Starts the graph on the handle's stream, for tensors at these addresses; null stands for a tensor that the graph
  /// does not have. Throws backend_error, saying `what`, when cuDNN fails. Allocates nothing when the addresses are
  /// those of the call before.
  void run(cudnnHandle_t handle, const std::array<void*, Tensors>& tensors, void* workspace, std::string_view what) {
    if (!pack_ || tensors != tensors_ || workspace != workspace_) bind(tensors, workspace);
    check(cudnnBackendExecute(handle, plan_->get(), pack_->get()), what);
  }

 private:
  [[gnu::cold, gnu::noinline]] void bind(const std::array<void*, Tensors>& tensors, void* workspace) {
    std::vector<std::int64_t> numbers;
    std::vector<void*> addresses;
    for (std::size_t i = 0; i < Tensors; ++i) {
      if (tensors[i] == nullptr) continue;
      numbers.push_back(static_cast<std::int64_t>(i) + 1);
      addresses.push_back(tensors[i]);
    }
    graph_object pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const std::int64_t>(numbers))
        .set_addresses(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses)
        .set_addresses(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::span(&workspace, 1));
    pack_ = pack.finalize("the tensors of a plan (cudnnBackendFinalize)");
    tensors_ = tensors;
    workspace_ = workspace;
  }

  std::vector<graph_object> parts_;
  std::optional<graph_object> plan_;
  std::int64_t bytes_ = 0;
  std::optional<graph_object> pack_;
  std::array<void*, Tensors> tensors_{};
  void* workspace_ = nullptr;
};

/// A graph under construction, and all its objects.
class graph_parts {
 public:
  /// Keeps a finalized object with the graph.
  cudnnBackendDescriptor_t keep(graph_object&& object) { return parts_.emplace_back(std::move(object)).get(); }
  /// Keeps a finalized operation, which comes after those added before.
  void add(graph_object&& operation) { operations_.push_back(keep(std::move(operation))); }

  /// Returns the plan of the engine that cuDNN expects to be the fastest, among those that engine_allowed accepts and
  /// that work in little memory. Where none works in little, takes the one that works in the least; where there is no
  /// engine, returns an empty plan.
  template <std::size_t Tensors, class Device>
  [[nodiscard, gnu::cold]] graph_plan<Tensors> plan(const Device& device, bool rounds) && {
    // Without tensor cores the fast engines first transpose channels-last operands, and ask for room of the operands'
    // size.
    const std::int64_t little = (std::max)(std::int64_t{256} << 20U, device.memory / 16);
    graph_object graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const cudnnBackendDescriptor_t>(operations_));
    device.tell_graph(graph);
    if (graph.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
    std::vector<graph_object> best;  // an engine's settings, and the plan made of them
    std::int64_t least = (std::numeric_limits<std::int64_t>::max)();
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      if (least <= little) break;
      for (graph_object& config : engine_configs(device, graph, mode)) {
        if (!engine_allowed(config, rounds)) continue;
        graph_object plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
        device.tell_plan(plan);
        if (plan.try_finalize() != CUDNN_STATUS_SUCCESS) continue;  // the heuristic may be wrong
        const auto bytes = plan.template get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
        if (bytes >= least) continue;
        best.clear();
        best.push_back(std::move(config));
        best.push_back(std::move(plan));
        least = bytes;
        if (least <= little) break;
      }
    }
    if (best.empty()) return {};
    keep(std::move(graph));
    keep(std::move(best.front()));
    return graph_plan<Tensors>(std::move(parts_), std::move(best.back()));
  }

 private:
  std::vector<graph_object> parts_;
  std::vector<cudnnBackendDescriptor_t> operations_;
};

}  // namespace lockstep::cuda_backend
