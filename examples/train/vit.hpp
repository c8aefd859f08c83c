// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../models/vit.hpp"

#include "conventions.hpp"
#include "make_network.hpp"
#include "networks.hpp"
#include "replicas_built.hpp"

namespace lockstep_train {

/// models::vit_tiny with half as many layers: a step of 64 pictures takes one core less than a second.
using vit_model =
    lockstep::model<models::vit<4, 64, 3, 3, 192, 10>, lockstep::input<3, 32, 32>, lockstep::cross_entropy>;

/// As of other networks, but for the first parameters.
template <>
struct conventions<vit_model> : conventions<void> {
  template <class Parallel>
  static void initialize(Parallel& parallel, lockstep::seed s) {
    models::initialize_vit(parallel, s);
  }
};

template <class Backend>
network vit_network_cifar10() {
  return make_network<vit_model, Backend, replicas_built_deep<Backend>>();
}

}  // namespace lockstep_train
