// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// lockstep-embed: what it writes, what the compiler makes of it, and what it refuses.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <lockstep/inference.hpp>
#include <lockstep/io/safetensors.hpp>

#include "docs/headers/controller.hpp"
#include "golden/residual_net.hpp"
#include "support/catch.hpp"
#include "train/program.hpp"
#if __has_include("norms_model.hpp")
#include "norms_model.hpp"
#endif

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

[[nodiscard]] outcome embed(const workplace& place, const std::string& arguments) {
  return place.run(LOCKSTEP_EMBED_PROGRAM, arguments);
}

/// Writes a file of one tensor.
template <class T>
void save(const workplace& place, const std::string& name, const std::vector<T>& values) {
  const std::vector tensors{
      ls::safetensors_tensor::of(name, {static_cast<std::int64_t>(values.size())}, std::span<const T>(values))};
  ls::write_safetensors(place.path("model.safetensors"), tensors);
}

/// The literals of a header of one tensor, read as a compiler does.
std::vector<std::uint32_t> bits_in(const std::string& header) {
  std::vector<std::uint32_t> all;
  for (std::size_t at = header.find("\n", header.find("{{\n    // ") + 3);
       header[at + 1] != ' ' || header[at + 3] != '}';) {
    at = header.find_first_not_of(" \n", at);
    const std::string token = header.substr(at, header.find(',', at) - at);
    INFO(token);
    const std::string cast = "std::bit_cast<float>(";
    if (token.starts_with(cast)) {
      all.push_back(static_cast<std::uint32_t>(std::strtoul(token.c_str() + cast.size(), nullptr, 16)));
    } else {
      char* end = nullptr;
      all.push_back(std::bit_cast<std::uint32_t>(std::strtof(token.c_str(), &end)));
      REQUIRE(std::string(end) == "F");
    }
    at = header.find(',', at) + 1;
  }
  return all;
}

}  // namespace

#if __has_include("norms_model.hpp")

namespace {

using residual_net = ls::model<lockstep_test::residual_layers, ls::input<3, 8, 8>>;

}  // namespace

TEST_CASE("a header of PyTorch's file predicts what the file does") {
  constexpr auto state = ls::embedded_state<residual_net>(embedded::norms_model{});
  STATIC_REQUIRE(state.size() == ls::inference<residual_net>::state_size);
  const ls::inference<residual_net> model(state);
  const auto loaded =
      ls::inference<residual_net>::load(std::string(LOCKSTEP_TEST_DATA_DIR) + "/golden/norms_model.safetensors");
  std::vector<float> picture(192);
  for (std::size_t i = 0; i < picture.size(); ++i) picture[i] = static_cast<float>(i % 17) / 16 - 0.5F;
  CHECK(model(picture) == loaded(picture));
}

#endif

TEST_CASE("the header of the documentation is what the program writes") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  std::vector<ls::safetensors_tensor> tensors;
  for (std::size_t i = 0; i < std::size(weights::controller::tensors); ++i) {
    const auto& t = weights::controller::tensors[i];
    const std::vector<std::int64_t> shape(t.extents, t.extents + t.rank);
    const std::int64_t size = shape[0] * (t.rank > 1 ? shape[1] : 1);
    tensors.push_back(ls::safetensors_tensor::of(
        t.name, shape,
        std::span<const float>(weights::controller::values.data() + t.begin, static_cast<std::size_t>(size))));
  }
  ls::write_safetensors(place.path("controller.safetensors"), tensors);
  const outcome result = embed(place, "controller.safetensors -o controller.hpp --name controller");
  CHECK(result.code == 0);
  CHECK(result.out.empty());
  CHECK(result.err.empty());
  const workplace pages;
  std::filesystem::copy_file(std::string(LOCKSTEP_TEST_DATA_DIR) + "/docs/headers/controller.hpp", pages.path("page"));
  CHECK(place.read("controller.hpp") == pages.read("page"));
}

TEST_CASE("floats of a header read back bit for bit") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  using limits = std::numeric_limits<float>;
  std::vector<float> values{0.F,
                            -0.F,
                            1.F,
                            -1.F,
                            0.1F,
                            limits::min(),
                            limits::max(),
                            limits::lowest(),
                            limits::denorm_min(),
                            -limits::denorm_min(),
                            0x1.fffffcp-127F,
                            limits::infinity(),
                            -limits::infinity(),
                            limits::quiet_NaN()};
  values.push_back(std::bit_cast<float>(0xFFC12345U));
  for (std::uint32_t i = 0, bits = 1; i < 1000; ++i, bits = bits * 1664525 + 1013904223)
    values.push_back(std::bit_cast<float>(bits));
  save(place, "weight", values);
  REQUIRE(embed(place, "model.safetensors -o model.hpp").code == 0);
  const auto read = bits_in(place.read("model.hpp"));
  REQUIRE(read.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(read[i] == std::bit_cast<std::uint32_t>(values[i]));
  CHECK(place.read("model.hpp").find("#include <bit>\n") != std::string::npos);
}

TEST_CASE("other element types become floats, and counts stay counts") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  save<double>(place, "weight", {0.1, 1e300});
  REQUIRE(embed(place, "model.safetensors -o model.hpp").code == 0);
  CHECK(bits_in(place.read("model.hpp")) ==
        std::vector{std::bit_cast<std::uint32_t>(0.1F),
                    std::bit_cast<std::uint32_t>(std::numeric_limits<float>::infinity())});
  save<std::int64_t>(place, "num_batches_tracked", {16'777'216});
  REQUIRE(embed(place, "model.safetensors -o model.hpp").code == 0);
  CHECK(place.read("model.hpp").find("{\"num_batches_tracked\", 1, {1}, 0, true},") != std::string::npos);
  CHECK(bits_in(place.read("model.hpp")) == std::vector{std::bit_cast<std::uint32_t>(16'777'216.F)});
}

TEST_CASE("names from a file cannot end the literal or the comment that they stand in") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  save<float>(place, "a\nint x;\"\\\xC3\xA4", {1});
  REQUIRE(embed(place, "model.safetensors -o model.hpp --namespace app::nets --name picky").code == 0);
  const std::string header = place.read("model.hpp");
  CHECK(header.find(R"(//   a\012int x;\"\\\303\244  1)"
                    "\n") != std::string::npos);
  CHECK(header.find(R"({"a\012int x;\"\\\303\244", 1, {1}, 0, false},)"
                    "\n") != std::string::npos);
  CHECK(header.find("namespace app::nets {\n\nstruct picky {\n") != std::string::npos);
}

TEST_CASE("a header goes to standard output where it is named, and replaces a file whole") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  save<float>(place, "weight", {1, 2});
  place.write("model.hpp", "before");
  REQUIRE(embed(place, "model.safetensors -o model.hpp").code == 0);
  const outcome shown = embed(place, "model.safetensors -o /dev/stdout");
  CHECK(shown.code == 0);
  CHECK(shown.out == place.read("model.hpp"));
  CHECK(embed(place, "model.safetensors -o /dev/full").code == 2);
}

TEST_CASE("what cannot be embedded is refused in a line, and no header is written") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  save<float>(place, "weight", {1});
  place.write("text", "no safetensors file at all, but a text that is long enough");
  const std::string model = "model.safetensors -o model.hpp ";
  const auto refused = [&](const std::string& arguments, const std::string& why) {
    INFO(arguments);
    const outcome result = embed(place, arguments);
    INFO(result.err);
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(result.error_lines() == 1);
    CHECK(result.err.starts_with("lockstep-embed: "));
    CHECK(result.err.find(why) != std::string::npos);
    CHECK(!place.has("model.hpp"));
  };
  refused("missing.safetensors -o model.hpp", "missing.safetensors: cannot open");
  refused("text -o model.hpp", "text: expected a safetensors header of at most");
  refused(". -o model.hpp", ".: expected a file, got a directory");
  refused("model.safetensors", "--output is required");
  refused("-o model.hpp", "input is required");
  refused(model + "--name 3d", "expected a C++ identifier, got '3d'");
  refused(model + "--name my-model", "expected a C++ identifier, got 'my-model'");
  refused(model + "--name ''", "expected a C++ identifier, got ''");
  refused(model + "--name class", "expected a C++ identifier, got the keyword class");
  refused(model + "--name _Model", "which the language keeps for compilers");
  refused(model + "--name values", "expected a name that no member of the type has, got values");
  refused(model + "--namespace a::", "expected a C++ identifier, got ''");
  refused(model + "--namespace std", "expected a namespace of your own, got std");
  refused("model.safetensors -o ./model.safetensors", "expected another file for the header");
  refused("model.safetensors -o none/model.hpp", "none/model.hpp: cannot");

  save<std::uint8_t>(place, "mask", {1});
  refused(model, "tensor 'mask': expected element type F32, F64, F16, BF16 or I64, got U8");
  save<std::int64_t>(place, "count", {-1});
  refused(model, "tensor 'count': expected whole numbers from 0 to 16777216, got -1");
  save<float>(place, "nothing", {});
  refused(model, "expected a file with values, got one without any");
}

TEST_CASE("the flags of lockstep-embed are explained") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome help = embed(place, "--help");
  CHECK(help.code == 0);
  CHECK(help.out.find("--namespace") != std::string::npos);
}
