// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// The library with its CUDA backend, in one include. Only a CUDA compiler reads it; link lockstep::cuda.

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/lockstep.hpp>
