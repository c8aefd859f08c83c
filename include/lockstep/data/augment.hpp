// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// Random changes of training pictures, sample by sample, on the thread that prepares batches:
/// `loader{train, {.batch = 128, .shuffle = true}, augment{pad_and_crop<4>{}, flip<>{}}}`.

#include <lockstep/core/config.hpp>

#include <lockstep/data/augment/cutout.hpp>
#include <lockstep/data/augment/flip.hpp>
#include <lockstep/data/augment/mixup.hpp>
#include <lockstep/data/augment/normalise.hpp>
#include <lockstep/data/augment/pad_and_crop.hpp>
#include <lockstep/data/augment/pipeline.hpp>
#include <lockstep/data/augment/random_draws.hpp>
#include <lockstep/data/augment/random_erasing.hpp>
