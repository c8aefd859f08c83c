// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/io_support.hpp"

namespace ls = lockstep;
using lockstep_test::fixture;
using lockstep_test::message_of;
using lockstep_test::put;
using lockstep_test::slurp;
using lockstep_test::with_length;

namespace {

template <class T>
std::span<const T> all(const std::vector<T>& values) {
  return values;
}

/// A stand-in for a trainer: named parameters that remember whether they were assigned.
template <class T>
struct parameters_only {
  struct parameter {
    std::string text;
    ls::dims extents;
    std::vector<T> elements;
    int assignments = 0;

    [[nodiscard]] std::string_view name() const { return text; }
    [[nodiscard]] ls::dims shape() const { return extents; }
    [[nodiscard]] std::vector<T> values() const { return elements; }
    void assign(std::span<const T> values) {
      elements.assign(values.begin(), values.end());
      ++assignments;
    }
  };

  std::vector<parameter> list;

  [[nodiscard]] const std::vector<parameter>& parameters() const { return list; }
  [[nodiscard]] std::vector<parameter>& parameters() { return list; }

  [[nodiscard]] int assignments() const {
    int sum = 0;
    for (const auto& one : list) sum += one.assignments;
    return sum;
  }
};

using trainer = parameters_only<float>;

static_assert(ls::parameter_source<const trainer>);
static_assert(ls::parameter_target<trainer>);
static_assert(!ls::parameter_target<const trainer>);
static_assert(!ls::parameter_source<std::vector<float>>);

/// The parameters of the fixture state_dict.safetensors, all zero.
trainer small_network() {
  const auto zeros = [](std::string name, ls::dims shape) {
    return trainer::parameter{std::move(name), shape, std::vector<float>(static_cast<std::size_t>(shape.size()))};
  };
  return {{zeros("conv1.weight", ls::dims(3, 2, 2, 2)), zeros("conv1.bias", ls::dims(3)),
           zeros("fc.weight", ls::dims(2, 4)), zeros("fc.bias", ls::dims(2))}};
}

/// What the generating script puts into parameter number `start`.
std::vector<float> ramp(std::size_t count, float start) {
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(start + 0.25F * static_cast<float>(i));
  return values;
}

void check_ramps(const trainer& loaded) {
  for (std::size_t i = 0; i < loaded.list.size(); ++i) {
    const auto& one = loaded.list[i];
    INFO(one.text);
    CHECK(one.elements == ramp(one.elements.size(), static_cast<float>(i)));
    CHECK(one.assignments == 1);
  }
}

}  // namespace

TEST_CASE("what is written is the reference implementation's file byte for byte", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  const std::vector<float> f32{-1.0F, -0.5F, 0.0F, 0.5F, 1.0F, 1.5F};
  const std::vector<double> f64{1.0 / 3.0, -1e300, 5e-324};
  const std::vector<std::uint16_t> f16{0xBC00, 0xB800, 0x0000, 0x3800};
  const std::vector<std::uint16_t> bf16{0xBF80, 0xBF00, 0x0000, 0x3F00, 0x3F80};
  const std::vector<std::int64_t> i64{std::numeric_limits<std::int64_t>::min(), -1, 0,
                                      std::numeric_limits<std::int64_t>::max()};
  const std::vector<std::int32_t> i32{std::numeric_limits<std::int32_t>::min(),
                                      std::numeric_limits<std::int32_t>::max()};
  const std::vector<std::uint8_t> u8{0, 127, 255};
  const std::vector<std::uint8_t> truth{1, 0};
  const std::vector<float> scalar{42.0F};
  const std::vector<float> none;
  const std::vector<float> seven{7.0F};
  const std::vector<float> eight{8.0F};
  const std::vector<ls::safetensors_tensor> tensors{
      ls::safetensors_tensor::of("f32", {2, 3}, all(f32)),
      ls::safetensors_tensor::of("f64", {3}, all(f64)),
      {"f16", "F16", {2, 2}, std::as_bytes(all(f16))},
      {"bf16", "BF16", {5}, std::as_bytes(all(bf16))},
      ls::safetensors_tensor::of("i64", {4}, all(i64)),
      ls::safetensors_tensor::of("i32", {2, 1}, all(i32)),
      ls::safetensors_tensor::of("u8", {3}, all(u8)),
      {"bool", "BOOL", {2}, std::as_bytes(all(truth))},
      ls::safetensors_tensor::of("scalar", {}, all(scalar)),
      ls::safetensors_tensor::of("empty", {0, 3}, all(none)),
      ls::safetensors_tensor::of("größe.重み.🧱", {1}, all(seven)),
      ls::safetensors_tensor::of("quote\" back\\slash / tab\t", {1}, all(eight)),
  };
  ls::write_safetensors(path, tensors, {{"größe", "a \"quoted\" text\n"}});
  CHECK(slurp(path) == slurp(fixture("writable.safetensors")));

  // The order of the arguments does not matter.
  const std::vector<ls::safetensors_tensor> reversed(tensors.rbegin(), tensors.rend());
  ls::write_safetensors(path, reversed, {{"größe", "a \"quoted\" text\n"}});
  CHECK(slurp(path) == slurp(fixture("writable.safetensors")));

  ls::write_safetensors(path, {});
  CHECK(slurp(path) == slurp(fixture("nothing.safetensors")));
}

TEST_CASE("control characters and several metadata entries survive a round trip", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  std::string every;
  for (char c = 0; c < 127; ++c) every += c;
  const ls::safetensors_metadata metadata{{"b", "2"}, {every, every}, {"", ""}};
  const std::vector<double> values{1.0};
  ls::write_safetensors(path,
                        std::vector{ls::safetensors_tensor::of(every, {1, 1}, all(values)),
                                    ls::safetensors_tensor::of("", {}, all(values))},
                        metadata);
  const auto file = ls::safetensors_file::read(path);
  CHECK(file.metadata() == ls::safetensors_metadata{{"", ""}, {every, every}, {"b", "2"}});
  CHECK(file.names() == std::vector<std::string>{"", every});
  CHECK(file.values_f64(every) == values);
}

TEST_CASE("the data of a written file is aligned whatever the header's length", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  const std::vector<std::uint8_t> values{1, 2, 3};
  for (std::size_t length = 1; length <= 9; ++length) {
    ls::write_safetensors(path, std::vector{ls::safetensors_tensor::of(std::string(length, 'n'), {3}, all(values))});
    const std::string bytes = slurp(path);
    CHECK((bytes.size() - values.size()) % 8 == 0);
    CHECK(ls::safetensors_file::read(path).contains(std::string(length, 'n')));
  }
}

TEST_CASE("tensors that cannot be written are refused and the target stays", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  put(path, "before");
  const std::vector<float> two{1.0F, 2.0F};
  const auto message = [&](std::vector<ls::safetensors_tensor> tensors, const ls::safetensors_metadata& metadata = {}) {
    return message_of<ls::io_error>([&] { ls::write_safetensors(path, tensors, metadata); });
  };
  const auto tensor = [&](std::string_view name, std::vector<std::int64_t> shape) {
    return ls::safetensors_tensor::of(name, std::move(shape), all(two));
  };
  const std::string start = "lockstep: " + path + ": ";
  CHECK(message({tensor("a", {3})}) == start + "tensor 'a': expected 12 bytes for F32 [3], got 8");
  CHECK(message({tensor("a", {-2})}) == start + "tensor 'a': expected extents of zero or more, got [-2]");
  CHECK(message({tensor("a", {std::int64_t{1} << 62, 4})}) ==
        start + "tensor 'a': expected a size that fits 64 bits, got the shape [4611686018427387904, 4]");
  CHECK(message({tensor("a", {2}), tensor("b", {2}), tensor("a", {2})}) ==
        start + "expected every tensor once, got 'a' twice");
  CHECK(message({tensor("a", {2})}, {{"k", "1"}, {"j", "2"}, {"k", "3"}}) ==
        start + "expected every metadata key once, got 'k' twice");
  CHECK(message({{"a", "F33", {2}, std::as_bytes(all(two))}}).find("got 'F33'") != std::string::npos);
  CHECK(message({tensor("__metadata__", {2})}).find("got __metadata__") != std::string::npos);
  CHECK(message({tensor("\xff", {2})}).find("expected UTF-8") != std::string::npos);
  CHECK(message({tensor("a", {2})}, {{"k", "\xc3"}}).find("expected UTF-8") != std::string::npos);
  CHECK(slurp(path) == "before");
  CHECK(folder.file_count() == 1);

  CHECK(message_of<ls::io_error>([&] {
          ls::write_safetensors(folder.path(), std::vector{tensor("a", {2})});
        }).find("expected a file, got a directory") != std::string::npos);
  CHECK(folder.file_count() == 1);
}

TEST_CASE("a PyTorch state dict loads into the parameters of its names", "[io]") {
  // Plain, and wrapped in torch.nn.DataParallel.
  const std::string file =
      GENERATE(as<std::string>(), "state_dict.safetensors", "state_dict_data_parallel.safetensors");
  CAPTURE(file);
  auto network = small_network();
  ls::load_safetensors(network, fixture(file));
  check_ramps(network);
}

TEST_CASE("saved parameters are the file that PyTorch saves", "[io]") {
  const lockstep_test::temporary_folder folder;
  auto network = small_network();
  ls::load_safetensors(network, fixture("state_dict.safetensors"));
  ls::save_safetensors(network, folder / "saved.safetensors");
  CHECK(slurp(folder / "saved.safetensors") == slurp(fixture("state_dict.safetensors")));

  ls::save_safetensors(network, folder / "saved.safetensors", {{"epoch", "3"}});
  auto again = small_network();
  ls::load_safetensors(again, folder / "saved.safetensors");
  check_ramps(again);
  CHECK(ls::safetensors_file::read(folder / "saved.safetensors").metadata() ==
        ls::safetensors_metadata{{"epoch", "3"}});
}

TEST_CASE("parameters of type double are saved as F64 and loaded exactly", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "saved.safetensors";
  const std::vector<double> values{1.0 / 3.0, -1e300};
  ls::save_safetensors(parameters_only<double>{{{"w", ls::dims(2), values}, {"s", ls::dims(), {0.1}}}}, path);
  CHECK(ls::safetensors_file::read(path).at("w").dtype == "F64");
  CHECK(ls::safetensors_file::read(path).at("s").shape.empty());
  parameters_only<double> loaded{{{"w", ls::dims(2), {0.0, 0.0}}, {"s", ls::dims(), {0.0}}}};
  ls::load_safetensors(loaded, path);
  CHECK(loaded.list[0].elements == values);
  CHECK(loaded.list[1].elements == std::vector<double>{0.1});
}

TEST_CASE("the file of a part that holds all of a model's tensors loads without its name", "[io]") {
  const lockstep_test::temporary_folder folder;
  const auto path = folder / "part.safetensors";
  const trainer part{{{"wte.weight", ls::dims(1), {5.0F}}, {"h.0.bias", ls::dims(1), {6.0F}}}};
  ls::save_safetensors(part, path);
  trainer whole{{{"transformer.wte.weight", ls::dims(1), {0.0F}}, {"transformer.h.0.bias", ls::dims(1), {0.0F}}}};
  ls::load_safetensors(whole, path);
  CHECK(whole.list[0].elements == std::vector<float>{5.0F});
  CHECK(whole.list[1].elements == std::vector<float>{6.0F});

  // Not where the model has tensors outside of the part, and not where the file has the part's name too.
  trainer more{{{"transformer.wte.weight", ls::dims(1), {0.0F}}, {"head.bias", ls::dims(1), {0.0F}}}};
  CHECK_THROWS_AS(ls::load_safetensors(more, path), ls::io_error);
  ls::save_safetensors(trainer{{{"wte.weight", ls::dims(1), {1.0F}}, {"transformer.wte.weight", ls::dims(1), {2.0F}}}},
                       path);
  trainer named{{{"transformer.wte.weight", ls::dims(1), {0.0F}}}};
  const auto report = ls::load_safetensors(named, path, ls::match::partial);
  CHECK(named.list[0].elements == std::vector<float>{2.0F});
  CHECK(report.foreign == std::vector<std::string>{"wte.weight"});
}

TEST_CASE("a model whose own names begin with module. loads by these names", "[io]") {
  const lockstep_test::temporary_folder folder;
  const trainer saved{{{"module.w", ls::dims(1), {5.0F}}}};
  ls::save_safetensors(saved, folder / "saved.safetensors");
  trainer same{{{"module.w", ls::dims(1), {0.0F}}}};
  ls::load_safetensors(same, folder / "saved.safetensors");
  CHECK(same.list[0].elements == std::vector<float>{5.0F});
  trainer bare{{{"w", ls::dims(1), {0.0F}}}};
  ls::load_safetensors(bare, folder / "saved.safetensors");
  CHECK(bare.list[0].elements == std::vector<float>{5.0F});
}

TEST_CASE("a file that does not fit the model is explained and changes nothing", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  auto network = small_network();
  const auto before = network.list;
  const auto message = [&](const std::string& file) {
    return message_of<ls::io_error>([&] { ls::load_safetensors(network, file); });
  };
  const std::vector<float> weight(24);
  const std::vector<float> three(3);
  const std::vector<float> eight(8);
  const std::vector<float> two(2);
  const std::vector<std::int64_t> counts(2);
  std::vector<ls::safetensors_tensor> good{ls::safetensors_tensor::of("conv1.weight", {3, 2, 2, 2}, all(weight)),
                                           ls::safetensors_tensor::of("conv1.bias", {3}, all(three)),
                                           ls::safetensors_tensor::of("fc.weight", {2, 4}, all(eight)),
                                           ls::safetensors_tensor::of("fc.bias", {2}, all(two))};
  const std::string start = "lockstep: " + path + ": ";
  SECTION("a missing tensor") {
    good.pop_back();
    ls::write_safetensors(path, good);
    CHECK(message(path) ==
          start +
              "expected a tensor 'fc.bias', got none of that name; nothing was loaded; match::partial loads what fits");
  }
  SECTION("an unexpected tensor") {
    good.push_back(ls::safetensors_tensor::of("bn.num_batches_tracked", {2}, all(counts)));
    ls::write_safetensors(path, good);
    CHECK(message(path) == start +
                               "expected only the parameters of the model, got also a tensor "
                               "'bn.num_batches_tracked'; nothing was loaded; match::partial loads what fits");
  }
  SECTION("another shape of the same size") {
    good[2].shape = {4, 2};
    ls::write_safetensors(path, good);
    CHECK(message(path) == start +
                               "tensor 'fc.weight': expected shape [2, 4], got [4, 2]; nothing was loaded; "
                               "match::partial loads what fits");
  }
  SECTION("another element type") {
    good[3] = ls::safetensors_tensor::of("fc.bias", {2}, all(counts));
    ls::write_safetensors(path, good);
    CHECK(message(path) == start +
                               "tensor 'fc.bias': expected element type F32, F64, F16 or BF16, got I64; nothing was "
                               "loaded; match::partial loads what fits");
  }
  SECTION("several faults in one message") {
    good[2].shape = {8};
    good[3].name = "fc.offset";
    ls::write_safetensors(path, good);
    CHECK(message(path) ==
          start +
              "tensor 'fc.weight': expected shape [2, 4], got [8]; expected a tensor 'fc.bias', got none of that "
              "name; expected only the parameters of the model, got also a tensor 'fc.offset'; nothing was loaded; "
              "match::partial loads what fits");
  }
  SECTION("more faults than anybody reads") {
    std::vector<ls::safetensors_tensor> others;
    for (int i = 0; i < 20; ++i) others.push_back(ls::safetensors_tensor::of("t" + std::to_string(i), {2}, all(two)));
    ls::write_safetensors(path, others);
    CHECK(message(path) == start +
                               "expected tensors 'conv1.weight', 'conv1.bias', 'fc.weight', 'fc.bias', got none of "
                               "these names; expected only the parameters of the model, got also tensors 't0', 't1', "
                               "'t10', 't11', 't12', 't13', 't14', 't15' and 12 more; nothing was loaded; "
                               "match::partial loads what fits");
  }
  SECTION("many missing names do not hide a foreign one") {
    parameters_only<float> large;
    for (int i = 0; i < 30; ++i) large.list.push_back({"layer" + std::to_string(i), ls::dims(1), {0.0F}});
    ls::write_safetensors(path, std::vector{ls::safetensors_tensor::of("layers", {2}, all(two))});
    const std::string text = message_of<ls::io_error>([&] { ls::load_safetensors(large, path); });
    CHECK(text.find("'layer7' and 22 more, got none of these names") != std::string::npos);
    CHECK(text.find("got also a tensor 'layers'; nothing was loaded") != std::string::npos);
  }
  SECTION("more misfits than anybody reads") {
    parameters_only<float> large;
    std::vector<ls::safetensors_tensor> others;
    for (int i = 0; i < 10; ++i) {
      large.list.push_back({"t" + std::to_string(i), ls::dims(3), {0.0F, 0.0F, 0.0F}});
      others.push_back(ls::safetensors_tensor::of("t" + std::to_string(i), {2}, all(two)));
    }
    ls::write_safetensors(path, others);
    const std::string text = message_of<ls::io_error>([&] { ls::load_safetensors(large, path); });
    CHECK(text.find("tensor 't7': expected shape [3], got [2]; 2 more tensors of other shapes or element types; "
                    "nothing was loaded") != std::string::npos);
  }
  SECTION("module. before some names only") {
    good[0].name = "module.conv1.weight";
    ls::write_safetensors(path, good);
    CHECK(message(path).find("got also a tensor 'module.conv1.weight'") != std::string::npos);
  }
  SECTION("a damaged file") {
    put(path, slurp(fixture("state_dict.safetensors")).substr(0, 400));
    CHECK(message(path).starts_with(start));
  }
  SECTION("a missing file") { CHECK(message(path) == start + "cannot open for reading: No such file or directory"); }
  REQUIRE(network.list.size() == before.size());
  CHECK(network.assignments() == 0);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(network.list[i].elements == before[i].elements);
}

TEST_CASE("what wrappers put before every name is taken off", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "wrapped.safetensors";
  const std::string prefix =
      GENERATE(as<std::string>(), "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.");
  auto network = small_network();
  ls::load_safetensors(network, fixture("state_dict.safetensors"));
  trainer wrapped = network;
  for (auto& one : wrapped.list) one.text.insert(0, prefix);
  ls::save_safetensors(wrapped, path);
  auto loaded = small_network();
  SECTION("from every name") {
    ls::load_safetensors(loaded, path);
    check_ramps(loaded);
  }
  SECTION("when the file has foreign names beside") {
    wrapped.list.push_back({"step", ls::dims(1), {0.0F}});
    ls::save_safetensors(wrapped, path);
    const auto report = ls::load_safetensors(loaded, path, ls::match::partial);
    CHECK(report.foreign == std::vector<std::string>{"step"});
    CHECK(report.missing.empty());
    check_ramps(loaded);
  }
  SECTION("not from names of the model that begin so") {
    auto same = wrapped;
    for (auto& one : same.list) std::fill(one.elements.begin(), one.elements.end(), 0.0F);
    ls::load_safetensors(same, path);
    for (std::size_t i = 0; i < same.list.size(); ++i) CHECK(same.list[i].elements == network.list[i].elements);
  }
  SECTION("once, where the model has such a name itself") {
    trainer nested{{{"module.w", ls::dims(1), {0.0F}}}};
    ls::save_safetensors(trainer{{{prefix + "module.w", ls::dims(1), {7.0F}}}}, path);
    ls::load_safetensors(nested, path);
    CHECK(nested.list[0].elements == std::vector<float>{7.0F});
  }
}

TEST_CASE("a partial load assigns what fits and names the rest", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  const std::vector<float> weight(24, 1.5F);
  const std::vector<float> eight(8, 2.5F);
  const std::vector<std::int64_t> counts(2);
  ls::write_safetensors(path, std::vector{ls::safetensors_tensor::of("conv1.weight", {3, 2, 2, 2}, all(weight)),
                                          ls::safetensors_tensor::of("fc.weight", {4, 2}, all(eight)),
                                          ls::safetensors_tensor::of("fc.bias", {2}, all(counts)),
                                          ls::safetensors_tensor::of("head.weight", {8}, all(eight))});
  auto network = small_network();
  const auto report = ls::load_safetensors(network, path, ls::match::partial);
  CHECK(report.missing == std::vector<std::string>{"conv1.bias"});
  CHECK(report.foreign == std::vector<std::string>{"head.weight"});
  CHECK(report.misfit == std::vector<std::string>{"fc.weight", "fc.bias"});
  CHECK_FALSE(report.complete());
  CHECK(network.list[0].elements == weight);
  CHECK(network.assignments() == 1);
  CHECK(ls::load_safetensors(network, fixture("state_dict.safetensors"), ls::match::partial).complete());
  CHECK(ls::load_safetensors(network, fixture("state_dict.safetensors"), ls::match::strict).complete());
  for (const auto& one : network.list) CHECK(one.elements.at(1) == one.elements.at(0) + 0.25F);
  CHECK_THROWS_AS(ls::load_safetensors(network, path, ls::match::strict), ls::io_error);
  CHECK_THROWS_AS(ls::load_safetensors(network, folder / "absent", ls::match::partial), ls::io_error);
}

TEST_CASE("what a model needs beside its parameters is saved and loaded with them", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  auto network = small_network();
  ls::load_safetensors(network, fixture("state_dict.safetensors"));
  const parameters_only<double> scale{{{"scale", ls::dims(2), {0.1, 1e300}}}};
  const trainer offset{{{"offset", ls::dims(), {3.0F}}}};
  ls::save_safetensors(network, path, scale, offset);
  CHECK(ls::safetensors_file::read(path).names().size() == 6);
  CHECK(ls::safetensors_file::read(path).metadata() == ls::safetensors_metadata{{"format", "pt"}});
  CHECK(ls::safetensors_file::read(path).at("scale").dtype == "F64");

  auto again = small_network();
  parameters_only<double> its_scale{{{"scale", ls::dims(2), {0.0, 0.0}}}};
  trainer its_offset{{{"offset", ls::dims(), {0.0F}}}};
  SECTION("all of it") {
    ls::load_safetensors(again, path, its_scale, its_offset);
    check_ramps(again);
    CHECK(its_scale.list[0].elements == scale.list[0].elements);
    CHECK(its_offset.list[0].elements == std::vector<float>{3.0F});
  }
  SECTION("what is not asked for is foreign") {
    CHECK(message_of<ls::io_error>([&] {
            ls::load_safetensors(again, path, its_scale);
          }).find("got also a tensor 'offset'; nothing was loaded") != std::string::npos);
    CHECK(again.assignments() == 0);
    CHECK(its_scale.list[0].elements == std::vector<double>{0.0, 0.0});
  }
  SECTION("what the file lacks is missing") {
    ls::save_safetensors(network, path, offset);
    CHECK(message_of<ls::io_error>([&] {
            ls::load_safetensors(again, path, its_scale, its_offset);
          }).find("expected a tensor 'scale', got none of that name") != std::string::npos);
    const auto report = ls::load_safetensors(again, path, ls::match::partial, its_scale, its_offset);
    CHECK(report.missing == std::vector<std::string>{"scale"});
    CHECK(its_offset.list[0].elements == std::vector<float>{3.0F});
    check_ramps(again);
  }
  SECTION("two tensors of one name are refused") {
    CHECK(message_of<ls::io_error>([&] {
            ls::save_safetensors(network, path, scale, scale);
          }).find("got 'scale' twice") != std::string::npos);
  }
  SECTION("an extra that refuses its values changes nothing") {
    struct picky : trainer {
      struct refusing : parameter {
        static void assign(std::span<const float> /*values*/) {
          throw ls::value_error("picky", "other values", "these");
        }
      };
      [[nodiscard]] std::vector<refusing> parameters() const { return {{list[0]}}; }
    };
    picky refuses{{{{"offset", ls::dims(), {0.0F}}}}};
    CHECK_THROWS_AS(ls::load_safetensors(again, path, its_scale, refuses), ls::value_error);
    CHECK(again.assignments() == 0);
    CHECK(its_scale.list[0].elements == std::vector<double>{0.0, 0.0});
  }
}

TEST_CASE("a save that fails leaves the file of before", "[io]") {
  const lockstep_test::temporary_folder folder;
  const std::string path = folder / "file.safetensors";
  put(path, "before");
  trainer wrong = small_network();
  wrong.list[1].elements.pop_back();
  CHECK(message_of<ls::io_error>([&] { ls::save_safetensors(wrong, path); }) ==
        "lockstep: " + path + ": tensor 'conv1.bias': expected 12 bytes for F32 [3], got 8");
  CHECK(slurp(path) == "before");
  CHECK(folder.file_count() == 1);
  CHECK(message_of<ls::io_error>([&] { ls::save_safetensors(wrong, folder / "absent/file"); }) != "nothing was thrown");
}
