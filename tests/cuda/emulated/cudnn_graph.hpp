// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include <cudnn.h>

#include "machine.hpp"

/// \file
/// Objects of the emulated cuDNN's graph API, and the graphs that it knows.

namespace emulated {

using extents = std::array<std::int64_t, 4>;  ///< count, channels, height, width

/// What a heuristic names, in this order.
enum class engine : std::int64_t { by_chance, coarse, rounding, refusing, greedy, steady };

struct tensor {
  std::int64_t number;
  bool bfloat16;
  extents size;
  extents stride;
  bool stored;

  [[nodiscard]] std::int64_t elements() const { return size[0] * size[1] * size[2] * size[3]; }
};

struct window {
  std::array<std::int64_t, 2> padding, stride, dilation;
};

/// The graphs that are known: a convolution, with a bias and a relu behind it perhaps.
struct graph {
  cudnnBackendDescriptorType_t pass;
  tensor x, w, y;  ///< y: what the last operation stores
  window c;
  bool biased = false;
  tensor bias;
  bool relu = false;
  bool keeps_nan = false;

  [[nodiscard]] bool forward() const { return pass == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR; }
  [[nodiscard]] const tensor& result() const {
    return forward() ? y : pass == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR ? w : x;
  }
  [[nodiscard]] bool offered() const {
    const std::int64_t channels = y.size[1];
    const bool alike = x.bfloat16 == y.bfloat16 && x.bfloat16 == w.bfloat16 && (!biased || bias.bfloat16 == x.bfloat16);
    return alike && (!biased || (channels % 4 != 2 && fuses()));
  }
};

struct object {
  struct attribute {
    cudnnBackendAttributeType_t type;
    std::int64_t count;
    std::vector<std::byte> bytes;
  };
  cudnnBackendDescriptorType_t type;
  bool finalized = false;
  std::map<cudnnBackendAttributeName_t, attribute> attributes;
  // What it has become.
  std::shared_ptr<const graph> made;  ///< of a graph, a heuristic, an engine's settings, a plan
  engine chosen{};                    ///< of an engine, its settings, a plan

  template <class T>
  [[nodiscard]] bool has(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t of,
                         std::size_t count = 1) const {
    const auto found = attributes.find(name);
    return found != attributes.end() && found->second.type == of &&
           found->second.count == static_cast<std::int64_t>(count) && found->second.bytes.size() == count * sizeof(T);
  }
  template <class T>
  [[nodiscard]] std::vector<T> all(cudnnBackendAttributeName_t name) const {
    const auto found = attributes.find(name);
    if (found == attributes.end()) return {};
    std::vector<T> values(found->second.bytes.size() / sizeof(T));
    std::memcpy(values.data(), found->second.bytes.data(), values.size() * sizeof(T));
    return values;
  }
  template <class T>
  [[nodiscard]] T one(cudnnBackendAttributeName_t name) const {
    T value{};
    std::memcpy(&value, attributes.at(name).bytes.data(), sizeof(T));
    return value;
  }
};

/// What stands at each address.
struct operands {
  void *x, *w, *y, *bias;
};

/// The objects that have not been destroyed.
std::set<const void*>& living();
/// The object, or null where there is none of that type; with `finalized` one that is.
object* find(cudnnBackendDescriptor_t at, cudnnBackendDescriptorType_t type, bool finalized = true);
/// What an attribute names, if that is finalized and of this type; else null.
object* child(const object& o, cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type);

/// Whether an object's attributes are complete and fit each other: a tensor's, a window's, ...
bool is_tensor(const object& o);
bool is_window(const object& o);
bool is_pointwise(const object& o);
bool is_convolution(const object& o);
bool is_pointwise_operation(const object& o);

/// The graph of an object's operations; null where it is none that is known.
std::shared_ptr<const graph> graph_of(const object& o);

/// Computes a graph by its definition.
void compute(const graph& g, engine e, const operands& at);

}  // namespace emulated
