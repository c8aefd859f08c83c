// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../models/resnet20.hpp"

#include "make_network.hpp"
#include "networks.hpp"
#include "replicas_built.hpp"

namespace lockstep_train {

using resnet20_model = lockstep::model<models::resnet20<10>, lockstep::input<3, 32, 32>, lockstep::cross_entropy>;

template <class Backend>
network resnet20_network_cifar10() {
  return make_network<resnet20_model, Backend, replicas_built_deep<Backend>>();
}

}  // namespace lockstep_train
