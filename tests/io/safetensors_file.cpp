// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/io/safetensors_file.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <lockstep/core/random.hpp>

#include "io/io_support.hpp"

namespace ls = lockstep;
using lockstep_test::fixture;
using lockstep_test::message_of;
using lockstep_test::put;
using lockstep_test::slurp;
using lockstep_test::with_length;

namespace {

using extents = std::vector<std::int64_t>;

std::string bytes_text(const ls::safetensors_entry& entry) {
  return {reinterpret_cast<const char*>(entry.data.data()), entry.data.size()};
}

std::string tensor_json(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("a file of the reference implementation opens with its exact values", "[io]") {
  const auto file = ls::safetensors_file::read(fixture("every_type.safetensors"));
  CHECK(file.names() == std::vector<std::string>{"i64", "f64", "empty", "f32", "größe.重み.🧱",
                                                 "quote\" back\\slash / tab\t", "scalar", "unit\x1f", "i32", "bf16",
                                                 "f16", "u8", "bool"});
  CHECK(file.metadata() == ls::safetensors_metadata{{"größe", "a \"quoted\" text\n"}});

  CHECK(file.at("f32").dtype == "F32");
  CHECK(file.at("f32").shape == extents{2, 3});
  CHECK(file.values_f32("f32") == std::vector<float>{-1.0F, -0.5F, 0.0F, 0.5F, 1.0F, 1.5F});
  CHECK(file.values_f64("f32") == std::vector<double>{-1.0, -0.5, 0.0, 0.5, 1.0, 1.5});

  CHECK(file.at("f64").dtype == "F64");
  CHECK(file.values_f64("f64") == std::vector<double>{1.0 / 3.0, -1e300, 5e-324});
  const auto rounded = file.values_f32("f64");
  CHECK(rounded == std::vector<float>{1.0F / 3.0F, -std::numeric_limits<float>::infinity(), 0.0F});

  CHECK(file.at("f16").dtype == "F16");
  CHECK(file.at("f16").shape == extents{2, 2});
  CHECK(file.values_f32("f16") == std::vector<float>{-1.0F, -0.5F, 0.0F, 0.5F});
  CHECK(file.at("bf16").dtype == "BF16");
  CHECK(file.values_f64("bf16") == std::vector<double>{-1.0, -0.5, 0.0, 0.5, 1.0});

  CHECK(file.values_i64("i64") == std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min(), -1, 0,
                                                            std::numeric_limits<std::int64_t>::max()});
  CHECK(file.at("i32").shape == extents{2, 1});
  CHECK(bytes_text(file.at("i32")) == std::string("\0\0\0\x80\xff\xff\xff\x7f", 8));
  CHECK(bytes_text(file.at("u8")) == std::string("\0\x7f\xff", 3));
  CHECK(file.at("bool").dtype == "BOOL");
  CHECK(bytes_text(file.at("bool")) == std::string("\1\0", 2));

  CHECK(file.at("scalar").shape.empty());
  CHECK(file.values_f32("scalar") == std::vector<float>{42.0F});
  CHECK(file.at("empty").shape == extents{0, 3});
  CHECK(file.values_f32("empty").empty());
  CHECK(file.values_f32("größe.重み.🧱") == std::vector<float>{7.0F});
  CHECK(file.values_f32("quote\" back\\slash / tab\t") == std::vector<float>{8.0F});
  CHECK(file.values_f32("unit\x1f") == std::vector<float>{9.0F});
}

TEST_CASE("half precision converts as torch converts it", "[io]") {
  const auto file = ls::safetensors_file::read(fixture("halves.safetensors"));
  for (const std::string type : {"f16", "bf16"}) {
    const auto given = file.values_f32(type);
    const auto expected = file.values_f32(type + ".expected");
    REQUIRE(given.size() == 1024);
    REQUIRE(expected.size() == 1024);
    int different = 0;
    for (std::size_t i = 0; i < given.size(); ++i) {
      const bool same =
          std::isnan(expected[i]) ? std::isnan(given[i]) : std::memcmp(&given[i], &expected[i], sizeof(float)) == 0;
      if (!same) ++different;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("a file without tensors is a file", "[io]") {
  const auto file = ls::safetensors_file::read(fixture("nothing.safetensors"));
  CHECK(file.names().empty());
  CHECK(file.metadata().empty());
  CHECK(message_of<ls::io_error>([&] { static_cast<void>(file.at("a")); }) ==
        "lockstep: " + file.path() + ": expected a tensor named 'a', got a file without tensors");
}

TEST_CASE("entries stay valid when the file is moved", "[io]") {
  auto file = ls::safetensors_file::read(fixture("every_type.safetensors"));
  const auto moved = std::move(file);
  CHECK(moved.values_f32("scalar") == std::vector<float>{42.0F});
}

TEST_CASE("a missing or mistyped tensor is explained", "[io]") {
  const auto file = ls::safetensors_file::read(fixture("state_dict.safetensors"));
  CHECK(file.contains("conv1.weight"));
  CHECK_FALSE(file.contains("conv1"));
  const std::string message = message_of<ls::io_error>([&] { static_cast<void>(file.values_f32("conv2.weight")); });
  CHECK(message == "lockstep: " + file.path() +
                       ": expected a tensor named 'conv2.weight', got only 'conv1.weight', 'fc.weight', 'conv1.bias', "
                       "'fc.bias'");

  const auto types = ls::safetensors_file::read(fixture("every_type.safetensors"));
  CHECK(message_of<ls::io_error>([&] { static_cast<void>(types.values_f32("i64")); }) ==
        "lockstep: " + types.path() + ": tensor 'i64': expected F32, F64, F16 or BF16, got I64");
  CHECK(message_of<ls::io_error>([&] { static_cast<void>(types.values_i64("f32")); }) ==
        "lockstep: " + types.path() + ": tensor 'f32': expected I64, got F32");
  // Only the nearest of many names are listed.
  const std::string many = message_of<ls::io_error>([&] { static_cast<void>(types.at("f128")); });
  CHECK(many.find("got among others 'f") != std::string::npos);
  CHECK(many.find("'scalar'") == std::string::npos);
}

TEST_CASE("layouts that the format allows are read", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  SECTION("padding, white space, escapes, any order of fields and tensors") {
    put(path, with_length("{ \"b\\u00e9\\ud83e\\uddf1\" :\n{\"data_offsets\":[1,3],\"shape\":[2],\"dtype\":\"U8\"},"
                          "\"a\":" +
                              tensor_json("I8", "[]", "[0,1]") + "}     ",
                          "xyz"));
    const auto file = ls::safetensors_file::read(path);
    CHECK(file.names() == std::vector<std::string>{"b\u00e9\U0001F9F1", "a"});
    CHECK(bytes_text(file.at("b\u00e9\U0001F9F1")) == "yz");
    CHECK(bytes_text(file.at("a")) == "x");
  }
  SECTION("data that is not aligned") {
    const float value = 1.5F;
    std::string data(1 + sizeof(float), 'x');
    std::memcpy(data.data() + 1, &value, sizeof(float));
    put(path, with_length(
                  "{\"a\":" + tensor_json("U8", "[1]", "[0,1]") + ",\"b\":" + tensor_json("F32", "[1]", "[1,5]") + "}",
                  data));
    CHECK(ls::safetensors_file::read(path).values_f32("b") == std::vector<float>{1.5F});
  }
  SECTION("empty tensors between others, with extents whose product vanishes") {
    put(path, with_length("{\"a\":" + tensor_json("U8", "[1]", "[0,1]") +
                              ",\"b\":" + tensor_json("F32", "[0,9223372036854775807]", "[1,1]") +
                              ",\"c\":" + tensor_json("F64", "[3,0]", "[1,1]") +
                              ",\"d\":" + tensor_json("U8", "[1]", "[1,2]") + "}",
                          "xy"));
    const auto file = ls::safetensors_file::read(path);
    CHECK(file.values_f32("b").empty());
    CHECK(bytes_text(file.at("d")) == "y");
  }
  SECTION("every element type") {
    for (const auto& type : ls::detail::safetensors_dtypes) {
      const std::string bytes = std::to_string(2 * type.bytes);
      put(path, with_length("{\"a\":" + tensor_json(std::string(type.name), "[2]", "[0," + bytes + "]") + "}",
                            std::string(static_cast<std::size_t>(2 * type.bytes), 'x')));
      CHECK(ls::safetensors_file::read(path).at("a").dtype == type.name);
    }
  }
}

TEST_CASE("a header that breaks a rule is refused with the rule", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  struct broken {
    std::string json;
    std::string data;
    std::string message;
  };
  const std::string one = tensor_json("U8", "[1]", "[0,1]");
  const std::string deep(100'000, '[');
  const std::vector<broken> cases{
      {"", "", "begins with '{'"},
      {" {}", "", "begins with '{'"},
      {"[]", "", "begins with '{'"},
      {"{", "", "expected JSON as header, got at its byte 1"},
      {"{}{}", "", "expected JSON as header"},
      {std::string("{}\0", 3), "", "got more bytes"},
      {"{\"a\":1}", "", "an object that describes the tensor in the header, got a number"},
      {"{\"a\":null}", "", "got null"},
      {"{\"a\":[" + one + "]}", "x", "got a list"},
      {"{\"a\":" + deep, "", "got a list"},
      {"{\"a\":{\"shape\":" + deep, "", "got a list"},
      {"{\"a\":{}}", "", "expected dtype, shape and two data_offsets"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", "x", "expected dtype, shape and two data_offsets"},
      {"{\"a\":" + tensor_json("U8", "[1]", "[1]") + "}", "x", "expected dtype, shape and two data_offsets"},
      {"{\"a\":" + tensor_json("U8", "[1]", "[0,1,1]") + "}", "x", "got more than two data_offsets"},
      {"{\"a\":" + tensor_json("U8", "[-1]", "[0,1]") + "}", "x", "shape in the header, got a negative number"},
      {"{\"a\":" + tensor_json("U8", "[-0]", "[0,0]") + "}", "", "shape in the header, got a negative number"},
      {"{\"a\":" + tensor_json("U8", "[1.0]", "[0,1]") + "}", "x", "got a number that is no 64-bit integer"},
      {"{\"a\":" + tensor_json("U8", "[1e0]", "[0,1]") + "}", "x", "got a number that is no 64-bit integer"},
      {"{\"a\":" + tensor_json("U8", "[\"1\"]", "[0,1]") + "}", "x", "got the text '1'"},
      {"{\"a\":" + tensor_json("U8", "1", "[0,1]") + "}", "x", "got a number"},
      {"{\"a\":" + tensor_json("U8", "[true]", "[0,1]") + "}", "x", "got true"},
      {"{\"a\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,1]}}", "x",
       "a text as dtype in the header, got a number"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":1}}", "x", "got the field 'more'"},
      {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", "x",
       "got the field 'dtype' twice"},
      {"{\"a\":" + one + ",\"a\":" + one + "}", "x", "expected every tensor once, got 'a' twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", "", "expected __metadata__ once"},
      {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "", "expected every metadata key once, got 'k' twice"},
      {"{\"__metadata__\":{\"k\":1}}", "", "a text as every metadata value in the header, got a number"},
      {"{\"__metadata__\":{\"k\":{}}}", "", "got an object"},
      {"{\"__metadata__\":\"k\"}", "", "an object of texts as __metadata__ in the header, got the text 'k'"},
      {"{\"\xff\":" + one + "}", "x", "expected JSON as header"},
      {"{\"\\ud800\":" + one + "}", "x", "expected JSON as header"},
      {"{\"a\":" + tensor_json("F31", "[1]", "[0,1]") + "}", "x", "element type of the safetensors format"},
      {"{\"a\":" + tensor_json("F32", "[1]", "[0,1]") + "}", "x",
       "expected 4 bytes for F32 [1], got data_offsets [0, 1]"},
      {"{\"a\":" + tensor_json("U8", "[2]", "[0,1]") + "}", "x", "expected 2 bytes for U8 [2]"},
      {"{\"a\":" + tensor_json("U8", "[0]", "[0,1]") + "}", "x", "expected 0 bytes for U8 [0]"},
      {"{\"a\":" + one + "}", "xy", "expected 1 bytes after the header, got 2"},
      {"{}", "x", "expected 0 bytes after the header, got 1"},
      {"{\"a\":" + one + "}", "", "end by 0, got [0, 1]"},
      {"{\"a\":" + tensor_json("U8", "[1]", "[1,2]") + "}", "xy", "begin at 0"},
      {"{\"a\":" + one + ",\"b\":" + tensor_json("U8", "[1]", "[2,3]") + "}", "xyz", "begin at 1"},
      {"{\"a\":" + tensor_json("U8", "[2]", "[0,2]") + ",\"b\":" + tensor_json("U8", "[2]", "[1,3]") + "}", "xyz",
       "begin at 2"},
      {"{\"a\":" + one + ",\"b\":" + one + "}", "x", "begin at 1"},
      {"{\"a\":" + one + ",\"b\":" + tensor_json("U8", "[1]", "[1,0]") + "}", "x", "got [1, 0]"},
      {"{\"a\":" + tensor_json("U8", "[1]", "[0,18446744073709551615]") + "}", "x", "got a number beyond 63 bits"},
      {"{\"a\":" + tensor_json("U8", "[99999999999999999999999]", "[0,1]") + "}", "x", "no 64-bit integer"},
      {"{\"a\":" + tensor_json("U8", "[4294967296,4294967296]", "[0,1]") + "}", "x",
       "expected a size that fits 64 bits"},
      {"{\"a\":" + tensor_json("F64", "[2305843009213693952]", "[0,0]") + "}", "", "expected a size that fits 64 bits"},
      {"{\"a\":" + tensor_json("U8", "[9223372036854775807,3,0]", "[0,0]") + "}", "",
       "expected a size that fits 64 bits"},
  };
  for (const auto& broken : cases) {
    put(path, with_length(broken.json, broken.data));
    const std::string message = message_of<ls::io_error>([&] { static_cast<void>(ls::safetensors_file::read(path)); });
    INFO(broken.json.substr(0, 200) << "\nexpected: " << broken.message << "\ngot: " << message);
    CHECK(message.starts_with("lockstep: " + path + ": "));
    CHECK(message.find(broken.message) != std::string::npos);
  }
}

TEST_CASE("a header length that cannot be right is refused", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  const auto message = [&] {
    return message_of<ls::io_error>([&] { static_cast<void>(ls::safetensors_file::read(path)); });
  };

  put(path, std::string("\3\0\0\0\0\0\0\0{}", 10));
  CHECK(message() == "lockstep: " + path + ": expected a safetensors header of at most 2 bytes, got a length of 3");
  put(path, std::string(8, '\xff') + "{}");
  CHECK(message().find("got a length of 18446744073709551615") != std::string::npos);

  // A file long enough to hold an over-long header; it is sparse, so it takes no room.
  put(path, std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10));
  std::filesystem::resize_file(path, 200'000'000);
  CHECK(message() ==
        "lockstep: " + path + ": expected a safetensors header of at most 100000000 bytes, got a length of 100000001");
}

TEST_CASE("a file of another format is named for what it is", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "model.safetensors";
  const auto message = [&](const std::string& content) {
    put(path, content);
    const std::string text = message_of<ls::io_error>([&] { (void)ls::safetensors_file::read(path); });
    const std::string start = "lockstep: " + path + ": expected a safetensors file, got ";
    return text.starts_with(start) ? text.substr(start.size()) : text;
  };
  const std::string zeros(300, '\0');
  const std::string fill(300, 'x');
  // The first bytes of torch.save in PyTorch 2, and before 1.6.
  const std::string zipped("PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0e\0\0\0archive/data.pkl", 46);
  const std::string pickled("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", 20);
  const std::string framed("\x80\x04\x95\x1e\0\0\0\0\0\0\0", 11);
  CHECK(message(zipped + fill).starts_with("a zip archive, as torch.save writes it"));
  CHECK(message(zipped + fill).find("safetensors.torch.save_file(torch.load(") != std::string::npos);
  CHECK(message(pickled + fill).starts_with("a Python pickle"));
  CHECK(message(pickled).find("safetensors.torch.save_file(torch.load(") != std::string::npos);
  CHECK(message(framed).starts_with("a Python pickle"));
  CHECK(message("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n")
            .starts_with("a Git LFS pointer"));
  CHECK(message("version https://git-lfs.github.com/spec/v1\n").find("git lfs pull") != std::string::npos);
  for (const char* page : {"<!DOCTYPE html><html>", "<!doctype HTML>\n", " \r\n\t<html lang=\"en\">", "<HEAD><title>",
                           "\xef\xbb\xbf<!DOCTYPE html>"})
    CHECK(message(page).starts_with("an HTML page"));
  CHECK(message("\x1f\x8b\x08\x08" + fill).starts_with("a gzip archive"));
  CHECK(message("\x89HDF\r\n\x1a\n" + fill).starts_with("an HDF5 file"));
  CHECK(message("GGUF\x03" + fill).starts_with("a GGUF file"));

  // What is none of these keeps its own message, a file that was cut before all.
  CHECK(message("plain text, not of any format").find("got a length of ") != std::string::npos);
  CHECK(message(std::string("\x80\x02\x01\0\0\0\0\0{", 9)).find("got a length of 66176") != std::string::npos);
  CHECK(message("<html").find("expected a safetensors file of 8 bytes or more, got 5") != std::string::npos);
  CHECK(message("<htm" + fill).find("got a length of ") != std::string::npos);
}

TEST_CASE("a huge file with a wrong header is refused without being read", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  put(path, with_length("{\"a\":" + tensor_json("U8", "[1]", "[0,1]") + "}", "x"));
  std::error_code refused;
  std::filesystem::resize_file(path, std::uintmax_t{1} << 42U, refused);
  if (refused) LOCKSTEP_SKIP("the file system has no sparse files of 4 TiB");
  CHECK(message_of<ls::io_error>([&] {
          static_cast<void>(ls::safetensors_file::read(path));
        }).find("expected 1 bytes after the header") != std::string::npos);
}

TEST_CASE("a file cut at any length is refused", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  const std::string whole = slurp(fixture("state_dict.safetensors"));
  int refused = 0;
  for (std::size_t length = 0; length < whole.size(); ++length) {
    put(path, whole.substr(0, length));
    try {
      static_cast<void>(ls::safetensors_file::read(path));
    } catch (const ls::io_error&) {
      ++refused;
    }
  }
  CHECK(refused == static_cast<int>(whole.size()));
  put(path, whole);
  CHECK(ls::safetensors_file::read(path).names().size() == 4);
}

TEST_CASE("damaged bytes give io_error or a file that keeps the rules, never anything else", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  const std::string whole = slurp(fixture("state_dict.safetensors"));
  const std::size_t header_end = whole.find('}', whole.rfind("data_offsets")) + 1;
  const ls::random_stream random(ls::seed{7}, ls::random_purpose::synthetic_data);
  std::uint64_t draw = 0;
  int read = 0;
  int refused = 0;
  const auto attempt = [&](const std::string& bytes) {
    put(path, bytes);
    try {
      const auto file = ls::safetensors_file::read(path);
      for (const auto& name : file.names()) {
        std::int64_t size = 1;
        for (const auto extent : file.at(name).shape) size *= extent;
        REQUIRE(file.at(name).data.size() % static_cast<std::size_t>(std::max<std::int64_t>(size, 1)) == 0);
      }
      ++read;
    } catch (const ls::io_error&) {
      ++refused;
    }
  };
  for (int round = 0; round < 1500; ++round) {  // single and double bit flips, mostly inside the header
    std::string bytes = whole;
    for (std::uint32_t flips = 1 + random.below(2, draw++); flips > 0; --flips) {
      const auto at = random.below(static_cast<std::uint32_t>(header_end), draw++);
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ (1U << random.below(8, draw++)));
    }
    attempt(bytes);
  }
  for (int round = 0; round < 500; ++round) {  // a header of random text drawn from the format's own alphabet
    constexpr std::string_view alphabet = "{}[]:,\"\\0123456789-.e utrnls\xc3";
    std::string json = "{";
    for (std::uint32_t left = random.below(60, draw++); left > 0; --left)
      json += alphabet[random.below(static_cast<std::uint32_t>(alphabet.size()), draw++)];
    attempt(with_length(json));
  }
  for (int round = 0; round < 500; ++round) {  // random bytes from the first on
    std::string bytes;
    for (std::uint32_t left = random.below(100, draw++); left > 0; --left)
      bytes += static_cast<char>(random.below(256, draw++));
    attempt(bytes);
  }
  CHECK(read + refused == 2500);
  CHECK(refused > 1500);
  CHECK(read > 0);  // a flipped letter inside a name is still a name
}
