// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Every user's build includes this header. RapidJSON adds 0.1 s; libraries with a document model add seconds.
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_format.hpp>

namespace lockstep::detail {

/// One tensor as the header describes it. `begin` and `end` count from the first byte after the header.
struct safetensors_description {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

struct safetensors_header {
  std::vector<safetensors_description> tensors;  // in the header's order
  std::vector<std::size_t> by_name;              // positions in `tensors`, sorted by name
  safetensors_metadata metadata;
};

inline constexpr std::string_view safetensors_metadata_key = "__metadata__";

/// The positions 0 .. count - 1 in the order of `name_of(position)`. Calls `refuse` with a name that comes twice.
template <class NameOf, class Refuse>
[[nodiscard]] std::vector<std::size_t> ordered_by_name(std::size_t count, NameOf name_of, Refuse refuse) {
  std::vector<std::size_t> order(count);
  for (std::size_t i = 0; i < count; ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return name_of(a) < name_of(b); });
  for (std::size_t i = 1; i < count; ++i)
    if (name_of(order[i]) == name_of(order[i - 1])) refuse(name_of(order[i]));
  return order;
}

/// The metadata sorted by key. Throws io_error when a key comes twice.
template <class Metadata>
[[nodiscard]] Metadata sorted_metadata(const std::string& file, const Metadata& metadata) {
  Metadata sorted;
  sorted.reserve(metadata.size());
  for (const std::size_t i : ordered_by_name(
           metadata.size(), [&](std::size_t at) -> const auto& { return metadata[at].first; },
           [&](const auto& key) {
             throw_io_error(file, {"expected every metadata key once, got '", clipped(key), "' twice"});
           }))
    sorted.push_back(metadata[i]);
  return sorted;
}

/// Receives the parts of the header from the JSON reader and accepts only the format's grammar. It stops at the first
/// part out of place, so no file can make the reader nest deeper than three levels.
template <class Header>
class safetensors_header_handler {
 public:
  safetensors_header_handler(const std::string& file, Header& header) : file_(file), header_(header) {}

  // NOLINTBEGIN(readability-identifier-naming): the JSON reader calls these names.
  bool Null() { return refuse("null"); }
  bool Bool(bool value) { return refuse(value ? "true" : "false"); }
  bool Int(int) { return refuse("a negative number"); }
  bool Int64(std::int64_t) { return refuse("a negative number"); }
  bool Uint(unsigned value) { return number(value); }
  bool Uint64(std::uint64_t value) { return number(value); }
  bool Double(double) { return refuse("a number that is no 64-bit integer"); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return refuse("a number"); }

  bool String(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view value(text, length);
    if (state_ == state::metadata_value) {
      header_.metadata.back().second = value;
      state_ = state::metadata;
      return true;
    }
    if (state_ != state::dtype) return refuse("the text '", clipped(value), "'");
    header_.tensors.back().dtype = value;
    state_ = state::tensor;
    return true;
  }

  bool StartObject() {
    switch (state_) {
      case state::start:
        state_ = state::top;
        return true;
      case state::metadata_start:
        state_ = state::metadata;
        return true;
      case state::tensor_start:
        state_ = state::tensor;
        return true;
      default:
        return refuse("an object");
    }
  }

  bool Key(const char* text, rapidjson::SizeType length, bool) {
    const std::string_view key(text, length);
    if (state_ == state::top) return key == safetensors_metadata_key ? begin_metadata() : begin_tensor(key);
    if (state_ == state::metadata) {
      header_.metadata.emplace_back().first = key;
      state_ = state::metadata_value;
      return true;
    }
    return begin_field(key);
  }

  bool EndObject(rapidjson::SizeType) {
    if (state_ == state::tensor && (!has_dtype_ || !has_shape_ || offsets_ != 2))
      throw_io_error(file_, {"tensor '", clipped(header_.tensors.back().name),
                             "': expected dtype, shape and two data_offsets, got less"});
    state_ = state_ == state::top ? state::end : state::top;
    return true;
  }

  bool StartArray() {
    if (state_ == state::shape_start)
      state_ = state::shape;
    else if (state_ == state::offsets_start)
      state_ = state::offsets;
    else
      return refuse("a list");
    return true;
  }

  bool EndArray(rapidjson::SizeType) {
    state_ = state::tensor;
    return true;
  }
  // NOLINTEND(readability-identifier-naming)

 private:
  enum class state {
    start,
    top,
    metadata_start,
    metadata,
    metadata_value,
    tensor_start,
    tensor,
    dtype,
    shape_start,
    shape,
    offsets_start,
    offsets,
    end
  };

  bool begin_metadata() {
    if (std::exchange(has_metadata_, true)) throw_io_error(file_, {"expected __metadata__ once, got it twice"});
    state_ = state::metadata_start;
    return true;
  }

  bool begin_tensor(std::string_view name) {
    header_.tensors.emplace_back().name = name;
    has_dtype_ = has_shape_ = has_offsets_ = false;
    offsets_ = 0;
    state_ = state::tensor_start;
    return true;
  }

  bool begin_field(std::string_view key) {
    const auto begin = [&](bool& seen, state next) {
      if (seen) refuse("the field '", clipped(key), "' twice");
      seen = true;
      state_ = next;
      return true;
    };
    if (key == "dtype") return begin(has_dtype_, state::dtype);
    if (key == "shape") return begin(has_shape_, state::shape_start);
    if (key == "data_offsets") return begin(has_offsets_, state::offsets_start);
    return refuse("the field '", clipped(key), "'");
  }

  bool number(std::uint64_t value) {
    if (state_ != state::shape && state_ != state::offsets) return refuse("a number");
    if (value > static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)()))
      return refuse("a number beyond 63 bits");
    auto& tensor = header_.tensors.back();
    const auto count = static_cast<std::int64_t>(value);
    if (state_ == state::shape) {
      tensor.shape.push_back(count);
      return true;
    }
    if (offsets_ == 2) return refuse("more than two data_offsets");
    (offsets_ == 0 ? tensor.begin : tensor.end) = count;
    ++offsets_;
    return true;
  }

  [[noreturn, gnu::cold]] bool refuse(std::string_view given, std::string_view name = {},
                                      std::string_view rest = {}) const {
    const bool in_tensor = state_ >= state::tensor_start && state_ <= state::offsets;
    const std::string where =
        in_tensor ? message({"tensor '", clipped(header_.tensors.back().name), "': "}) : std::string();
    throw_io_error(file_, {where, "expected ", expected(), " in the header, got ", given, name, rest});
  }

  [[nodiscard]] std::string_view expected() const {
    switch (state_) {
      case state::metadata_start:
        return "an object of texts as __metadata__";
      case state::metadata_value:
        return "a text as every metadata value";
      case state::tensor_start:
        return "an object that describes the tensor";
      case state::tensor:
        return "the fields dtype, shape and data_offsets, each once,";
      case state::dtype:
        return "a text as dtype";
      case state::shape_start:
      case state::shape:
        return "a list of whole numbers of zero or more as shape";
      case state::offsets_start:
      case state::offsets:
        return "a list of two whole numbers of zero or more as data_offsets";
      default:
        return "an object of tensors";
    }
  }

  const std::string& file_;
  Header& header_;
  state state_ = state::start;
  bool has_metadata_ = false;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  int offsets_ = 0;
};

/// Checks that the tensors cover each of the bytes 0 .. data_bytes - 1 once, and that each tensor has the size of its
/// shape. Throws io_error.
template <class Header>
void check_safetensors_layout(const std::string& file, const Header& header, std::int64_t data_bytes) {
  std::vector<const safetensors_description*> order;
  order.reserve(header.tensors.size());
  for (const auto& tensor : header.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->begin != b->begin ? a->begin < b->begin : a->end < b->end; });
  std::int64_t covered = 0;
  for (const auto* tensor : order) {
    const std::array offsets{tensor->begin, tensor->end};
    if (tensor->begin != covered || tensor->end < tensor->begin || tensor->end > data_bytes)
      throw_io_error(file, {"tensor '", clipped(tensor->name), "': expected data_offsets that begin at ", covered,
                            ", without hole or overlap, and end by ", data_bytes, ", got ",
                            std::span<const std::int64_t>(offsets)});
    const std::int64_t bytes = safetensors_byte_count(file, tensor->name, tensor->dtype, tensor->shape);
    if (bytes != tensor->end - tensor->begin)
      throw_io_error(file, {"tensor '", clipped(tensor->name), "': expected ", bytes, " bytes for ", tensor->dtype, " ",
                            tensor->shape, ", got data_offsets ", std::span<const std::int64_t>(offsets)});
    covered = tensor->end;
  }
  if (covered != data_bytes) throw_io_error(file, {"expected ", covered, " bytes after the header, got ", data_bytes});
}

/// Parses a header's JSON and checks it against the number of bytes after it. Throws io_error.
template <class Header = safetensors_header>
[[nodiscard]] Header parse_safetensors_header(const std::string& file, std::string_view json, std::int64_t data_bytes) {
  if (json.empty() || json.front() != '{')
    throw_io_error(file, {"expected a safetensors header that begins with '{', got something else"});
  Header header;
  safetensors_header_handler<Header> handler(file, header);
  rapidjson::MemoryStream stream(json.data(), json.size());
  rapidjson::Reader reader;
  const auto result = reader.template Parse<rapidjson::kParseValidateEncodingFlag>(stream, handler);
  if (result.IsError())
    throw_io_error(file, {"expected JSON as header, got at its byte ", result.Offset(), ": ",
                          rapidjson::GetParseError_En(result.Code())});
  // The reader takes a zero byte for the end of the text.
  if (stream.Tell() != json.size()) throw_io_error(file, {"expected nothing after the header's JSON, got more bytes"});
  header.metadata = sorted_metadata(file, header.metadata);
  header.by_name = ordered_by_name(
      header.tensors.size(), [&](std::size_t i) -> const auto& { return header.tensors[i].name; },
      [&](const auto& name) {
        throw_io_error(file, {"expected every tensor once, got '", clipped(name), "' twice"});
      });
  check_safetensors_layout(file, header, data_bytes);
  return header;
}

/// The header as the reference implementation writes it: metadata first, no white space, then spaces that align the
/// data after it to eight bytes. Throws io_error for a name or text that is not UTF-8, and for a metadata key that
/// comes twice.
template <class Metadata>
[[nodiscard]] std::string format_safetensors_header(const std::string& file,
                                                    const std::vector<safetensors_description>& tensors,
                                                    const Metadata& metadata) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer, rapidjson::UTF8<>, rapidjson::UTF8<>, rapidjson::CrtAllocator,
                    rapidjson::kWriteValidateEncodingFlag>
      writer(buffer);
  const auto text = [&](std::string_view value) {
    if (value.size() > (std::numeric_limits<rapidjson::SizeType>::max)() ||
        !writer.String(value.data() != nullptr ? value.data() : "", static_cast<rapidjson::SizeType>(value.size())))
      throw_io_error(file, {"expected UTF-8 in names and metadata, got '", clipped(value), "'"});
  };
  writer.StartObject();
  if (!metadata.empty()) {
    text(safetensors_metadata_key);
    writer.StartObject();
    for (const auto& [key, value] : sorted_metadata(file, metadata)) {
      text(key);
      text(value);
    }
    writer.EndObject();
  }
  for (const auto& tensor : tensors) {
    text(tensor.name);
    writer.StartObject();
    text("dtype");
    text(tensor.dtype);
    text("shape");
    writer.StartArray();
    for (const std::int64_t extent : tensor.shape) writer.Int64(extent);
    writer.EndArray();
    text("data_offsets");
    writer.StartArray();
    writer.Int64(tensor.begin);
    writer.Int64(tensor.end);
    writer.EndArray();
    writer.EndObject();
  }
  writer.EndObject();
  std::string json(buffer.GetString(), buffer.GetSize());
  json.append((8 - json.size() % 8) % 8, ' ');
  return json;
}

}  // namespace lockstep::detail
