// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// Samplers decide which samples an epoch visits, and in which order:
/// `loader{train, {.batch = 64}, random_sampler{train.size()}}`.

#include <lockstep/core/config.hpp>

#include <lockstep/data/sampler_basic.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/sampler_distributed.hpp>
#include <lockstep/data/sampler_stratified.hpp>
#include <lockstep/data/sampler_weighted.hpp>
