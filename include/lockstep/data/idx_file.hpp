// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/data/folder.hpp>
#include <lockstep/io/file.hpp>

/// \file
/// One IDX file: two zero bytes, the element type, the number of extents, the extents in 32 bits each, the elements;
/// all of them big-endian. Source: http://yann.lecun.com/exdb/mnist/, "file formats".

namespace lockstep::data::detail {

inline constexpr std::uint8_t idx_bytes = 0x08;
inline constexpr std::uint8_t idx_floats = 0x0D;

/// Returns the name of an element type; empty for a code that the format does not have.
[[nodiscard]] constexpr std::string_view idx_type_name(std::uint8_t code) {
  switch (code) {
    case idx_bytes:
      return "unsigned bytes";
    case 0x09:
      return "signed bytes";
    case 0x0B:
      return "16-bit integers";
    case 0x0C:
      return "32-bit integers";
    case idx_floats:
      return "floats";
    case 0x0E:
      return "doubles";
    default:
      return {};
  }
}

/// The default unpacker: refuses packed files with an io_error.
struct no_unpacker {
  [[noreturn]] std::vector<std::uint8_t> operator()(const std::string& path, std::size_t /*most*/) const {
    throw_io_error(path, {"expected an unpacked IDX file, got a gzip archive; unpack it with gunzip, or read it with "
                          "idx(folder, gzip{}) of lockstep/data/gzip.hpp, which needs zlib"});
  }
};

/// What a file must hold.
struct idx_expectation {
  dims sample;            // extents after the first
  bool floats = false;    // whether floats are allowed as well as bytes
  std::string_view what;  // "images" or "labels"
};

/// Returns the extents without leading ones: files often leave out a picture's single channel.
[[nodiscard]] constexpr dims without_leading_ones(const dims& d) {
  dims result;
  bool leading = true;
  for (int i = 0; i < d.rank; ++i) {
    leading = leading && d[i] == 1;
    if (!leading) result.extent[result.rank++] = d[i];
  }
  return result;
}

struct idx_header {
  std::uint8_t type = 0;
  std::uint64_t count = 0;
  std::size_t bytes = 0;  // of the header itself
  std::size_t body = 0;   // bytes after it
};

/// Reads a header from the first bytes of a file. Throws io_error unless the header is as `expected`.
template <class = void>
[[nodiscard]] idx_header parse_idx_header(const std::string& path, std::span<const std::uint8_t> bytes,
                                          const idx_expectation& expected) {
  const dims core = without_leading_ones(expected.sample);
  const auto least = static_cast<std::size_t>(1 + core.rank);
  const auto most = static_cast<std::size_t>(1 + expected.sample.rank);
  const std::size_t rank = bytes.size() >= 4 ? bytes[3] : least;
  if (bytes.size() >= 2 && (bytes[0] != 0 || bytes[1] != 0))
    throw_io_error(path, {"expected an IDX file, which begins with two zero bytes, got ", bytes[0], " and ", bytes[1]});
  if (bytes.size() >= 3 && bytes[2] != idx_bytes && (bytes[2] != idx_floats || !expected.floats)) {
    const std::string_view name = idx_type_name(bytes[2]);
    throw_io_error(
        path,
        {"expected IDX elements of type ", idx_bytes, " (unsigned bytes)", expected.floats ? " or 13 (floats)" : "",
         ", got type ", bytes[2], name.empty() ? "" : " (", name, name.empty() ? ", which is none" : ")",
         bytes[2] == idx_floats && expected.what == "images" ? "; read them with idx<field<float, ...>>" : ""});
  }
  if (rank < least || rank > most)
    throw_io_error(path, {"expected IDX ", expected.what, " of ", least, least == 1 ? " dimension" : " dimensions",
                          ", got ", rank, rank == 1 ? "; these are labels" : ""});
  const std::size_t wanted = 4 + 4 * rank;
  if (bytes.size() < wanted)
    throw_io_error(path, {"expected an IDX header of ", wanted, " bytes, got a file of ", bytes.size(),
                          "; the file is truncated"});
  std::array<std::uint64_t, 1 + dims::max_rank> extents{};
  for (std::size_t i = 0; i < rank; ++i)
    for (std::size_t byte = 0; byte < 4; ++byte) extents[i] = extents[i] << 8U | bytes[4 + 4 * i + byte];
  dims given;
  given.rank = static_cast<int>(rank) - 1;
  for (int i = 0; i < given.rank; ++i)
    given.extent[i] = static_cast<std::int64_t>(extents[static_cast<std::size_t>(i) + 1]);
  if (without_leading_ones(given) != core)
    throw_io_error(path,
                   {"expected images of ", to_string(expected.sample), ", as the program's sample type says, got ",
                    to_string(given), "; give idx<...> the shape of the file"});
  const std::uint64_t element = bytes[2] == idx_floats ? 4 : 1;
  // The product fits: the count is below 2^32, and the program can hold a sample.
  return {bytes[2], extents[0], wanted,
          static_cast<std::size_t>(extents[0] * static_cast<std::uint64_t>(core.size()) * element)};
}

template <class = void>
void require_idx_length(const std::string& path, std::uint64_t size, const idx_header& header) {
  const std::uint64_t wanted = header.bytes + header.body;
  if (size != wanted)
    throw_io_error(
        path, {"expected ", wanted, " bytes, as its header says, got ", size > wanted ? "more" : std::to_string(size),
               "; the file is ", size < wanted ? "truncated" : "followed by something else"});
}

/// The elements of an IDX file, as bytes of the file, with their type and the number of samples.
struct idx_array {
  std::string path;
  std::uint8_t type = 0;
  std::uint64_t count = 0;
  std::vector<std::uint8_t> bytes;
};

/// Reads a file, packed or not. Allocates no more than the file can hold.
template <class Unpack>
[[nodiscard]] idx_array read_idx(const std::string& path, const Unpack& unpack, const idx_expectation& expected) {
  constexpr std::size_t longest_header = 4 + 4 * (1 + dims::max_rank);
  file_reader file(path);
  const auto size = static_cast<std::size_t>(file.size());
  std::vector<std::uint8_t> head((std::min)(size, longest_header));
  file.read(std::as_writable_bytes(std::span(head)));
  idx_array result{path, 0, 0, {}};
  if (head.size() >= 2 && head[0] == 0x1f && head[1] == 0x8b) {
    const auto beginning = unpack(path, longest_header);
    const idx_header header = parse_idx_header(path, beginning, expected);
    result.bytes = unpack(path, header.bytes + header.body + 1);
    require_idx_length(path, result.bytes.size(), header);
    result.bytes.erase(result.bytes.begin(), result.bytes.begin() + static_cast<std::ptrdiff_t>(header.bytes));
    result.type = header.type;
    result.count = header.count;
    return result;
  }
  const idx_header header = parse_idx_header(path, head, expected);
  require_idx_length(path, size, header);
  result.type = header.type;
  result.count = header.count;
  result.bytes.resize(header.body);
  const std::size_t read = (std::min)(head.size() - header.bytes, header.body);
  std::copy_n(head.begin() + static_cast<std::ptrdiff_t>(header.bytes), read, result.bytes.begin());
  file.read(std::as_writable_bytes(std::span(result.bytes).subspan(read)));
  return result;
}

}  // namespace lockstep::data::detail
