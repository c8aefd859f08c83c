// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: images: what is handed in has other extents (Given) than a batch of the samples that the model
// takes
#include <tuple>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

using two = ls::inputs<ls::named<"image", ls::input<2, 4, 4>>, ls::named<"words", ls::input<5>>>;
using net = ls::sequential<ls::concat<ls::from<"words">, ls::from<"image", ls::flatten>>, ls::linear<3>>;
using m = ls::model<net, two, ls::cross_entropy>;

int main() {
  ls::data_parallel<m, 1> trainer;
  const ls::batch_of<float, 2, 4, 4> images(2);
  const ls::batch_of<float, 5> words(2);
#ifdef LOCKSTEP_TEST_FIXED
  static_cast<void>(trainer.forward(std::tie(images, words)));
#else
  static_cast<void>(trainer.forward(std::tie(words, images)));
#endif
}
