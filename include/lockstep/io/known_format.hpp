// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include <lockstep/io/message.hpp>

/// \file
/// Recognises, by their first bytes, files that are often given by mistake in place of a safetensors file.

namespace lockstep::detail {

/// A file format that is recognised by its first bytes.
struct known_format {
  std::string_view beginning;
  std::string_view name;
  std::string_view advice;
};

inline constexpr std::string_view convert_pickle =
    "convert it in Python: safetensors.torch.save_file(torch.load(\"in.pt\", weights_only=True), \"out.safetensors\")";

// Sources: PKWARE's APPNOTE 4.3.7, git-lfs's docs/spec.md, RFC 1952, the HDF5 file format specification, ggml's
// docs/gguf.md.
inline constexpr std::array<known_format, 5> known_formats{{
    {"PK\x03\x04", "a zip archive, as torch.save writes it (.pt, .pth, .bin)", convert_pickle},
    {"version https://git-lfs.github.com/", "a Git LFS pointer, which stands for a file that is not here",
     "fetch the file itself: run `git lfs install && git lfs pull` in its repository"},
    {"\x1f\x8b\x08", "a gzip archive", "unpack it with gunzip"},
    {"\x89HDF", "an HDF5 file, as Keras writes it (.h5)",
     "load it in Python and save its tensors with safetensors.numpy.save_file"},
    {"GGUF", "a GGUF file", "take the safetensors file that it was made from"},
}};

/// Whether `text` begins as a pickle of protocol 2 to 5: PROTO, the protocol, an opcode. Source: Python's pickletools.
[[nodiscard]] constexpr bool begins_as_pickle(std::string_view text) {
  constexpr char frame = '\x95';  // the opcode that comes next in protocols 4 and 5
  if (text.size() < 8 || text[0] != '\x80' || text[1] < 2 || text[1] > 5) return false;
  // Four zeros here are the upper half of the header length of a truncated safetensors file.
  return text[2] == frame || text.substr(4, 4) != std::string_view("\0\0\0\0", 4);
}

/// Whether `text` begins as an HTML page: with one of the usual first tags, in upper or lower case, after white space.
[[nodiscard]] constexpr bool begins_as_html(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  while (!text.empty() && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r' || text[0] == '\n'))
    text.remove_prefix(1);
  const auto begins_with = [&](std::string_view tag) {
    if (text.size() < tag.size()) return false;
    for (std::size_t i = 0; i < tag.size(); ++i) {
      const char letter = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
      if (letter != tag[i]) return false;
    }
    return true;
  };
  return begins_with("<!doctype html") || begins_with("<html") || begins_with("<head") || begins_with("<!--") ||
         begins_with("<?xml");
}

/// When `beginning` is that of a known format, throws an io_error that names the format and says what to do.
inline void refuse_known_format(const std::string& file, std::string_view beginning) {
  for (const known_format& format : known_formats)
    if (beginning.starts_with(format.beginning))
      throw_io_error(file, {"expected a safetensors file, got ", format.name, "; ", format.advice});
  if (begins_as_pickle(beginning))
    throw_io_error(file, {"expected a safetensors file, got a Python pickle, as old versions of torch.save write it "
                          "(.pt, .pth, .bin); ",
                          convert_pickle});
  if (begins_as_html(beginning))
    throw_io_error(file,
                   {"expected a safetensors file, got an HTML page, as a server sends in place of a file; download the "
                    "file itself (on Hugging Face with /resolve/ in its address, not /blob/)"});
}

}  // namespace lockstep::detail
