// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/backend/step_values.hpp>
#include <lockstep/nn/losses.hpp>

namespace lockstep::detail {

/// The type of a loss' targets; an arbitrary type for a model without a loss, which is never trained. `pointer` moves
/// over the targets of samples.
template <class Loss, class Value>
struct target_of {
  using type = Value;
  using pointer = const Value*;
};
template <class Loss, class Value>
  requires(!joins_losses<Loss> && requires { typename Loss::template target_type<Value>; })
struct target_of<Loss, Value> {
  using type = typename Loss::template target_type<Value>;
  using pointer = const type*;
};
template <joins_losses Loss, class Value>
struct target_of<Loss, Value> {
  using type = typename Loss::template target_type<Value>;
  using pointer = typename Loss::template target_pack<Value>;
};

/// A batch and the values of the step, once for each loss, as all replicas read them. Targets lie in the host's memory.
/// `Images` is a pointer, or the input_pack of several inputs.
template <class Images, class Targets, std::size_t Losses>
struct batch_pass {
  Images images;
  Targets targets;
  std::int64_t samples;
  std::array<step_values, Losses> now;
};

}  // namespace lockstep::detail
