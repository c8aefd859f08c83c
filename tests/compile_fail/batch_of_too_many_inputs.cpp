// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: images: the model has several inputs (Taken), each of which takes samples of its own
#include <tuple>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using two = ls::inputs<ls::named<"image", ls::input<2, 4, 4>>, ls::named<"words", ls::input<5>>>;
using net = ls::sequential<ls::concat<ls::from<"words">, ls::from<"image", ls::flatten>>, ls::linear<3>>;
using m = ls::model<net, two, ls::cross_entropy>;

int main() {
  ls::data_parallel<m, 1> trainer;
  const std::vector<float> images(2 * 32);
  const std::vector<float> words(2 * 5);
#ifdef LOCKSTEP_TEST_FIXED
  static_cast<void>(trainer.forward(std::tie(images, words)));
#else
  static_cast<void>(trainer.forward(std::tie(images, words, words)));
#endif
}
