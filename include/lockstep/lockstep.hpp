// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// The CPU library in one include.

#include <lockstep/backend/cpu/cpu.hpp>
#include <lockstep/core/config.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/replicate.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/with_replicas.hpp>
