// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/half.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/io/message.hpp>

/// \file
/// Element types and sizes of the safetensors format. A file is eight bytes of header length, a JSON header, and the
/// bytes of the tensors. Source: https://huggingface.co/docs/safetensors and the reference implementation.

namespace lockstep {

static_assert(std::endian::native == std::endian::little,
              "lockstep: safetensors: files are little-endian and their bytes are used as they are");

/// Longest header that the reference implementation reads, in bytes.
inline constexpr std::int64_t safetensors_max_header_bytes = 100'000'000;

/// Metadata of a file: pairs of key and text, each key once. Metadata read from a file is sorted by key.
using safetensors_metadata = std::vector<std::pair<std::string, std::string>>;

/// One tensor of a file: the format's name for its element type, its extents, and its bytes in row-major order.
struct safetensors_entry {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

namespace detail {

struct safetensors_dtype {
  std::string_view name;
  std::int64_t bytes;
};

// In the reference implementation's order. Its writer puts tensors of the last type first, so that every tensor is
// aligned to its element size.
inline constexpr std::array<safetensors_dtype, 19> safetensors_dtypes{{{"BOOL", 1},
                                                                       {"U8", 1},
                                                                       {"I8", 1},
                                                                       {"F8_E5M2", 1},
                                                                       {"F8_E4M3", 1},
                                                                       {"F8_E8M0", 1},
                                                                       {"F8_E4M3FNUZ", 1},
                                                                       {"F8_E5M2FNUZ", 1},
                                                                       {"I16", 2},
                                                                       {"U16", 2},
                                                                       {"F16", 2},
                                                                       {"BF16", 2},
                                                                       {"I32", 4},
                                                                       {"U32", 4},
                                                                       {"F32", 4},
                                                                       {"C64", 8},
                                                                       {"F64", 8},
                                                                       {"I64", 8},
                                                                       {"U64", 8}}};

/// Position of a dtype in safetensors_dtypes, or -1.
[[nodiscard]] constexpr int safetensors_dtype_rank(std::string_view name) {
  for (std::size_t i = 0; i < safetensors_dtypes.size(); ++i)
    if (safetensors_dtypes[i].name == name) return static_cast<int>(i);
  return -1;
}

/// The format's name for a C++ element type; empty if there is none.
template <class T>
inline constexpr std::string_view safetensors_dtype_of = {};
template <>
inline constexpr std::string_view safetensors_dtype_of<float> = "F32";
template <>
inline constexpr std::string_view safetensors_dtype_of<double> = "F64";
template <>
inline constexpr std::string_view safetensors_dtype_of<std::int64_t> = "I64";
template <>
inline constexpr std::string_view safetensors_dtype_of<std::int32_t> = "I32";
template <>
inline constexpr std::string_view safetensors_dtype_of<std::uint8_t> = "U8";

/// Bytes that a tensor needs. Throws io_error for an unknown dtype, a negative extent or an overflow.
[[nodiscard]] inline std::int64_t safetensors_byte_count(const std::string& file, std::string_view name,
                                                         std::string_view dtype, std::span<const std::int64_t> shape) {
  const int rank = safetensors_dtype_rank(dtype);
  if (rank < 0)
    throw_io_error(file, {"tensor '", clipped(name),
                          "': expected an element type of the safetensors format (F32, F64, I64, ...), got '",
                          clipped(dtype), "'"});
  std::int64_t bytes = 1;
  try {
    for (const std::int64_t extent : shape) {
      if (extent < 0)
        throw_io_error(file, {"tensor '", clipped(name), "': expected extents of zero or more, got ", shape});
      bytes = checked_multiply(bytes, extent);
    }
    return checked_multiply(bytes, safetensors_dtypes[static_cast<std::size_t>(rank)].bytes);
  } catch (const shape_error&) {
    throw_io_error(file, {"tensor '", clipped(name), "': expected a size that fits 64 bits, got the shape ", shape});
  }
}

/// Whether values of `dtype` convert to float or double.
[[nodiscard]] constexpr bool is_convertible_to_float(std::string_view dtype) {
  return dtype == "F32" || dtype == "F64" || dtype == "F16" || dtype == "BF16";
}

template <class Stored, class T, class Convert>
void convert_elements(std::span<const std::byte> bytes, std::span<T> values, Convert convert) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;  // a file need not align its tensors
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<T>(convert(stored));
  }
}

/// The elements of an entry whose dtype is_convertible_to_float, in row-major order.
template <class T>
[[nodiscard]] std::vector<T> floating_values(const safetensors_entry& entry) {
  const auto element = safetensors_dtypes[static_cast<std::size_t>(safetensors_dtype_rank(entry.dtype))].bytes;
  std::vector<T> values(entry.data.size() / static_cast<std::size_t>(element));
  const std::span<T> all(values);
  if (entry.dtype == "F32") convert_elements<float>(entry.data, all, [](float x) { return x; });
  if (entry.dtype == "F64") convert_elements<double>(entry.data, all, [](double x) { return x; });
  if (entry.dtype == "F16") convert_elements<std::uint16_t>(entry.data, all, float16::decode);
  if (entry.dtype == "BF16") convert_elements<std::uint16_t>(entry.data, all, bfloat16::decode);
  return values;
}

/// The same for whole numbers, which may also be I64.
template <class T>
[[nodiscard]] std::vector<T> counted_values(const safetensors_entry& entry) {
  if (entry.dtype != "I64") return floating_values<T>(entry);
  std::vector<T> values(entry.data.size() / sizeof(std::int64_t));
  convert_elements<std::int64_t>(entry.data, std::span<T>(values), [](std::int64_t x) { return x; });
  return values;
}

}  // namespace detail

}  // namespace lockstep
