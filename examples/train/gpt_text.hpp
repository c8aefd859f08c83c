// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../models/byte_gpt.hpp"

#include "conventions.hpp"
#include "make_network.hpp"
#include "networks.hpp"
#include "replicas_built.hpp"
#include "text_network.hpp"

namespace lockstep_train {

template <>
struct conventions<models::byte_gpt> : text_conventions<models::byte_gpt> {
  template <class Parallel>
  static void initialize(Parallel& parallel, lockstep::seed s) {
    models::initialize_gpt(parallel, s, models::byte_gpt_layers);
  }
};

template <class Backend>
network gpt_network_text() {
  return make_network<models::byte_gpt, Backend, replicas_built_deep<Backend>>();
}

}  // namespace lockstep_train
