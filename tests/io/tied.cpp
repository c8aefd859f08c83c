// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/lockstep.hpp>

#include "io/io_support.hpp"

namespace ls = lockstep;
using lockstep_test::temporary_folder;

namespace {

using shared = ls::tied<"shared", ls::linear<6>>;
using net =
    ls::sequential<ls::named<"first", ls::linear<6>>, shared, ls::relu, shared, ls::named<"last", ls::linear<2>>>;
using model = ls::model<net, ls::input<4>, ls::mean_squared_error>;

const std::vector<std::string> names{"first.weight", "first.bias",  "shared.weight",
                                     "shared.bias",  "last.weight", "last.bias"};
constexpr std::int64_t samples = 3;

template <class Trainer>
std::vector<float> outputs(Trainer& trainer) {
  std::vector<float> x(static_cast<std::size_t>(samples * 4));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.25F * static_cast<float>(i % 5) - 0.5F;
  const auto y = trainer.forward(typename Trainer::input_view(x.data(), samples));
  return {y.begin(), y.end()};
}

}  // namespace

TEST_CASE("tied parameters are saved once, and loaded into every place", "[safetensors][graph]") {
  const temporary_folder folder;
  ls::data_parallel<model, 2> trained;
  trained.initialize(ls::seed{3});
  std::vector<std::string> listed;
  for (const auto& parameter : trained.parameters()) listed.emplace_back(parameter.name());
  CHECK(listed == names);
  ls::save_safetensors(trained, folder / "tied.safetensors");

  const auto file = ls::safetensors_file::read(folder / "tied.safetensors");
  CHECK(file.names().size() == names.size());
  for (const std::string& name : names) CHECK(file.contains(name));
  CHECK(file.values_f32("shared.weight").size() == 36);

  ls::data_parallel<model, 1> loaded;
  loaded.initialize(ls::seed{4});
  REQUIRE(outputs(loaded) != outputs(trained));
  ls::load_safetensors(loaded, folder / "tied.safetensors");
  CHECK(outputs(loaded) == outputs(trained));
}
