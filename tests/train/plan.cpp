// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/model/plan_table.hpp>
#include <lockstep/nn/activation.hpp>
#include <lockstep/nn/flatten.hpp>
#include <lockstep/nn/linear.hpp>

#include "train/program.hpp"

namespace {

namespace ls = lockstep;
using namespace lockstep_test;

using network = ls::sequential<ls::flatten, ls::named<"fc1", ls::linear<12, 20>>, ls::relu, ls::linear<3>>;
using backend = ls::reference<float>;
using model = ls::model<network, ls::input<3, 2, 2>, ls::cross_entropy>;

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The rest of the line that begins with `name`, without blanks around it.
std::string value_of(const std::string& text, const std::string& name) {
  const auto at = text.find("\n" + name + "  ");
  REQUIRE(at != std::string::npos);
  const auto begin = text.find_first_not_of(' ', at + 1 + name.size());
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace

TEST_CASE("a plan's table says what each layer does and where its parameters lie") {
  const std::string table = ls::plan_table<model, backend>(3, 64);
  CHECK(holds(table, "linear+relu"));
  CHECK(holds(table, "3x2x2 -> 12"));
  CHECK(holds(table, "12 -> 20"));
  CHECK(holds(table, "20 -> 3"));
  CHECK(value_of(table, "fc1.weight") == "20x12       240       0");
  CHECK(holds(table, "fc1.bias"));
  CHECK(holds(table, "3.weight"));
  CHECK(holds(table, "3.bias"));
  CHECK(value_of(table, "parameters") == "323");
  CHECK(value_of(table, "parameter bytes") == "1,292");
  CHECK(value_of(table, "gradient bytes") == "3,876");
  // Forward 2*12*20 + 20 and 2*20*3; the weights' gradients cost as much again, the last input's too.
  CHECK(value_of(table, "flops a training step") == "87,040");
  CHECK(value_of(table, "shards") == "22+21+21");
}

TEST_CASE("a plan's arena is that of the longest shard") {
  CHECK(value_of(ls::plan_table<model, backend>(2, 3), "samples a micro-shard") == "2");
  std::string bytes = value_of(ls::plan_table<model, backend>(1, 2), "arena bytes a replica");
  std::erase(bytes, ',');
  CHECK(bytes == std::to_string(2 * 4 * model::plan<backend>.arena_size));
}

TEST_CASE("a plan's table wants replicas and samples") {
  CHECK_THROWS_AS((ls::plan_table<model, backend>(0, 64)), ls::value_error);
  CHECK_THROWS_AS((ls::plan_table<model, backend>(2, 0)), ls::value_error);
}

TEST_CASE("the flag --plan prints the table and trains nothing") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result = place.run("--model cnn --plan --replicas 3 --save never.safetensors --log never.jsonl");
  REQUIRE(result.code == 0);
  CHECK(result.err.empty());
  CHECK(holds(result.out, "conv2d+relu"));
  CHECK(value_of(result.out, "parameters") == "657,162");
  CHECK(value_of(result.out, "shards") == "22+21+21");
  CHECK_FALSE(holds(result.out, "epoch"));
  CHECK_FALSE(place.has("never.safetensors"));
  CHECK_FALSE(place.has("never.jsonl"));
  CHECK(value_of(place.run("--model linear --plan").out, "batch") == "100");
}

TEST_CASE("the flag --plan knows the deep networks") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome lenet = place.run("--model lenet --plan");
  REQUIRE(lenet.code == 0);
  CHECK(value_of(lenet.out, "parameters") == "44,426");  // as SimpleChains counts them
  CHECK(holds(lenet.out, "fc3.weight"));
  const outcome resnet = place.run("--model resnet20 --plan --replicas 4 --batch 128");
  REQUIRE(resnet.code == 0);
  CHECK(value_of(resnet.out, "parameters") == "272,474");
  CHECK(value_of(resnet.out, "shards") == "32+32+32+32");
  CHECK(holds(resnet.out, "layer2.0.downsample.1.weight"));
  const outcome vit = place.run("--model vit --plan");
  REQUIRE(vit.code == 0);
  CHECK(value_of(vit.out, "parameters") == "1,358,602");  // as PyTorch counts those of the module in generate_vit.py
  CHECK(holds(vit.out, "layers.2.self_attn.in_proj_weight"));
}
