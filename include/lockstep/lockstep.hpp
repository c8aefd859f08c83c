// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// What most programs on the CPU need, in one include. Include further headers, such as lockstep/data/sampler.hpp and
/// lockstep/data/stream.hpp, by name.

#include <lockstep/core/config.hpp>  // first: it refuses compilers that are too old

#include <lockstep/backend/backend.hpp>
#if LOCKSTEP_HAS_ONEDNN()
#include <lockstep/backend/cpu/cpu.hpp>
#else
#include <lockstep/backend/cpu/no_cpu.hpp>
#endif
#include <lockstep/backend/geometry.hpp>
#include <lockstep/comm/communicator.hpp>
#include <lockstep/comm/compress.hpp>
#include <lockstep/comm/error.hpp>
#include <lockstep/comm/single.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/shard.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/core/view.hpp>
#include <lockstep/data/cifar10.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/idx.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/open.hpp>
#include <lockstep/data/sampler_basic.hpp>
#include <lockstep/data/synthetic.hpp>
#include <lockstep/io/checkpoint.hpp>
#include <lockstep/io/safetensors.hpp>
#include <lockstep/io/safetensors_file.hpp>
#include <lockstep/model/checks.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/model/plan.hpp>
#include <lockstep/model/plan_table.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/batch_norm.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/frozen.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/loss.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/repeat.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/skippable.hpp>
#include <lockstep/nn/sum.hpp>
#include <lockstep/nn/tied.hpp>
#include <lockstep/observe/progress.hpp>
#include <lockstep/observe/step_log.hpp>
#include <lockstep/optim/adam.hpp>
#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/averaged.hpp>
#include <lockstep/optim/lion.hpp>
#include <lockstep/optim/nadam.hpp>
#include <lockstep/optim/optimizer.hpp>
#include <lockstep/optim/parameter_groups.hpp>
#include <lockstep/optim/rmsprop.hpp>
#include <lockstep/optim/schedule/constant.hpp>
#include <lockstep/optim/schedule/cosine.hpp>
#include <lockstep/optim/schedule/linear.hpp>
#include <lockstep/optim/schedule/multi_step.hpp>
#include <lockstep/optim/schedule/one_cycle.hpp>
#include <lockstep/optim/schedule/reduce_on_plateau.hpp>
#include <lockstep/optim/schedule/step.hpp>
#include <lockstep/optim/schedule/warm_up.hpp>
#include <lockstep/optim/scheduled.hpp>
#include <lockstep/optim/sgd.hpp>
#include <lockstep/parallel/data_parallel.hpp>
#include <lockstep/parallel/gather.hpp>
#include <lockstep/parallel/parallel_apply.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/ranks/bucket_table.hpp>
#include <lockstep/parallel/replicate.hpp>
#include <lockstep/parallel/scatter.hpp>
#include <lockstep/parallel/split/along.hpp>
#include <lockstep/parallel/split/by_cost.hpp>
#include <lockstep/parallel/split/by_weight.hpp>
#include <lockstep/parallel/split/even.hpp>
#include <lockstep/parallel/trainer/thread_team.hpp>
#include <lockstep/parallel/with_replicas.hpp>
