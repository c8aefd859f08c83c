// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "golden/graphs.hpp"

#include <string>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

template <class Model>
void check_model(const std::string& name) {
  check_golden_graph<ls::data_parallel<Model, 1, ls::reference<double>>>(name, 1e-10);
  check_golden_graph<ls::data_parallel<Model, 1>>(name, 1e-5);
  check_golden_graph<ls::data_parallel<Model, 3>>(name, 1e-5);
}

}  // namespace

TEST_CASE("a residual network trains as in PyTorch", "[golden][graph]") { check_model<golden_residual>("residual"); }
TEST_CASE("a network of nested concats trains as in PyTorch", "[golden][graph]") { check_model<golden_unet>("unet"); }
TEST_CASE("a network of tied layers trains as in PyTorch", "[golden][graph]") { check_model<golden_tied>("tied"); }
