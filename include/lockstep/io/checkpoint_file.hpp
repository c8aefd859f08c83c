// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/core/crc32c.hpp>
#include <lockstep/io/checkpoint_metadata.hpp>
#include <lockstep/io/file.hpp>
#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors.hpp>
#include <lockstep/io/safetensors_file.hpp>
#include <lockstep/io/safetensors_format.hpp>

/// \file
/// A checkpoint's file: safetensors, with the CRC-32C of the whole file in its metadata, where zeros stand for the
/// checksum itself while it is computed.

namespace lockstep::detail {

inline constexpr std::string_view no_checksum = "00000000";

/// Where the checksum's digits stand in a header; std::string_view::npos when there are none.
[[nodiscard]] inline std::size_t checksum_place(std::string_view json) {
  // Quotation marks inside texts are escaped, so that no name or value can look like this.
  const std::string before = message({"\"", checksum_key, "\":\""});
  const std::size_t at = json.find(before);
  if (at == std::string_view::npos || json.size() - at < before.size() + no_checksum.size())
    return std::string_view::npos;
  return at + before.size();
}

/// All that a checkpoint's file will hold, copied from the trainer: the run may go on while it is written. The memory
/// is kept from one checkpoint to the next.
class checkpoint_image {
 public:
  /// Forgets what it holds, and makes room for tensors of `bytes` together.
  void clear(std::size_t bytes) {
    tensors_.clear();
    places_.clear();
    bytes_.clear();
    bytes_.reserve(bytes);
    metadata_ = {{"format", "pt"}};
  }

  void note(std::string_view key, std::string text) { metadata_.emplace_back(key, std::move(text)); }

  /// Copies a tensor's values.
  template <class Parameter>
  void add(const Parameter& parameter, std::string_view name) {
    using value = parameter_element<const Parameter>;
    const auto count = static_cast<std::size_t>(parameter.size());
    if (counts_whole_numbers(parameter)) {
      const auto values = parameter.values();
      const std::span<std::int64_t> to = room<std::int64_t>(name, extents_vector(parameter.shape()), count);
      std::transform(values.begin(), values.end(), to.begin(), [](value x) { return static_cast<std::int64_t>(x); });
    } else {
      parameter.copy_to(room<value>(name, extents_vector(parameter.shape()), count));
    }
  }

  /// Copies values of these extents.
  template <class Value>
  void add(std::string_view name, std::vector<std::int64_t> shape, std::span<const Value> values) {
    std::copy(values.begin(), values.end(), room<Value>(name, std::move(shape), values.size()).begin());
  }

  /// Writes the file, which appears whole or not at all. Throws io_error as write_safetensors does.
  template <class = void>
  void write(const std::string& path) {
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      tensors_[i].data = std::span(bytes_).subspan(places_[i].first, places_[i].second);
    auto metadata = metadata_;
    metadata.emplace_back(version_key, std::to_string(checkpoint_version));
    metadata.emplace_back(checksum_key, no_checksum);
    safetensors_layout layout = lay_out_safetensors(path, tensors_, metadata);
    crc32c sum;
    layout.each_part([&](std::span<const std::byte> part) { sum.add(part); });
    layout.json.replace(checksum_place(layout.json), no_checksum.size(), sum.text());
    write_laid_out(path, layout);
  }

 private:
  /// Room for a tensor's values, valid until the next tensor is added.
  template <class T>
  [[nodiscard]] std::span<T> room(std::string_view name, std::vector<std::int64_t> shape, std::size_t count) {
    constexpr std::size_t alignment = 8;
    const std::size_t first = (bytes_.size() + alignment - 1) / alignment * alignment;
    bytes_.resize(first + count * sizeof(T));
    places_.emplace_back(first, count * sizeof(T));
    tensors_.push_back({std::string(name), std::string(safetensors_dtype_of<T>), std::move(shape), {}});
    return {reinterpret_cast<T*>(bytes_.data() + first), count};
  }

  std::vector<safetensors_tensor> tensors_;
  std::vector<std::pair<std::size_t, std::size_t>> places_;  ///< of each tensor in the bytes, and its size
  std::vector<std::byte> bytes_;
  safetensors_metadata metadata_;
};

/// A file_reader that adds up the checksum of a checkpoint's file, whose second piece is the header.
class checksummed_reader {
 public:
  explicit checksummed_reader(const std::string& path) : file_(path) {}

  [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }
  [[nodiscard]] std::int64_t size() const noexcept { return file_.size(); }

  void read(std::span<std::byte> destination) {
    constexpr std::size_t piece = std::size_t{1} << 20U;  // small enough to be in a cache when it is added up
    const bool is_header = ++reads_ == 2;
    for (std::size_t at = 0; at < destination.size() || at == 0; at += piece) {
      const auto part =
          destination.subspan(at, (std::min)(is_header ? destination.size() : piece, destination.size() - at));
      file_.read(part);
      if (is_header) {
        add_header({reinterpret_cast<const char*>(part.data()), part.size()});
        break;
      }
      sum_.add(part);
    }
  }

  /// Throws io_error unless the file has the checksum in its metadata.
  void check(const std::string& stated) const {
    if (sum_.text() != stated)
      throw_io_error(path(), {"expected bytes of the checksum ", clipped(stated), ", got ", sum_.text(),
                              "; the file is damaged, or another program has changed it"});
  }

 private:
  void add_header(std::string_view json) {
    const auto add = [&](std::string_view text) { sum_.add(std::as_bytes(std::span(text.data(), text.size()))); };
    const std::size_t digits = checksum_place(json);
    if (digits == std::string_view::npos) return add(json);
    add(json.substr(0, digits));
    add(no_checksum);
    add(json.substr(digits + no_checksum.size()));
  }

  file_reader file_;
  int reads_ = 0;
  crc32c sum_;
};

/// Reads a checkpoint's file and checks that it is whole. Throws io_error that says what is wrong. A file of the first
/// form has no checksum.
template <class = void>
[[nodiscard]] safetensors_file read_checkpoint(const std::string& path) {
  checksummed_reader reader(path);
  auto file = safetensors_file::read_from(reader);
  const safetensors_metadata& metadata = file.metadata();
  const std::string* const version = find_metadata(metadata, version_key);
  const std::string* const checksum = find_metadata(metadata, checksum_key);
  if (checksum != nullptr) {
    reader.check(*checksum);
  } else if (version != nullptr) {
    throw_io_error(path, {"expected a checksum in its metadata, got none; the file is damaged"});
  } else {
    // Damage may have hit the names of both.
    for (const auto& entry : metadata)
      if (entry.first.substr(0, own_keys.size()) == own_keys &&
          std::find(first_keys.begin(), first_keys.end(), entry.first) == first_keys.end())
        throw_io_error(path, {"expected a version of the checkpoint in its metadata, got ", clipped(entry.first),
                              " without; the file is damaged"});
  }
  if (version != nullptr)
    if (const auto number = number_of(path, metadata, version_key); number > checkpoint_version)
      throw_io_error(path, {"expected a checkpoint of version ", checkpoint_version, " or earlier, got version ",
                            number, "; it was written by a later version of the library"});
  return file;
}

}  // namespace lockstep::detail
