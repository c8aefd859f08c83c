// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: element_loss: takes a struct (F) with value(y, t)
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

struct distance {
  template <class T>
  static constexpr T value(T y, T t) {
    return y < t ? t - y : y - t;
  }
#ifdef LOCKSTEP_TEST_FIXED
  template <class T>
  static constexpr T gradient(T y, T t) {
    return y < t ? T{-1} : T{1};
  }
#endif
};
using regression = ls::model<ls::sequential<ls::linear<3>>, ls::input<4>, ls::element_loss<distance>>;

int main() {
  ls::data_parallel<regression, 2> trainer;
  trainer.step(std::vector<float>(8), std::vector<float>(6));
}
