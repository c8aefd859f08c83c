// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <lockstep/core/fixed_string.hpp>
#include <lockstep/inference/embedded_match.hpp>
#include <lockstep/inference/state.hpp>
#include <lockstep/inference/weights.hpp>

namespace lockstep {

/// The state of a model, in the order that `inference<Model>(floats)` takes, from a header that lockstep-embed has
/// written from a safetensors file. The compiler finds the tensors by their names, as load_safetensors does under
/// match::strict: it removes the prefixes of wrappers, and a tensor that is missing, superfluous or of another shape is
/// a sentence. What is left for the run is to copy them, since such files sort their tensors by name.
///
/// Returns a std::array for a state of at most 8192 floats (32 KB), which may be a constant; else a std::vector.
///
///     #include "controller.hpp"   // lockstep-embed controller.safetensors -o controller.hpp --name controller
///     const ls::inference<net> control(ls::embedded_state<net>(weights::controller{}));
template <class Model, class Weights>
[[nodiscard]] constexpr auto embedded_state(const Weights& = {}) {
  using namespace detail::infer;
  constexpr auto count = static_cast<std::size_t>(state_size<Model>);
  std::conditional_t<(state_size<Model> > most_inline_weights), std::vector<float>, std::array<float, count>> state{};
  if constexpr (embedded_weights<Weights>) {
    constexpr auto places = match_embedded<Model, Weights>();
    if constexpr (places.fault == embedded_fault::none) {
      if constexpr (state_size<Model> > most_inline_weights) state.resize(count);
      auto to = state.begin();
      for (std::size_t i = 0; i < places.begin.size(); ++i)
        to = std::copy_n(Weights::values.begin() + places.begin[i], places.size[i], to);
    } else {
      static_assert(require_embedded<places.fault, detail::text_of<places.name.length>(places.name.view()),
                                     detail::text_of<places.wanted.length>(places.wanted.view()),
                                     detail::text_of<places.given.length>(places.given.view())>());
    }
  } else {
    static_assert(embedded_weights<Weights>,
                  "lockstep: embedded_state: it takes what lockstep-embed writes, as in "
                  "embedded_state<Model>(weights::model{})");
  }
  return state;
}

}  // namespace lockstep
