// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "models/seq2seq_small.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;

namespace seq2seq_model {

constexpr std::int64_t rows = 6;
constexpr std::int64_t digits = 10;
using model = ls::model<models::seq2seq_small<digits, digits + 1, rows>,
                        ls::inputs<ls::named<"source", ls::tokens<rows>>, ls::named<"target", ls::tokens<rows>>>,
                        ls::cross_entropy>;

/// Numbers of six digits, and the same backwards; what the decoder reads begins with a token of its own.
struct numbers {
  explicit numbers(std::int64_t count, std::uint64_t stream) {
    const ls::random_stream draws(ls::seed{3}, ls::random_purpose::synthetic_data, stream);
    for (std::int64_t i = 0; i < count * rows; ++i)
      source.push_back(static_cast<int>(draws.below(digits, static_cast<std::uint64_t>(i))));
    for (std::int64_t s = 0; s < count; ++s)
      for (std::int64_t t = 0; t < rows; ++t) {
        read.push_back(t == 0 ? static_cast<int>(digits) : backwards.back());
        backwards.push_back(source[static_cast<std::size_t>(s * rows + rows - 1 - t)]);
      }
  }
  [[nodiscard]] auto inputs() const { return std::tie(source, read); }

  std::vector<int> source, read, backwards;
};

TEST_CASE("the small transformer has the tensors of a module in PyTorch", "[models]") {
  std::vector<std::string> names;
  ls::data_parallel<model, 1> trainer;
  for (const auto& parameter : trainer.parameters())
    names.push_back(std::string(parameter.name()) + " " + to_string(parameter.shape()));
  std::sort(names.begin(), names.end());
  std::ifstream file(std::string(LOCKSTEP_TEST_DATA_DIR) + "/models/seq2seq_small.txt");
  std::vector<std::string> expected;
  for (std::string line; std::getline(file, line);) expected.push_back(line);
  REQUIRE(expected.size() > 10);
  CHECK(names == expected);
}

TEST_CASE("the small transformer learns to write numbers backwards", "[models]") {
  ls::data_parallel<model, 2, ls::adamw> trainer{ls::adamw{.learning_rate = 3e-3F}};
  trainer.initialize(ls::seed{1});
  double first = 0;
  for (int step = 0; step < 300; ++step) {
    const numbers batch(32, static_cast<std::uint64_t>(step));
    const double loss = trainer.step(batch.inputs(), batch.backwards);
    if (step == 0) first = loss;
  }
  const numbers unseen(100, 1000);
  const auto result = trainer.evaluate(unseen.inputs(), unseen.backwards);
  INFO("loss " << first << " at first, " << result.loss() << " now");
  CHECK(first > 2);
  // Of the first digit that is written the decoder sees nothing but the encoder's rows.
  CHECK(result.accuracy() > 0.9);
}

}  // namespace seq2seq_model
