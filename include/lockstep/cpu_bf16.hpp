// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// The library with precision::bf16 on the CPU, in one include.

#include <lockstep/core/config.hpp>  // first: it refuses compilers that are too old

#include <lockstep/backend/cpu/bf16/cpu_bf16.hpp>
#include <lockstep/lockstep.hpp>
