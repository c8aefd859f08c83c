// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// The library with its CUDA backend, in one include. It needs a CUDA compiler; link lockstep::cuda.

#include <lockstep/core/config.hpp>  // first: it refuses compilers that are too old

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/lockstep.hpp>
