// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <functional>

/// \file
/// What tests make fail in the emulated libraries, and what these have seen go wrong.

namespace emulated {

/// From now on this device cannot be made current; -1: every device can.
void refuse_device(int device);

/// Launches of graphs until now.
[[nodiscard]] int launched_graphs();

/// Nodes of the graph that was launched last.
[[nodiscard]] std::size_t nodes_of_last_graph();

/// Takes the contexts from all devices, which calls then make anew.
void forget_contexts();

/// Takes the kernels from all devices, which their next launches bring there anew.
void forget_kernels();

/// The next call of ncclAllReduce calls f() before anything else.
void call_in_next_sum(std::function<void()> f);

/// The CUBLASLT_REDUCTION_SCHEMEs among which cuBLASLt chose an algorithm last.
[[nodiscard]] unsigned last_reductions();

/// How often NCCL was given a communicator that had been closed.
[[nodiscard]] int uses_of_closed_communicators();

/// How often NCCL was to end a communicator that a thread was in a call with.
[[nodiscard]] int ends_during_calls();

/// Whether what communicators have begun goes on for now, however often they are asked.
void hold_up_communicators(bool held_up_now);

}  // namespace emulated
