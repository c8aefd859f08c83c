// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/io/file.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_file.hpp>
#include <lockstep/io/safetensors_format.hpp>
#include <lockstep/io/safetensors_header.hpp>
#include <lockstep/io/safetensors_match.hpp>

namespace lockstep {

/// A tensor to write. It views the bytes, which the caller owns and keeps until the write is done.
struct safetensors_tensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;

  /// A tensor that views float, double, std::int64_t, std::int32_t or std::uint8_t elements in row-major order.
  template <class T>
  [[nodiscard]] static safetensors_tensor of(std::string_view name, std::vector<std::int64_t> shape,
                                             std::span<const T> values) {
    static_assert(!detail::safetensors_dtype_of<T>.empty(),
                  "lockstep: safetensors_tensor: elements are float, double, int64_t, int32_t or uint8_t");
    return {std::string(name), std::string(detail::safetensors_dtype_of<T>), std::move(shape), std::as_bytes(values)};
  }
};

namespace detail {

/// What a safetensors file has: its header, and the tensors in the order of their bytes.
struct safetensors_layout {
  std::string json;
  std::vector<const safetensors_tensor*> order;

  /// Calls f(bytes) for each part of the file, in order.
  template <class F>
  void each_part(const F& f) const {
    const std::uint64_t length = json.size();
    f(std::as_bytes(std::span(&length, 1)));
    f(std::as_bytes(std::span(json.data(), json.size())));
    for (const auto* tensor : order) f(tensor->data);
  }
};

/// Lays out a file. Throws io_error as write_safetensors does, except for what comes of writing.
template <class = void>
safetensors_layout lay_out_safetensors(const std::string& path, std::span<const safetensors_tensor> tensors,
                                       const safetensors_metadata& metadata) {
  for (const auto& tensor : tensors) {
    const std::int64_t bytes = safetensors_byte_count(path, tensor.name, tensor.dtype, tensor.shape);
    if (tensor.data.size() != static_cast<std::size_t>(bytes))
      throw_io_error(path, {"tensor '", clipped(tensor.name), "': expected ", bytes, " bytes for ", tensor.dtype, " ",
                            tensor.shape, ", got ", tensor.data.size()});
    if (tensor.name == safetensors_metadata_key)
      throw_io_error(path, {"expected another name for a tensor, got __metadata__, which the format keeps for itself"});
  }
  const auto by_name = ordered_by_name(
      tensors.size(), [&](std::size_t i) -> const std::string& { return tensors[i].name; },
      [&](const std::string& name) {
        throw_io_error(path, {"expected every tensor once, got '", clipped(name), "' twice"});
      });

  safetensors_layout layout;
  std::vector<safetensors_description> descriptions;
  std::int64_t offset = 0;
  for (int rank = static_cast<int>(safetensors_dtypes.size()) - 1; rank >= 0; --rank)
    for (const std::size_t position : by_name) {
      const auto& tensor = tensors[position];
      if (safetensors_dtype_rank(tensor.dtype) != rank) continue;
      const std::int64_t end = checked_add(offset, static_cast<std::int64_t>(tensor.data.size()));
      descriptions.push_back({tensor.name, tensor.dtype, tensor.shape, offset, end});
      layout.order.push_back(&tensor);
      offset = end;
    }
  layout.json = format_safetensors_header(path, descriptions, metadata);
  if (layout.json.size() > static_cast<std::size_t>(safetensors_max_header_bytes))
    throw_io_error(path, {"expected names and metadata that fit a header of ", safetensors_max_header_bytes,
                          " bytes, got ", layout.json.size()});
  return layout;
}

/// Writes a file as it was laid out.
template <class = void>
void write_laid_out(const std::string& path, const safetensors_layout& layout) {
  atomic_file_writer file(path);
  layout.each_part([&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit();
}

}  // namespace detail

/// Writes a safetensors file that appears whole or not at all (see atomic_file_writer). Lays out the tensors as the
/// reference implementation does, widest elements first, then by name, so equal content gives equal bytes. Throws
/// io_error when a name or metadata key comes twice or is not UTF-8, when a tensor is named __metadata__, when an
/// element type is unknown or the number of bytes does not fit the shape, when the header exceeds
/// safetensors_max_header_bytes, and when the file cannot be written.
template <class = void>
void write_safetensors(const std::string& path, std::span<const safetensors_tensor> tensors,
                       const safetensors_metadata& metadata = {}) {
  detail::write_laid_out(path, detail::lay_out_safetensors(path, tensors, metadata));
}

namespace detail {

template <class Parameter>
using parameter_element = typename std::remove_cvref_t<decltype(std::declval<Parameter&>().values())>::value_type;

/// All tensors of a source: its state where it tells parameters from buffers, else its parameters.
template <class Source>
  requires requires(Source& source) { source.parameters(); }
[[nodiscard]] decltype(auto) tensors_of(Source& source) {
  if constexpr (requires { source.state(); })
    return source.state();
  else
    return source.parameters();
}

template <class T>
using parameter_of = std::remove_reference_t<decltype(*std::begin(tensors_of(std::declval<T&>())))>;

/// True for a tensor of whole numbers, which files keep as I64.
template <class Parameter>
[[nodiscard]] bool counts_whole_numbers(const Parameter& parameter) {
  if constexpr (requires { parameter.counts(); })
    return parameter.counts();
  else
    return false;
}

[[nodiscard]] inline std::vector<std::int64_t> extents_vector(const dims& shape) {
  return {shape.extent, shape.extent + shape.rank};
}

/// One list of values for each tensor of a source.
template <class Source>
using parameter_lists = std::vector<std::vector<parameter_element<parameter_of<Source>>>>;

/// Tensors to write, and the values that they view.
template <class Value>
struct tensors_to_write {
  std::vector<safetensors_tensor> tensors;
  std::vector<std::vector<Value>> values;
  std::vector<std::vector<std::int64_t>> counts;

  template <class Parameter>
  void add(const Parameter& parameter, std::string_view name) {
    auto shape = extents_vector(parameter.shape());
    auto own = parameter.values();
    if (counts_whole_numbers(parameter)) {
      counts.emplace_back(own.begin(), own.end());
      tensors.push_back(safetensors_tensor::of(name, std::move(shape), std::span<const std::int64_t>(counts.back())));
    } else {
      values.push_back(std::move(own));
      tensors.push_back(safetensors_tensor::of(name, std::move(shape), std::span<const Value>(values.back())));
    }
  }
};

/// The tensors of a source.
template <class Source>
[[nodiscard]] auto tensors_to_write_of(Source& source) {
  tensors_to_write<parameter_element<parameter_of<Source>>> all;
  for (auto&& parameter : tensors_of(source)) all.add(parameter, parameter.name());
  return all;
}

/// What a file should provide for a tensor.
template <class Parameter>
[[nodiscard]] wanted_tensor wanted_for(const Parameter& parameter, std::string name) {
  constexpr std::int64_t most = std::int64_t{1} << std::numeric_limits<parameter_element<const Parameter>>::digits;
  return {std::move(name), extents_vector(parameter.shape()), counts_whole_numbers(parameter) ? most : 0};
}

template <class Source>
void append_wanted(Source& source, std::vector<wanted_tensor>& wanted) {
  for (auto&& parameter : tensors_of(source)) wanted.push_back(wanted_for(parameter, std::string(parameter.name())));
}

/// Converts the entries from `next` on to values for a target's tensors; a null entry gives an empty list. Moves
/// `next` past the entries.
template <class Target>
[[nodiscard]] parameter_lists<Target> converted(Target& target, const tensor_match& found, std::size_t& next) {
  parameter_lists<Target> lists;
  for (auto&& parameter : tensors_of(target)) {
    static_cast<void>(parameter);
    const safetensors_entry* const entry = found.entries[next++];
    lists.emplace_back();
    // match_tensors has let integers through for whole numbers alone.
    if (entry != nullptr) lists.back() = counted_values<parameter_element<parameter_of<Target>>>(*entry);
  }
  return lists;
}

/// Assigns the lists that `converted` made from the entries before `next`.
template <class Target>
void assign_lists(Target& target, const parameter_lists<Target>& lists, const tensor_match& found, std::size_t next) {
  std::size_t i = 0;
  for (auto&& parameter : tensors_of(target)) {
    if (found.entries[next - lists.size() + i] != nullptr)
      parameter.assign(std::span<const parameter_element<parameter_of<Target>>>(lists[i]));
    ++i;
  }
}

}  // namespace detail

/// What save_safetensors takes: `parameters()` returns a range whose elements have `name()`, `shape()` and `values()`;
/// `values()` returns a vector of float or double in PyTorch's order. Where there is a `state()`, which has parameters
/// and buffers, it is taken instead. An element of which `counts()` is true holds whole numbers, and is written as I64.
template <class T>
concept parameter_source = requires(T& source, detail::parameter_of<T>& parameter) {
  { parameter.name() } -> std::convertible_to<std::string_view>;
  { parameter.shape() } -> std::convertible_to<dims>;
  { parameter.values() } -> std::convertible_to<std::vector<detail::parameter_element<decltype(parameter)>>>;
};

/// What load_safetensors takes: a parameter_source whose elements also have `assign(values)`, from a span.
template <class T>
concept parameter_target =
    parameter_source<T> &&
    requires(detail::parameter_of<T>& parameter,
             std::span<const detail::parameter_element<detail::parameter_of<T>>> values) { parameter.assign(values); };

/// Writes all parameters and buffers under their names, in PyTorch's shapes and order, so that
/// safetensors.torch.load_file returns a state dict. The default metadata is what Hugging Face's loaders ask for.
/// Throws io_error as write_safetensors does; the file at `path` is then untouched (see atomic_file_writer).
template <class Trainer>
  requires parameter_source<const Trainer>
void save_safetensors(const Trainer& trainer, const std::string& path,
                      const safetensors_metadata& metadata = {{"format", "pt"}}) {
  write_safetensors(path, detail::tensors_to_write_of(trainer).tensors, metadata);
}

/// Writes the parameters and the tensors of all `extras`: what the model needs besides its parameters, such as the
/// normalisation of its inputs. Throws io_error as above, and when two tensors have the same name.
template <class Trainer, class... Extras>
  requires(sizeof...(Extras) > 0 && parameter_source<const Trainer> && (parameter_source<const Extras> && ...))
void save_safetensors(const Trainer& trainer, const std::string& path, const Extras&... extras) {
  const auto parts = std::tuple(detail::tensors_to_write_of(trainer), detail::tensors_to_write_of(extras)...);
  std::vector<safetensors_tensor> tensors;
  std::apply(
      [&](const auto&... part) { (tensors.insert(tensors.end(), part.tensors.begin(), part.tensors.end()), ...); },
      parts);
  write_safetensors(path, tensors, {{"format", "pt"}});
}

/// Assigns parameters, buffers and the tensors of all `extras` from a file, and converts F16, BF16, F32 and F64 values.
/// Under match::strict names and shapes must agree exactly; match::partial assigns what fits. Removes the prefixes that
/// wrappers put before every name (`module.`, `_orig_mod.`, or both). Where all names of the model begin with one
/// component, such as `transformer.`, a file that lacks it loads too.
///
/// Returns the names that were left out: none under match::strict, which throws an io_error that lists them. All values
/// are checked and converted before the first assignment, so a load that throws changes nothing.
template <parameter_target Trainer, parameter_target... Extras>
load_report load_safetensors(Trainer& trainer, const std::string& path, match how, Extras&... extras) {
  const auto file = safetensors_file::read(path);
  std::vector<detail::wanted_tensor> wanted;
  detail::append_wanted(trainer, wanted);
  (detail::append_wanted(extras, wanted), ...);
  detail::tensor_match found = detail::match_tensors(file, wanted);
  if (how == match::strict) detail::require_complete(path, found);

  std::size_t next = 0;
  const auto lists = detail::converted(trainer, found, next);
  // An extra may refuse its values, so copies of the extras take the values first.
  std::tuple<Extras...> copies(extras...);
  std::apply(
      [&](auto&... copy) {
        [[maybe_unused]] const auto fill = [&](auto& one) {
          const auto its_lists = detail::converted(one, found, next);
          detail::assign_lists(one, its_lists, found, next);
        };
        (fill(copy), ...);
      },
      copies);
  detail::assign_lists(trainer, lists, found, lists.size());
  std::tie(extras...) = std::move(copies);
  return std::move(found.report);
}

/// The same under match::strict.
template <parameter_target Trainer, parameter_target... Extras>
void load_safetensors(Trainer& trainer, const std::string& path, Extras&... extras) {
  static_cast<void>(load_safetensors(trainer, path, match::strict, extras...));
}

}  // namespace lockstep
