// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/io/file.hpp>
#include <lockstep/io/known_format.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_format.hpp>
#include <lockstep/io/safetensors_header.hpp>

namespace lockstep {

/// A safetensors file in memory. It owns the bytes; entries view them and live as long as the file object. `Reader`
/// fetches the bytes and has file_reader's members.
template <class Reader>
class basic_safetensors_file {
 public:
  /// Reads a file and checks the header's grammar, element types and sizes, and that the tensors cover the data
  /// exactly. Refuses fields, duplicate keys and offsets that the format does not allow. Throws io_error; for a wrong
  /// header it does so before it allocates memory for the data.
  [[nodiscard]] static basic_safetensors_file read(const std::string& path) {
    Reader file(path);
    return basic_safetensors_file(file);
  }
  /// The same from a reader at the start of its file, such as one that also adds up a checksum.
  template <class Other>
  [[nodiscard]] static basic_safetensors_file read_from(Other& file) {
    return basic_safetensors_file(file);
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Names of the tensors in the order of the header.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }

  [[nodiscard]] const safetensors_metadata& metadata() const noexcept { return header_.metadata; }

  [[nodiscard]] bool contains(std::string_view name) const { return find(name) < names_.size(); }

  /// Throws an io_error that lists the nearest names when there is no such tensor.
  [[nodiscard]] const safetensors_entry& at(std::string_view name) const {
    const std::size_t position = find(name);
    if (position == names_.size())
      detail::throw_io_error(path_, {"expected a tensor named '", detail::clipped(name), "', got ", nearest(name)});
    return entries_[position];
  }

  /// The elements of an F32, F64, F16 or BF16 tensor in row-major order; F64 is rounded to the nearest float.
  /// Throws io_error when the tensor is missing or of another type.
  [[nodiscard]] std::vector<float> values_f32(std::string_view name) const { return floating<float>(name); }

  /// The elements of an F32, F64, F16 or BF16 tensor, exactly. Throws io_error as values_f32 does.
  [[nodiscard]] std::vector<double> values_f64(std::string_view name) const { return floating<double>(name); }

  /// The elements of an I64 tensor. Throws io_error when the tensor is missing or of another type.
  [[nodiscard]] std::vector<std::int64_t> values_i64(std::string_view name) const {
    const auto& entry = at(name);
    if (entry.dtype != "I64") throw_wrong_type(name, "I64", entry.dtype);
    std::vector<std::int64_t> values(entry.data.size() / sizeof(std::int64_t));
    detail::convert_elements<std::int64_t>(entry.data, std::span<std::int64_t>(values),
                                           [](std::int64_t x) { return x; });
    return values;
  }

 private:
  template <class Other>
  explicit basic_safetensors_file(Other& file) : path_(file.path()) {
    const std::string& path = path_;
    constexpr std::int64_t prefix = sizeof(std::uint64_t);
    if (file.size() < prefix)
      detail::throw_io_error(path, {"expected a safetensors file of 8 bytes or more, got ", file.size()});
    std::uint64_t stated = 0;
    file.read(std::as_writable_bytes(std::span(&stated, 1)));
    const std::int64_t rest = file.size() - prefix;
    const std::int64_t limit = (std::min)(rest, safetensors_max_header_bytes);
    if (stated > static_cast<std::uint64_t>(limit)) refuse_header(file, stated, limit);
    std::string json(static_cast<std::size_t>(stated), '\0');
    file.read(std::as_writable_bytes(std::span(json.data(), json.size())));
    const auto data_bytes = static_cast<std::size_t>(rest) - json.size();
    header_ =
        detail::parse_safetensors_header<detail::safetensors_header>(path, json, static_cast<std::int64_t>(data_bytes));

    data_ = std::make_unique_for_overwrite<std::byte[]>(data_bytes);
    file.read({data_.get(), data_bytes});
    for (auto& tensor : header_.tensors) {
      const auto begin = static_cast<std::size_t>(tensor.begin);
      const auto length = static_cast<std::size_t>(tensor.end) - begin;
      entries_.push_back({std::move(tensor.dtype), std::move(tensor.shape), {data_.get() + begin, length}});
      names_.push_back(std::move(tensor.name));
    }
    header_.tensors.clear();
  }

  /// Throws io_error for a file whose first eight bytes are no valid header length. The error names the file's format
  /// where its first bytes show it.
  template <class Other>
  [[noreturn, gnu::cold]] static void refuse_header(Other& file, std::uint64_t stated, std::int64_t limit) {
    std::array<char, 256> beginning{};
    std::memcpy(beginning.data(), &stated, sizeof(stated));
    const auto rest = (std::min)(static_cast<std::size_t>(file.size()), beginning.size()) - sizeof(stated);
    file.read(std::as_writable_bytes(std::span(beginning).subspan(sizeof(stated), rest)));
    detail::refuse_known_format(file.path(), {beginning.data(), sizeof(stated) + rest});
    detail::throw_io_error(file.path(),
                           {"expected a safetensors header of at most ", limit, " bytes, got a length of ", stated});
  }

  /// The position of a name in `names_`, or names_.size() when it is absent.
  [[nodiscard]] std::size_t find(std::string_view name) const {
    const auto& order = header_.by_name;
    const auto at = std::lower_bound(order.begin(), order.end(), name,
                                     [this](std::size_t i, std::string_view wanted) { return names_[i] < wanted; });
    return at != order.end() && names_[*at] == name ? *at : names_.size();
  }

  [[noreturn]] void throw_wrong_type(std::string_view name, std::string_view expected, std::string_view given) const {
    detail::throw_io_error(path_, {"tensor '", detail::clipped(name), "': expected ", expected, ", got ", given});
  }

  template <class T>
  [[nodiscard]] std::vector<T> floating(std::string_view name) const {
    const auto& entry = at(name);
    if (!detail::is_convertible_to_float(entry.dtype)) throw_wrong_type(name, "F32, F64, F16 or BF16", entry.dtype);
    return detail::floating_values<T>(entry);
  }

  /// Lists, as text, the names that share the longest beginning and end with `name`.
  [[nodiscard, gnu::cold]] std::string nearest(std::string_view name) const {
    constexpr std::size_t most = 8;
    if (names_.empty()) return "a file without tensors";
    const auto common = [&](std::string_view other) {
      const auto front = std::mismatch(name.begin(), name.end(), other.begin(), other.end()).first - name.begin();
      const auto back = std::mismatch(name.rbegin(), name.rend(), other.rbegin(), other.rend()).first - name.rbegin();
      return front + back;
    };
    std::vector<std::ptrdiff_t> scores;
    for (const auto& other : names_) scores.push_back(common(other));
    const std::size_t shown = (std::min)(most, names_.size());
    std::string text = shown < names_.size() ? "among others " : "only ";
    for (std::size_t i = 0; i < shown; ++i) {
      const auto best = std::max_element(scores.begin(), scores.end());
      text += detail::message(
          {i == 0 ? "'" : ", '", detail::clipped(names_[static_cast<std::size_t>(best - scores.begin())]), "'"});
      *best = -1;
    }
    return text;
  }

  std::string path_;
  detail::safetensors_header header_;
  std::unique_ptr<std::byte[]> data_;
  std::vector<std::string> names_;
  std::vector<safetensors_entry> entries_;
};

using safetensors_file = basic_safetensors_file<file_reader>;

}  // namespace lockstep
