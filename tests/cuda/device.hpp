// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <lockstep/backend/cuda/device.hpp>

#include "support/catch.hpp"

/// First in every test case that works on a device: without one the case is skipped, and says why.
#define LOCKSTEP_NEEDS_DEVICE()                                            \
  do {                                                                     \
    const std::string no_device = lockstep::cuda_backend::why_no_device(); \
    if (!no_device.empty()) LOCKSTEP_SKIP(no_device);                      \
  } while (false)

/// The same for test cases that take n of them.
#define LOCKSTEP_NEEDS_DEVICES(n) \
  LOCKSTEP_NEEDS_DEVICE();        \
  if (lockstep::cuda_backend::device_count() < n) LOCKSTEP_SKIP("there are fewer than " #n " devices")
