// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../models/lenet.hpp"

#include "make_network.hpp"
#include "networks.hpp"

namespace lockstep_train {

using lenet_model = lockstep::model<models::lenet, lockstep::input<1, 28, 28>, lockstep::cross_entropy>;

template <class Backend>
network lenet_network_idx() {
  return make_network<lenet_model, Backend>();
}

}  // namespace lockstep_train
