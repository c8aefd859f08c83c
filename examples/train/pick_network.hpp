// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "data.hpp"
#include "networks.hpp"
#include "options.hpp"
#include "replicas_built.hpp"

namespace lockstep_train {

/// A backend's network for what o.model and the data's format ask for.
template <class Backend>
[[nodiscard]] network pick_network(const options& o, sample_format format) {
  if (format == sample_format::rows) return linear_network<Backend>();
  const bool colour = format == sample_format::cifar10;
  if (o.model == "lenet") return lenet_network_idx<Backend>();
  if constexpr (replicas_built_deep<Backend>::automatic::any) {
    if (o.model == "gpt") return o.dropout > 0 ? gpt_dropout_network_text<Backend>() : gpt_network_text<Backend>();
    if (o.model == "lstm") return lstm_network_text<Backend>();
    if (o.model == "resnet20") return resnet20_network_cifar10<Backend>();
    if (o.model == "vit") return vit_network_cifar10<Backend>();
  }
  if (o.model == "cnn") return colour ? cnn_network_cifar10<Backend>() : cnn_network_idx<Backend>();
  return colour ? mlp_network_cifar10<Backend>() : mlp_network_idx<Backend>();
}

}  // namespace lockstep_train
