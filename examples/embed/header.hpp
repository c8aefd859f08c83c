// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <string>

#include <lockstep/io/file.hpp>
#include <lockstep/io/safetensors_file.hpp>

namespace lockstep_embed {

/// How the header names what it holds.
struct header_names {
  std::string source;      ///< the file it is made from, as its first line shows it
  std::string name_space;  ///< `weights`, `app::weights`
  std::string type;
};

/// Writes a header with the tensors of a file. Throws lockstep::io_error when a tensor has no place in it, before the
/// first byte is written, and when `out` cannot be written.
void write_header(const lockstep::safetensors_file& file, const header_names& names, const std::string& out);

}  // namespace lockstep_embed
