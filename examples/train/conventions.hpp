// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/core/random.hpp>
#include <lockstep/generate/sampling.hpp>
#include <lockstep/optim/parameter_groups.hpp>

namespace lockstep_train {

/// What a network asks for beside its layers. Those that read text specialise it.
template <class Model>
struct conventions {
  /// Of parameters, where `--decay matrices` makes a difference.
  using groups = lockstep::parameter_groups<>;
  /// Bytes that it writes on from, at most; 0: writes no text.
  static constexpr std::int64_t longest_prompt = 0;

  template <class Parallel>
  static void initialize(Parallel& parallel, lockstep::seed s) {
    parallel.initialize(s);
  }
  /// The bytes that come after a prompt.
  template <class Parallel>
  [[nodiscard]] static std::string generate(const Parallel&, std::string_view, std::int64_t,
                                            const lockstep::sampling&) {
    return {};
  }
};

}  // namespace lockstep_train
