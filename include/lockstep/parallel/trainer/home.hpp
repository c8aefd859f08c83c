// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/parallel/trainer/gradient_update.hpp>

namespace lockstep::detail {

/// What replicas that share memory have in common: one copy each of the parameters, the optimizer's state and the sums
/// of gradients. On a host all replicas have one home; each GPU that holds replicas is a home.
template <class B, class Optimizer, std::size_t N, std::size_t Ranges>
struct home {
  using value = typename B::value_type;
  using context = typename B::context;

  /// For `slices` replicas; `c` is the context of the first.
  home(context& c, std::int64_t parameter_count, std::int64_t trainable_count, std::size_t slices)
      : front(&c), parameters(B::template allocate<value>(c, parameter_count)), update(trainable_count, slices) {}

  context* front;  ///< the context through which the host reaches this memory
  typename B::template buffer<value> parameters;
  gradient_update<B, Optimizer, N, Ranges> update;
};

/// Gives homes a model's initial parameters, drawn once in the host's memory, and clears the optimizer's state.
/// `each(f)` calls f(home) for each home, from one thread.
template <class Model, class B, class Each>
void initialize_homes(seed s, const Each& each) {
  using value = typename B::value_type;
  aligned_buffer<value> fresh(B::host_memory ? 0 : Model::template plan<B>.value_count);
  if constexpr (!B::host_memory) initialize_parameters<Model, B>(fresh.data(), s);
  each([&](auto& home) {
    if constexpr (B::host_memory)
      initialize_parameters<Model, B>(home.parameters.data(), s);
    else
      B::template copy_in<value>(*home.front, fresh.size(), fresh.data(), home.parameters.data());
    home.update.reset(*home.front);
    B::finish(*home.front);
  });
}

}  // namespace lockstep::detail
