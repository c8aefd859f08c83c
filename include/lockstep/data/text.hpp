// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

/// \file
/// Texts as samples of tokens: `auto [train, validation] = text_file("input.txt"); auto samples =
/// windows<128>(train);`. GPT-2's tokenizer is lockstep/data/gpt2_tokenizer.hpp.

#include <lockstep/core/config.hpp>

#include <lockstep/data/text/documents.hpp>
#include <lockstep/data/text/text_file.hpp>
#include <lockstep/data/text/token_sequence.hpp>
#include <lockstep/data/text/window_sampler.hpp>
#include <lockstep/data/text/windows.hpp>
