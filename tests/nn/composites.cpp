// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "model/networks.hpp"
#include "nn/support.hpp"

using namespace lockstep_test;

TEST_CASE("gradients of residual networks", "[composites]") { check_gradients<small_resnet>(); }
TEST_CASE("gradients of networks with concat", "[composites]") { check_gradients<small_unet>(); }
TEST_CASE("gradients where branches share values and work in place", "[composites]") { check_gradients<tangled>(); }
TEST_CASE("gradients of junctions at the edges of a network", "[composites]") { check_gradients<at_the_edges>(); }
TEST_CASE("gradients of tied layers add up", "[composites]") { check_gradients<tied_layers>(); }
TEST_CASE("gradients of sums whose relu the next layer masks", "[composites]") { check_gradients<masked_sums>(); }
TEST_CASE("gradients of a layer that is tied across flattened pictures and rows", "[composites]") {
  check_gradients<tied_over_pictures>();
}
