// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>

namespace lockstep {

/// What the driver reports of one GPU, for all processes on it together.
struct gpu_sample {
  std::string name{};
  int busy_percent = -1;          ///< share of the last second or less in which a kernel ran; -1: unknown
  std::int64_t memory_used = 0;   ///< bytes
  std::int64_t memory_total = 0;  ///< bytes
};

/// How a run used one GPU.
struct gpu_usage {
  std::string name{};
  double busy = 0;  ///< mean over the samples, in [0, 1]; NaN when unknown
  std::int64_t memory_peak = 0;
  std::int64_t memory_total = 0;
};

/// Reads utilisation and memory of all GPUs from NVML, which comes with NVIDIA's driver. The constructor loads the
/// library at run time: a program needs neither the library to build nor a GPU to run, and without a driver count() is
/// 0. Use it from one thread at a time.
class gpu_monitor {
 public:
  explicit gpu_monitor(const char* library = "libnvidia-ml.so.1") : library_(dlopen(library, RTLD_NOW | RTLD_LOCAL)) {
    if (library_ == nullptr) return;
    find(initialize_, "nvmlInit_v2");
    find(shut_down_, "nvmlShutdown");
    find(count_devices_, "nvmlDeviceGetCount_v2");
    find(device_at_, "nvmlDeviceGetHandleByIndex_v2");
    find(name_of_, "nvmlDeviceGetName");
    find(utilization_of_, "nvmlDeviceGetUtilizationRates");
    find(memory_of_, "nvmlDeviceGetMemoryInfo");
    if (!complete_ || initialize_() != 0) return;
    initialized_ = true;
    unsigned count = 0;
    if (count_devices_(&count) != 0) return;
    for (unsigned index = 0; index < count; ++index) {
      device found = nullptr;
      if (device_at_(index, &found) != 0) continue;
      std::array<char, 96> name{};
      if (name_of_(found, name.data(), static_cast<unsigned>(name.size() - 1)) != 0) name = {"GPU"};
      devices_.push_back({found, std::string(name.data()) + " " + std::to_string(index)});
    }
    usage_.resize(devices_.size());
  }
  gpu_monitor(const gpu_monitor&) = delete;
  gpu_monitor& operator=(const gpu_monitor&) = delete;
  ~gpu_monitor() {
    if (initialized_) shut_down_();
    if (library_ != nullptr) dlclose(library_);
  }

  /// Number of GPUs that the driver shows; 0 without a driver.
  [[nodiscard]] std::size_t count() const noexcept { return devices_.size(); }

  /// Reads all GPUs. Takes about a millisecond for each.
  [[nodiscard]] std::vector<gpu_sample> read() const {
    std::vector<gpu_sample> all;
    for (const auto& [handle, name] : devices_) {
      gpu_sample sample{.name = name};
      utilization rates{};
      if (utilization_of_(handle, &rates) == 0) sample.busy_percent = static_cast<int>(rates.gpu);
      memory bytes{};
      if (memory_of_(handle, &bytes) == 0) {
        sample.memory_used = static_cast<std::int64_t>(bytes.used);
        sample.memory_total = static_cast<std::int64_t>(bytes.total);
      }
      all.push_back(std::move(sample));
    }
    return all;
  }

  /// Reads all GPUs once and adds the values to `usage`.
  void sample() {
    const auto now = read();
    for (std::size_t i = 0; i < now.size(); ++i) {
      usage_[i].memory_peak = (std::max)(usage_[i].memory_peak, now[i].memory_used);
      usage_[i].memory_total = now[i].memory_total;
      if (now[i].busy_percent < 0) continue;
      usage_[i].busy_sum += now[i].busy_percent / 100.0;
      ++usage_[i].busy_samples;
    }
  }
  /// Usage over the samples so far.
  [[nodiscard]] std::vector<gpu_usage> usage() const {
    std::vector<gpu_usage> all;
    for (std::size_t i = 0; i < usage_.size(); ++i)
      all.push_back({.name = devices_[i].name,
                     .busy = usage_[i].busy_sum / static_cast<double>(usage_[i].busy_samples),
                     .memory_peak = usage_[i].memory_peak,
                     .memory_total = usage_[i].memory_total});
    return all;
  }

 private:
  // NVML's stable interface, declared here so that nobody needs nvml.h from the CUDA Toolkit.
  using device = void*;
  using status = int;  // 0: success
  struct utilization {
    unsigned gpu, memory;
  };
  struct memory {
    unsigned long long total, free, used;
  };

  struct found_device {
    device handle;
    std::string name;
  };
  struct sums {
    double busy_sum = 0;
    std::int64_t busy_samples = 0;
    std::int64_t memory_peak = 0;
    std::int64_t memory_total = 0;
  };

  template <class Function>
  void find(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(dlsym(library_, name));
    complete_ = complete_ && function != nullptr;
  }

  void* library_;
  bool complete_ = true;
  bool initialized_ = false;
  status (*initialize_)() = nullptr;
  status (*shut_down_)() = nullptr;
  status (*count_devices_)(unsigned*) = nullptr;
  status (*device_at_)(unsigned, device*) = nullptr;
  status (*name_of_)(device, char*, unsigned) = nullptr;
  status (*utilization_of_)(device, utilization*) = nullptr;
  status (*memory_of_)(device, memory*) = nullptr;
  std::vector<found_device> devices_;
  std::vector<sums> usage_;
};

}  // namespace lockstep
