// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_format.hpp>

namespace lockstep_embed {

namespace {

using lockstep::detail::clipped;
using lockstep::detail::throw_io_error;

struct tensor {
  std::string name;
  const lockstep::safetensors_entry* entry = nullptr;
  std::int64_t begin = 0;
  std::int64_t size = 0;

  [[nodiscard]] bool whole() const { return entry->dtype == "I64"; }
};

/// Text that is safe inside a literal and in a comment: what is no printable ASCII becomes three octal digits.
std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      safe.append({'\\', c});
    else if (byte < 0x20 || byte > 0x7E)
      safe.append(fmt::format("\\{:03o}", byte));
    else
      safe += c;
  }
  return safe;
}

/// A literal that reads back with the same bits.
void append_number(std::string& text, float value) {
  if (!std::isfinite(value)) {
    fmt::format_to(std::back_inserter(text), "std::bit_cast<float>(0x{:08X}U)", std::bit_cast<std::uint32_t>(value));
    return;
  }
  if (value == 0) {
    text.append(std::signbit(value) ? "-0.0F" : "0.0F");
    return;
  }
  std::array<char, 32> digits{};
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), std::fabs(value), std::chars_format::hex).ptr;
  text.append(value < 0 ? "-0x" : "0x").append(digits.data(), end).append("F");
}

/// The elements of a tensor as floats. Throws io_error for whole numbers that floats do not hold.
std::vector<float> values_of(const lockstep::safetensors_file& file, const tensor& t) {
  if (!t.whole()) return file.values_f32(t.name);
  constexpr std::int64_t most = std::int64_t{1} << 24;
  std::vector<float> values;
  for (const std::int64_t value : file.values_i64(t.name)) {
    if (value < 0 || value > most)
      throw_io_error(file.path(),
                     {"tensor '", clipped(t.name), "': expected whole numbers from 0 to ", most, ", got ", value});
    values.push_back(static_cast<float>(value));
  }
  return values;
}

/// The tensors sorted by name.
std::vector<tensor> tensors_of(const lockstep::safetensors_file& file) {
  std::vector<std::string> names = file.names();
  std::sort(names.begin(), names.end());
  std::vector<tensor> all;
  std::int64_t begin = 0;
  for (std::string& name : names) {
    const auto& entry = file.at(name);
    if (entry.dtype != "I64" && !lockstep::detail::is_convertible_to_float(entry.dtype))
      throw_io_error(file.path(), {"tensor '", clipped(name),
                                   "': expected element type F32, F64, F16, BF16 or I64, got ", clipped(entry.dtype)});
    if (name.find('\0') != std::string::npos)
      throw_io_error(file.path(), {"tensor '", clipped(escaped(name)), "': expected a name without zero bytes"});
    std::int64_t size = 1;
    for (const std::int64_t extent : entry.shape) size *= extent;  // the file has been checked
    all.push_back({std::move(name), &entry, begin, size});
    begin += size;
  }
  if (begin == 0) throw_io_error(file.path(), {"expected a file with values, got one without any"});
  return all;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

std::string beginning(const std::vector<tensor>& tensors, const header_names& names, bool finite) {
  std::size_t rank = 1;
  for (const tensor& t : tensors) rank = std::max(rank, t.entry->shape.size());
  std::string text = fmt::format("// The tensors of {}, written by lockstep-embed.\n//\n", escaped(names.source));
  for (const tensor& t : tensors)
    fmt::format_to(std::back_inserter(text), "//   {}  {}\n", escaped(t.name), shape_text(t.entry->shape));
  fmt::format_to(std::back_inserter(text),
                 "//\n"
                 "// lockstep::embedded_state<Model>({}::{}{{}}) is the state of a model that has them.\n"
                 "#pragma once\n\n#include <array>\n{}#include <cstdint>\n#include <string_view>\n\n"
                 "// clang-format off\n"
                 "namespace {} {{\n\n"
                 "struct {} {{\n"
                 "  struct tensor {{\n"
                 "    std::string_view name;\n"
                 "    int rank;\n"
                 "    std::int64_t extents[{}];\n"
                 "    std::int64_t begin;  // its first element in `values`\n"
                 "    bool whole;          // whole numbers, which the file keeps as I64\n"
                 "  }};\n\n"
                 "  static constexpr tensor tensors[] = {{\n",
                 names.name_space, names.type, finite ? "" : "#include <bit>\n", names.name_space, names.type, rank);
  for (const tensor& t : tensors) {
    const auto& shape = t.entry->shape;
    fmt::format_to(std::back_inserter(text), "    {{\"{}\", {}, {{{}}}, {}, {}}},\n", escaped(t.name), shape.size(),
                   shape.empty() ? "0" : fmt::format("{}", fmt::join(shape, ", ")), t.begin, t.whole());
  }
  fmt::format_to(std::back_inserter(text),
                 "  }};\n\n  alignas(64) static constexpr std::array<float, {}> values = {{{{\n",
                 tensors.back().begin + tensors.back().size);
  return text;
}

}  // namespace

void write_header(const lockstep::safetensors_file& file, const header_names& names, const std::string& out) {
  const std::vector<tensor> tensors = tensors_of(file);
  bool finite = true;
  for (const tensor& t : tensors)
    for (const float value : values_of(file, t)) finite = finite && std::isfinite(value);

  lockstep::atomic_file_writer writer(out);
  const auto write = [&](const std::string& text) { writer.write(std::as_bytes(std::span(text))); };
  write(beginning(tensors, names, finite));
  constexpr std::size_t numbers_a_line = 8;
  for (const tensor& t : tensors) {
    std::string text = fmt::format("    // {}, {}\n", escaped(t.name), shape_text(t.entry->shape));
    const std::vector<float> values = values_of(file, t);
    for (std::size_t i = 0; i < values.size(); ++i) {
      text.append(i % numbers_a_line == 0 ? "    " : " ");
      append_number(text, values[i]);
      text.append(i % numbers_a_line == numbers_a_line - 1 || i + 1 == values.size() ? ",\n" : ",");
    }
    write(text);
  }
  write(fmt::format("  }}}};\n}};\n\n}}  // namespace {}\n// clang-format on\n", names.name_space));
  writer.commit();
}

}  // namespace lockstep_embed
