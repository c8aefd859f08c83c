// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/optim/parameter_groups.hpp>

#include "../models/write_text.hpp"

namespace lockstep_train {

/// The conventions of networks that read text and tell which byte comes next.
template <class Model>
struct text_conventions {
  using groups = lockstep::parameter_groups<lockstep::no_decay_on_vectors>;
  static constexpr std::int64_t longest_prompt = models::longest_text<Model>;

  template <class Parallel>
  [[nodiscard]] static std::string generate(const Parallel& parallel, std::string_view prompt, std::int64_t count,
                                            const lockstep::sampling& how) {
    return models::write_text<Model>(prompt, count, how, [&](auto& writer) { writer.update_from(parallel); });
  }
};

}  // namespace lockstep_train
