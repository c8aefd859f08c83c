// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/io/safetensors.hpp>

#include "../models/write_text.hpp"
#include "writers.hpp"

namespace lockstep_generate {

/// What the program needs of a model.
template <class Model>
[[nodiscard]] text_model make_writer() {
  return {.longest_prompt = models::longest_text<Model>,
          .write = [](const std::string& weights, const std::string& prompt, std::int64_t count,
                      const lockstep::sampling& how) {
            return models::write_text<Model>(prompt, count, how,
                                             [&](auto& writer) { lockstep::load_safetensors(writer, weights); });
          }};
}

}  // namespace lockstep_generate
