// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../models/byte_gpt.hpp"

#include "conventions.hpp"
#include "make_network.hpp"
#include "networks.hpp"
#include "replicas_built.hpp"
#include "text_network.hpp"

namespace lockstep_train {

/// The probability is a template argument, so that each one is a network of its own.
using gpt_dropout_model = models::byte_gpt_with<lockstep::dropout<0.1>>;

// Dropout has no part in what is written: one generator is enough.
struct gpt_conventions : text_conventions<models::byte_gpt> {
  template <class Parallel>
  static void initialize(Parallel& parallel, lockstep::seed s) {
    models::initialize_gpt(parallel, s, models::byte_gpt_layers);
  }
};
template <>
struct conventions<models::byte_gpt> : gpt_conventions {};
template <>
struct conventions<gpt_dropout_model> : gpt_conventions {};

template <class Backend>
network gpt_network_text() {
  return make_network<models::byte_gpt, Backend, replicas_built_deep<Backend>>();
}
template <class Backend>
network gpt_dropout_network_text() {
  return make_network<gpt_dropout_model, Backend, replicas_built_dropout>();
}

}  // namespace lockstep_train
