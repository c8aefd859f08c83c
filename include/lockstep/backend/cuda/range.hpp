// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <nvtx3/nvtx3.hpp>

namespace lockstep::cuda_backend {

/// The domain of our ranges in a profiler.
struct range_domain {
  static constexpr const char* name = "lockstep";
};

/// A named range of this thread's time, from construction to destruction, as Nsight Systems and others show it. Costs a
/// test of a pointer while no profiler listens.
class range {
 public:
  explicit range(const char* text) noexcept : range_(::nvtx3::v1::event_attributes{text}) {}

 private:
  ::nvtx3::v1::scoped_range_in<range_domain> range_;
};

}  // namespace lockstep::cuda_backend
