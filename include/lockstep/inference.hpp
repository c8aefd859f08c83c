// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// What a program needs that only predicts: networks, models and `inference`. No threads, no oneDNN.

#include <lockstep/core/config.hpp>  // first: it refuses compilers that are too old

#include <lockstep/inference/embedded.hpp>
#include <lockstep/inference/inference.hpp>
#include <lockstep/model/model.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/activation/elu.hpp>
#include <lockstep/nn/activation/gelu.hpp>
#include <lockstep/nn/activation/leaky_relu.hpp>
#include <lockstep/nn/activation/sigmoid.hpp>
#include <lockstep/nn/activation/silu.hpp>
#include <lockstep/nn/activation/softmax.hpp>
#include <lockstep/nn/activation/softplus.hpp>
#include <lockstep/nn/activation/tanh.hpp>
#include <lockstep/nn/adaptive_avg_pool2d.hpp>
#include <lockstep/nn/batch_norm.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/conv1d.hpp>
#include <lockstep/nn/conv2d.hpp>
#include <lockstep/nn/conv_transpose2d.hpp>
#include <lockstep/nn/dropout.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/frozen.hpp>
#include <lockstep/nn/group_norm.hpp>
#include <lockstep/nn/gru.hpp>
#include <lockstep/nn/identity.hpp>
#include <lockstep/nn/layer_norm.hpp>
#include <lockstep/nn/linear.hpp>
#include <lockstep/nn/losses.hpp>
#include <lockstep/nn/lstm.hpp>
#include <lockstep/nn/pool1d.hpp>
#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/repeat.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/rms_norm.hpp>
#include <lockstep/nn/rnn.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/skippable.hpp>
#include <lockstep/nn/sum.hpp>
#include <lockstep/nn/tied.hpp>
#include <lockstep/nn/upsample.hpp>
