// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include "../models/char_lstm.hpp"

#include "conventions.hpp"
#include "make_network.hpp"
#include "networks.hpp"
#include "replicas_built.hpp"
#include "text_network.hpp"

namespace lockstep_train {

using lstm_model = models::char_lstm_model<>;

template <>
struct conventions<lstm_model> : text_conventions<lstm_model> {
  template <class Parallel>
  static void initialize(Parallel& parallel, lockstep::seed s) {
    parallel.initialize(s);
  }
};

template <class Backend>
network lstm_network_text() {
  return make_network<lstm_model, Backend, replicas_built_deep<Backend>>();
}

}  // namespace lockstep_train
