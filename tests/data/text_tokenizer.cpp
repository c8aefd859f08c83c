// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GPT-2's tokenizer against what its authors' algorithm makes of texts; golden/README.md says how that was computed.
#include <lockstep/data/gpt2_tokenizer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/data/text/unicode_categories.hpp>
#include <lockstep/data/text/words.hpp>
#include <lockstep/io/safetensors_file.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using data::gpt2_tokenizer;
using data::special_tokens;
using ids = std::vector<std::int32_t>;
using lockstep_test::error_of;
using lockstep_test::io_error_of;
using lockstep_test::lacking;
using lockstep_test::temporary_folder;

const std::string golden = std::string(LOCKSTEP_TEST_DATA_DIR) + "/golden/tokenizer";
const std::string vocabulary_path = golden + "_vocab.json";
const std::string merges_path = golden + "_merges.txt";

const gpt2_tokenizer& tokenizer() {
  static const gpt2_tokenizer made(vocabulary_path, merges_path);
  return made;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
std::vector<T> elements(const std::string& name) {
  static const auto file = ls::safetensors_file::read(golden + ".safetensors");
  const auto bytes = file.at(name).data;
  std::vector<T> result(bytes.size() / sizeof(T));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

/// The rows of a tensor that holds one after the other.
template <class Row>
std::vector<Row> rows(const std::string& name) {
  const auto all = elements<typename Row::value_type>(name);
  std::vector<Row> result;
  std::ptrdiff_t begin = 0;
  for (const std::int32_t end : elements<std::int32_t>(name + "/ends")) {
    result.emplace_back(all.begin() + begin, all.begin() + end);
    begin = end;
  }
  REQUIRE(result.size() > 300);
  return result;
}

/// A vocabulary of the 256 bytes, numbered in the alphabet's order, and of further tokens.
std::string vocabulary_with(const std::vector<std::string>& tokens, int left_out = -1) {
  std::string json = "{";
  int number = 0;
  const auto add = [&](const std::string& token) {
    json += (number == 0 ? "\"" : ", \"") + token + "\": " + std::to_string(number);
    ++number;
  };
  for (int code = 0; code < 324; ++code) {
    if (data::detail::byte_of[static_cast<std::size_t>(code)] < 0 || code == left_out) continue;
    std::array<char, 7> escaped{};
    std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(code));
    add(escaped.data());
  }
  for (const std::string& token : tokens) add(token);
  return json + "}";
}

}  // namespace

TEST_CASE("gpt2_tokenizer: encodes as GPT-2's encoder", "[data]") {
  const auto texts = rows<std::string>("text");
  const auto expected = rows<ids>("tokens");
  REQUIRE(texts.size() == expected.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    INFO("text " << i << ": " << texts[i].substr(0, 200));
    CHECK(tokenizer().encode(texts[i]) == expected[i]);
  }
}

TEST_CASE("gpt2_tokenizer: also with merges whose order no training gives", "[data]") {
  std::string lines = content_of(merges_path);
  std::string backwards;
  lines.pop_back();
  for (std::size_t at = lines.rfind('\n'); at != std::string::npos; at = lines.rfind('\n')) {
    backwards += lines.substr(at + 1) + "\n";
    lines.resize(at);
  }
  REQUIRE(lines == "#version: 0.2");
  const auto other = gpt2_tokenizer::parse(content_of(vocabulary_path), backwards);
  const auto texts = rows<std::string>("text");
  const auto expected = rows<ids>("backwards");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    INFO("text " << i << ": " << texts[i].substr(0, 200));
    CHECK(other.encode(texts[i]) == expected[i]);
  }
}

TEST_CASE("gpt2_tokenizer: words end where GPT-2's pattern does", "[data]") {
  const auto texts = rows<std::string>("text");
  const auto expected = rows<ids>("words");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    ids ends;
    for (std::size_t at = 0; at < texts[i].size();) {
      const std::size_t end = data::detail::end_of_word(texts[i], at);
      REQUIRE(end > at);
      ends.push_back(static_cast<std::int32_t>(end));
      at = end;
    }
    INFO("text " << i << ": " << texts[i].substr(0, 200));
    CHECK(ends == expected[i]);
  }
}

TEST_CASE("gpt2_tokenizer: decoding gives the bytes back, or valid text", "[data]") {
  const auto texts = rows<std::string>("text");
  const auto replaced = rows<std::string>("replaced");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    INFO("text " << i << ": " << texts[i].substr(0, 200));
    const ids tokens = tokenizer().encode(texts[i]);
    CHECK(tokenizer().decode(tokens) == texts[i]);
    CHECK(tokenizer().decode_text(tokens) == replaced[i]);
  }
}

TEST_CASE("gpt2_tokenizer: <|endoftext|> is a token where it is asked for", "[data]") {
  const auto texts = rows<std::string>("text");
  const auto expected = rows<ids>("special");
  int checked = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (expected[i].empty()) continue;
    INFO("text " << i << ": " << texts[i]);
    const ids tokens = tokenizer().encode(texts[i], special_tokens::recognised);
    CHECK(tokens == expected[i]);
    CHECK(tokenizer().decode(tokens) == texts[i]);
    CHECK(std::count(tokens.begin(), tokens.end(), tokenizer().end_of_text()) > 0);
    ++checked;
  }
  CHECK(checked == 6);
  const ids spelt = tokenizer().encode("<|endoftext|>");
  CHECK(std::count(spelt.begin(), spelt.end(), tokenizer().end_of_text()) == 0);
  const auto without = gpt2_tokenizer::parse(vocabulary_with({}), "");
  CHECK(without.encode("<|endoftext|>", special_tokens::recognised).size() == 13);
  CHECK(lacking(error_of<ls::value_error>([&] { (void)without.end_of_text(); }), {"<|endoftext|>", "without it"}) ==
        "");
}

TEST_CASE("gpt2_tokenizer: letters, numbers and spaces are Unicode's", "[data]") {
  std::array<std::array<std::int64_t, 3>, 4> found{};
  for (std::int64_t code = 0; code < 0x110000; ++code) {
    auto& row = found[static_cast<std::size_t>(data::detail::kind_of_character(static_cast<char32_t>(code)))];
    row[0] += 1;
    row[1] += code;
    row[2] += code * code;
  }
  std::vector<std::int64_t> all;
  for (const auto kind :
       {data::detail::character::letter, data::detail::character::number, data::detail::character::space})
    all.insert(all.end(), found[static_cast<std::size_t>(kind)].begin(), found[static_cast<std::size_t>(kind)].end());
  CHECK(all == elements<std::int64_t>("categories"));
}

TEST_CASE("gpt2_tokenizer: any bytes come back", "[data]") {
  std::mt19937 engine(5);
  const auto pieces = rows<std::string>("text");
  for (int round = 0; round < 300; ++round) {
    std::string text;
    while (text.size() < 200) {
      const std::string& piece = pieces[engine() % pieces.size()];
      if (piece.empty() || engine() % 2 == 0)
        text += static_cast<char>(engine());
      else
        text += piece.substr(engine() % piece.size(), engine() % 16);  // may cut characters
    }
    const ids tokens = tokenizer().encode(text);
    REQUIRE(tokenizer().decode(tokens) == text);
    REQUIRE(tokens.size() <= text.size());
  }
}

TEST_CASE("gpt2_tokenizer: a copy stands on its own", "[data]") {
  auto first = gpt2_tokenizer::parse(vocabulary_with({"ab"}), "a b");
  const gpt2_tokenizer copy(first);
  const ids expected = first.encode("ab abab");
  first = gpt2_tokenizer::parse(vocabulary_with({}), "");
  CHECK(copy.encode("ab abab") == expected);
  CHECK(first.encode("ab").size() == 2);
  CHECK(copy.token(256) == "ab");
  CHECK(copy.size() == 257);
}

TEST_CASE("gpt2_tokenizer: reads a folder, of either naming", "[data]") {
  const auto [vocabulary, merges] =
      GENERATE(table<std::string, std::string>({{"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}}));
  const temporary_folder folder;
  folder.write(vocabulary, content_of(vocabulary_path));
  const auto message = [&] { return io_error_of([&] { (void)gpt2_tokenizer::from_folder(folder.path()); }); };
  CHECK(lacking(message(), {merges}) == "");
  folder.write(merges, content_of(merges_path));
  const auto made = gpt2_tokenizer::from_folder(folder.path());
  CHECK(made.size() == 1257);
  CHECK(made.end_of_text() == 1256);
  folder.remove(vocabulary);
  CHECK(lacking(message(), {"vocab.json"}) == "");
}

TEST_CASE("gpt2_tokenizer: lines of merges.txt may end as on Windows, and its version may be missing", "[data]") {
  const std::string json = vocabulary_with({"ab", "abc", "##"});
  for (const char* merges :
       {"#version: 0.2\na b\nab c\n# #\n", "a b\r\nab c\r\n# #\r\n", "# #\na b\nab c", "\na b\n\nab c\n# #"}) {
    const auto made = gpt2_tokenizer::parse(json, merges);
    CHECK(made.encode("abc##") == ids{257, 258});
  }
  // A merge that comes twice has its last rank.
  const auto twice = gpt2_tokenizer::parse(vocabulary_with({"ab", "bc"}), "a b\nb c\na b");
  CHECK(twice.encode("abc") == ids{twice.encode("a").front(), 257});
}

TEST_CASE("gpt2_tokenizer: refuses a file that is no vocabulary", "[data]") {
  const auto message = [](const std::string& json) {
    return io_error_of([&] { (void)gpt2_tokenizer::parse(json, ""); });
  };
  CHECK(lacking(message(""), {"vocab.json: expected JSON, got at its byte 0"}) == "");
  CHECK(lacking(message("{\"a\": 0"), {"expected JSON, got at its byte 7"}) == "");
  CHECK(lacking(message("7"), {"expected an object of tokens and their numbers", "got a number"}) == "");
  CHECK(lacking(message("[1]"), {"got a list"}) == "");
  CHECK(lacking(message(std::string(100000, '[')), {"got a list"}) == "");
  CHECK(lacking(message("{\"a\": {}}"), {"got an object for 'a'"}) == "");
  CHECK(lacking(message("{\"a\": \"b\"}"), {"got the text 'b' for 'a'"}) == "");
  CHECK(lacking(message("{\"a\": -1}"), {"got a negative number for 'a'"}) == "");
  CHECK(lacking(message("{\"a\": 1.5}"), {"got a number that is no integer for 'a'"}) == "");
  CHECK(lacking(message("{\"a\": null}"), {"got null for 'a'"}) == "");
  CHECK(lacking(message("{\"a\": 2147483648}"), {"below 2^31, got 2147483648 for 'a'"}) == "");
  CHECK(lacking(message("{\"\\u2581the\": 0}"), {"alphabet of bytes", "'\xE2\x96\x81the'", "another kind"}) == "");
  CHECK(lacking(message("{\"a b\": 0}"), {"alphabet of bytes", "'a b'"}) == "");
  CHECK(lacking(message("{\"a\": 0, \"a\": 1}"), {"every token once, got 'a' twice"}) == "");
  CHECK(lacking(message("{\"a\": 0, \"b\": 0}"), {"a number of its own", "got 0 for"}) == "");
  CHECK(lacking(message("{\"a\": 0, \"b\": 2}"), {"the numbers 0 to 1 for 2 tokens, got 2 for 'b'"}) == "");
  CHECK(lacking(message("{}"), {"each of the 256 bytes, found none for byte 0"}) == "");
  CHECK(lacking(message(vocabulary_with({}, 'A')), {"found none for byte 65"}) == "");
  CHECK(lacking(message(vocabulary_with({}) + "x"), {"expected JSON"}) == "");
  CHECK(lacking(message(vocabulary_with({}) + std::string(1, '\0')), {"vocab.json"}) == "");
  CHECK(message(vocabulary_with({})) == "(nothing was thrown)");
}

TEST_CASE("gpt2_tokenizer: refuses the merges of another vocabulary", "[data]") {
  const auto message = [](const std::string& merges) {
    return io_error_of([&] { (void)gpt2_tokenizer::parse(vocabulary_with({"ab"}), merges); });
  };
  CHECK(lacking(message("#version: 0.2\na b\na c\n"),
                {"merges.txt: line 3: expected a merge into a token that the vocabulary has, got 'ac'",
                 "one model?"}) == "");
  CHECK(lacking(message("abc d"), {"line 1: expected a token that the vocabulary has, got 'abc'"}) == "");
  for (const char* line : {"ab", "a  b", " b", "a ", "a b c", "\xE2\x96\x81 b", "a\tb", "\xFF b"})
    CHECK(lacking(message(line), {"line 1: expected two tokens in GPT-2's alphabet of bytes"}) == "");
  CHECK(lacking(message(std::string(1000, 'x')), {"xxx...'"}) == "");
  CHECK(message("a b") == "(nothing was thrown)");
}

TEST_CASE("gpt2_tokenizer: refuses numbers that no token has", "[data]") {
  for (const std::int32_t number : {-1, 1257, 2147483647})
    CHECK(lacking(error_of<ls::value_error>([&] {
                    (void)tokenizer().decode(ids{0, number});
                  }),
                  {"tokens from 0 to 1256", std::to_string(number)}) == "");
}
