// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string_view>

#include <cudnn.h>

#include <lockstep/backend/cuda/cudnn_graph.hpp>

/// \file
/// A device that is only described to cuDNN, so that it can be asked where there is none.

namespace lockstep_test {

#if CUDNN_VERSION >= 90800

namespace backend = lockstep::cuda_backend;

/// An H100 (SXM), as cuDNN's own record of one would describe it.
class described_device {
 public:
  described_device() {
    constexpr std::string_view h100 = R"({
      "deviceName": "NVIDIA H100 80GB HBM3", "cudaDeviceId": 0, "pciDeviceId": 0, "isTccDriver": 0,
      "deviceVer": 900, "driverVer": 13000, "multiProcessorCount": 132, "warpSize": 32, "supportCoopLaunch": 1,
      "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
      "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32,
      "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
      "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
      "l2CacheSize": 52428800, "totalGlobalMem": 85520809984, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000})";
    backend::check(cudnnBackendSetAttribute(properties_.get(), CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                            CUDNN_TYPE_CHAR, static_cast<std::int64_t>(h100.size()), h100.data()),
                   "a description of a device");
    static_cast<void>(properties_.finalize("a description of a device"));
  }

  static constexpr std::int64_t memory = 85520809984;

  void tell_graph(backend::graph_object&) const {}
  void tell_heuristic(backend::graph_object& heuristic) const {
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties_);
  }
  void tell_plan(backend::graph_object& plan) const { plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties_); }

 private:
  backend::graph_object properties_{CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR};
};

#endif

}  // namespace lockstep_test
