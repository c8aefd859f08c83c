// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "io/io_support.hpp"

/// \file
/// Buffers in files: running statistics, and counts of batches, which PyTorch keeps as I64.

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

using model = ls::model<
    ls::sequential<ls::linear<3>, ls::named<"norm", ls::batch_norm1d<ls::cumulative>>, ls::relu, ls::linear<2>>,
    ls::input<4>, ls::cross_entropy>;
using trainer_type = ls::data_parallel<model, 2, ls::cpu>;

const std::vector<float> x = [] {
  std::vector<float> all;
  for (int i = 0; i < 6 * 4; ++i) all.push_back(static_cast<float>(i * i % 11) / 8.F);
  return all;
}();
const std::vector<std::int64_t> targets{0, 1, 1, 0, 1, 0};

template <class Trainer>
auto all_of(const Trainer& trainer) {
  std::vector<std::vector<typename Trainer::value_type>> all;
  for (const auto& each : trainer.state()) all.push_back(each.values());
  return all;
}

/// The state of a trainer as a file has it, but for the count, which is another tensor.
template <class T>
void save_with_count(const trainer_type& trainer, const std::string& path, T count) {
  std::vector<std::vector<float>> values;
  std::vector<ls::safetensors_tensor> tensors;
  for (const auto& each : trainer.state()) {
    if (each.counts()) continue;
    values.push_back(each.values());
    tensors.push_back(ls::safetensors_tensor::of(each.name(), ls::detail::extents_vector(each.shape()),
                                                 std::span<const float>(values.back())));
  }
  tensors.push_back(ls::safetensors_tensor::of("norm.num_batches_tracked", {}, std::span<const T>(&count, 1)));
  ls::write_safetensors(path, tensors);
}

}  // namespace

TEST_CASE("buffers are saved and loaded with the parameters, counts as I64", "[safetensors][batch_norm]") {
  const temporary_folder folder;
  const auto path = folder / "model.safetensors";
  trainer_type trainer;
  for (int i = 0; i < 3; ++i) static_cast<void>(trainer.step(x, targets));
  ls::save_safetensors(trainer, path);

  const auto file = ls::safetensors_file::read(path);
  CHECK(file.names().size() == 9);
  CHECK(file.at("norm.num_batches_tracked").dtype == "I64");
  CHECK(file.at("norm.num_batches_tracked").shape.empty());
  CHECK(file.values_i64("norm.num_batches_tracked") == std::vector<std::int64_t>{3});
  CHECK(file.values_f32("norm.running_mean") == trainer.buffers().at("norm.running_mean").values());

  trainer_type other;
  ls::load_safetensors(other, path);
  CHECK(all_of(other) == all_of(trainer));
  CHECK(other.step(x, targets) == trainer.step(x, targets));
  CHECK(all_of(other) == all_of(trainer));
}

TEST_CASE("counts are read from I64 and from F32, exactly", "[safetensors][batch_norm]") {
  const temporary_folder folder;
  const auto path = folder / "model.safetensors";
  trainer_type trainer;
  const auto count = [&] { return trainer.buffers().at("norm.num_batches_tracked").values().front(); };
  save_with_count<std::int64_t>(trainer, path, 16'777'216);
  ls::load_safetensors(trainer, path);
  CHECK(count() == 16'777'216.F);
  save_with_count<float>(trainer, path, 41);
  ls::load_safetensors(trainer, path);
  CHECK(count() == 41);

  const auto before = all_of(trainer);
  const auto check_refused = [&](auto number, const std::string& sentence) {
    save_with_count(trainer, path, number);
    CHECK_THROWS_WITH(ls::load_safetensors(trainer, path), Catch::Contains(sentence));
    CHECK(ls::load_safetensors(trainer, path, ls::match::partial).misfit ==
          std::vector<std::string>{"norm.num_batches_tracked"});
    CHECK(all_of(trainer) == before);
  };
  check_refused(std::int64_t{16'777'217}, "expected whole numbers from 0 to 16777216, got 16777217");
  check_refused(std::int64_t{-1}, "expected whole numbers from 0 to 16777216, got -1");
  check_refused(2.5F, "expected whole numbers from 0 to 16777216, got 2.5");
  check_refused(std::int32_t{3}, "expected element type I64, F32, F64, F16 or BF16, got I32");

  // In double precision, counts go further.
  ls::data_parallel<model, 1, ls::reference<double>> exact;
  save_with_count<std::int64_t>(trainer, path, 16'777'217);
  ls::load_safetensors(exact, path);
  CHECK(exact.buffers().at("norm.num_batches_tracked").values() == std::vector<double>{16'777'217});
}

TEST_CASE("a checkpoint holds the buffers, and training goes on with the same bits", "[checkpoint][batch_norm]") {
  const temporary_folder folder;
  const auto path = folder / "run.safetensors";
  const ls::sgd optimizer{.learning_rate = 0.1F, .momentum = 0.9F};
  trainer_type trainer(optimizer);
  for (int i = 0; i < 2; ++i) static_cast<void>(trainer.step(x, targets));
  ls::save_checkpoint(trainer, path);
  CHECK(ls::safetensors_file::read(path).values_i64("norm.num_batches_tracked") == std::vector<std::int64_t>{2});
  ls::data_parallel<model, 2, ls::cpu> other(optimizer);
  // What an accumulated batch would make of the buffers is dropped.
  static_cast<void>(other.accumulate(x, targets));
  ls::load_checkpoint(other, path);
  CHECK(all_of(other) == all_of(trainer));
  for (int i = 0; i < 2; ++i) CHECK(other.step(x, targets) == trainer.step(x, targets));
  CHECK(all_of(other) == all_of(trainer));
  CHECK(other.buffers().at("norm.num_batches_tracked").values() == std::vector<float>{4});
}

TEST_CASE("averages are saved with the buffers", "[safetensors][batch_norm]") {
  const temporary_folder folder;
  const auto path = folder / "averages.safetensors";
  ls::data_parallel<model, 1, ls::cpu, ls::averaged<ls::sgd>> trainer;
  for (int i = 0; i < 3; ++i) static_cast<void>(trainer.step(x, targets));
  ls::save_safetensors(trainer.averages(), path);
  const auto file = ls::safetensors_file::read(path);
  CHECK(file.values_i64("norm.num_batches_tracked") == std::vector<std::int64_t>{3});
  CHECK(file.values_f32("norm.running_var") == trainer.buffers().at("norm.running_var").values());
  CHECK(file.values_f32("norm.weight") != trainer.parameters().at("norm.weight").values());
  trainer_type other;
  ls::load_safetensors(other, path);
}
