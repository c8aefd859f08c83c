// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/io/file.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_file.hpp>
#include <lockstep/io/safetensors_format.hpp>
#include <lockstep/io/safetensors_header.hpp>

namespace lockstep {

/// One tensor to be written. It views the bytes, which stay with the caller until the write is done.
struct safetensors_tensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;

  /// A tensor over float, double, std::int64_t, std::int32_t or std::uint8_t elements in row-major order.
  template <class T>
  [[nodiscard]] static safetensors_tensor of(std::string_view name, std::vector<std::int64_t> shape,
                                             std::span<const T> values) {
    static_assert(!detail::safetensors_dtype_of<T>.empty(),
                  "lockstep: safetensors_tensor: elements are float, double, int64_t, int32_t or uint8_t");
    return {std::string(name), std::string(detail::safetensors_dtype_of<T>), std::move(shape), std::as_bytes(values)};
  }
};

/// Writes a safetensors file that appears whole or not at all (see atomic_file_writer). The tensors are laid out as
/// the reference implementation does: widest elements first, then by name, so equal content gives equal bytes.
/// Throws io_error when a name or metadata key comes twice or is not UTF-8, when an element type is unknown or the
/// number of bytes does not fit the shape, and when the file cannot be written.
template <class = void>
[[gnu::cold]] void write_safetensors(const std::string& path, std::span<const safetensors_tensor> tensors,
                                     const safetensors_metadata& metadata = {}) {
  for (const auto& tensor : tensors) {
    const std::int64_t bytes = detail::safetensors_byte_count(path, tensor.name, tensor.dtype, tensor.shape);
    if (tensor.data.size() != static_cast<std::size_t>(bytes))
      detail::throw_io_error(path, {"tensor '", detail::clipped(tensor.name), "': expected ", bytes, " bytes for ",
                                    tensor.dtype, " ", tensor.shape, ", got ", tensor.data.size()});
    if (tensor.name == detail::safetensors_metadata_key)
      detail::throw_io_error(
          path, {"expected another name for a tensor, got __metadata__, which the format keeps for itself"});
  }
  const auto by_name = detail::ordered_by_name(
      tensors.size(), [&](std::size_t i) -> const std::string& { return tensors[i].name; },
      [&](const std::string& name) {
        detail::throw_io_error(path, {"expected every tensor once, got '", detail::clipped(name), "' twice"});
      });

  std::vector<const safetensors_tensor*> order;
  std::vector<detail::safetensors_description> descriptions;
  std::int64_t offset = 0;
  for (int rank = static_cast<int>(detail::safetensors_dtypes.size()) - 1; rank >= 0; --rank)
    for (const std::size_t position : by_name) {
      const auto& tensor = tensors[position];
      if (detail::safetensors_dtype_rank(tensor.dtype) != rank) continue;
      const std::int64_t end = checked_add(offset, static_cast<std::int64_t>(tensor.data.size()));
      descriptions.push_back({tensor.name, tensor.dtype, tensor.shape, offset, end});
      order.push_back(&tensor);
      offset = end;
    }
  const std::string json = detail::format_safetensors_header(path, descriptions, metadata);
  if (json.size() > static_cast<std::size_t>(safetensors_max_header_bytes))
    detail::throw_io_error(path, {"expected names and metadata that fit a header of ", safetensors_max_header_bytes,
                                  " bytes, got ", json.size()});

  atomic_file_writer file(path);
  const std::uint64_t length = json.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(json.data(), json.size())));
  for (const auto* tensor : order) file.write(tensor->data);
  file.commit();
}

namespace detail {

template <class Parameter>
using parameter_element = typename std::remove_cvref_t<decltype(std::declval<Parameter&>().values())>::value_type;

template <class T>
using parameter_of = std::remove_reference_t<decltype(*std::begin(std::declval<T&>().parameters()))>;

[[nodiscard]] inline std::vector<std::int64_t> extents_vector(const dims& shape) {
  return {shape.extent, shape.extent + shape.rank};
}

/// A parameter that a file is to provide.
struct wanted_tensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// "module." when a torch.nn.DataParallel wrapper put it before every name of the file and the parameters have
/// other names, else nothing.
template <class File>
[[nodiscard, gnu::cold]] std::string_view wrapper_prefix(const File& file, const std::vector<wanted_tensor>& wanted) {
  constexpr std::string_view prefix = "module.";
  for (const auto& name : file.names())
    if (!name.starts_with(prefix)) return {};
  for (const auto& tensor : wanted)
    if (tensor.name.starts_with(prefix)) return {};
  return prefix;
}

/// The entries that the wanted tensors have in the file, in their order. Throws io_error that lists what is missing,
/// left over, of another shape or not of a floating-point type.
template <class File>
[[nodiscard, gnu::cold]] std::vector<const safetensors_entry*> match_tensors(const File& file,
                                                                             const std::vector<wanted_tensor>& wanted) {
  constexpr int most_shown = 8;
  const std::string_view prefix = wrapper_prefix(file, wanted);
  std::vector<const safetensors_entry*> entries;
  std::vector<std::string> names;
  std::string problems;
  int count = 0;
  const auto complain = [&](std::initializer_list<message_part> parts) {
    if (++count <= most_shown) problems.append(count == 1 ? "" : "; ").append(message(parts));
  };
  for (const auto& tensor : wanted) {
    const std::string name = message({prefix, tensor.name});
    names.push_back(name);
    if (!file.contains(name)) {
      complain({"expected a tensor '", clipped(name), "', got none of that name"});
      continue;
    }
    const auto& entry = file.at(name);
    entries.push_back(&entry);
    if (entry.shape != tensor.shape)
      complain({"tensor '", clipped(name), "': expected shape ", tensor.shape, ", got ", entry.shape});
    else if (!is_convertible_to_float(entry.dtype))
      complain({"tensor '", clipped(name), "': expected element type F32, F64, F16 or BF16, got ", entry.dtype});
  }
  std::sort(names.begin(), names.end());
  for (const auto& name : file.names())
    if (!std::binary_search(names.begin(), names.end(), name))
      complain({"expected only the parameters of the model, got also a tensor '", clipped(name), "'"});
  if (count > most_shown) problems.append(message({"; and ", count - most_shown, " more"}));
  if (count > 0) throw_io_error(file.path(), {problems, "; nothing was loaded"});
  return entries;
}

}  // namespace detail

/// What save_safetensors takes: `parameters()` gives a range of elements with `name()`, `shape()` and `values()`, the
/// last in PyTorch's order, as a vector of float or double.
template <class T>
concept parameter_source = requires(T& source, detail::parameter_of<T>& parameter) {
  { parameter.name() } -> std::convertible_to<std::string_view>;
  { parameter.shape() } -> std::convertible_to<dims>;
  { parameter.values() } -> std::convertible_to<std::vector<detail::parameter_element<decltype(parameter)>>>;
};

/// What load_safetensors takes: a parameter_source whose elements also have `assign` of a span of such values.
template <class T>
concept parameter_target =
    parameter_source<T> &&
    requires(detail::parameter_of<T>& parameter,
             std::span<const detail::parameter_element<detail::parameter_of<T>>> values) { parameter.assign(values); };

/// Writes all parameters under their names, in PyTorch's shapes and order, so that safetensors.torch.load_file gives
/// a state dict. The default metadata is what Hugging Face's loaders ask for. Throws io_error; the file at `path` is
/// then untouched.
template <class Trainer>
  requires parameter_source<const Trainer>
void save_safetensors(const Trainer& trainer, const std::string& path,
                      const safetensors_metadata& metadata = {{"format", "pt"}}) {
  using element = detail::parameter_element<detail::parameter_of<const Trainer>>;
  std::vector<std::vector<element>> values;
  std::vector<safetensors_tensor> tensors;
  for (auto&& parameter : trainer.parameters()) {
    values.push_back(parameter.values());
    tensors.push_back(safetensors_tensor::of(parameter.name(), detail::extents_vector(parameter.shape()),
                                             std::span<const element>(values.back())));
  }
  write_safetensors(path, tensors, metadata);
}

/// Assigns all parameters from a file. Names must agree exactly (a `module.` before every name, left there by
/// torch.nn.DataParallel, is taken off), shapes too; F16, BF16, F32 and F64 are converted. Everything is checked and
/// converted before the first assignment, so a load that throws io_error changes nothing.
template <parameter_target Trainer>
void load_safetensors(Trainer& trainer, const std::string& path) {
  using element = detail::parameter_element<detail::parameter_of<Trainer>>;
  const auto file = safetensors_file::read(path);

  std::vector<detail::wanted_tensor> wanted;
  for (auto&& parameter : trainer.parameters())
    wanted.push_back({std::string(parameter.name()), detail::extents_vector(parameter.shape())});
  std::vector<std::vector<element>> values;
  values.reserve(wanted.size());
  for (const auto* entry : detail::match_tensors(file, wanted))
    values.push_back(detail::floating_values<element>(*entry));

  std::size_t next = 0;
  for (auto&& parameter : trainer.parameters()) parameter.assign(std::span<const element>(values[next++]));
}

}  // namespace lockstep
