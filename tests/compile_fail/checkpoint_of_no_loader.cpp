// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: lockstep: save_checkpoint: a loader has position(), and resume_at(position) to go on from there
#include <lockstep/lockstep.hpp>

namespace ls = lockstep;
using net = ls::sequential<ls::linear<8>, ls::relu, ls::linear<3>>;
using classifier = ls::model<net, ls::input<4>, ls::cross_entropy>;

struct batches {
  ls::data::loader_position at{};
  [[nodiscard]] ls::data::loader_position position() const { return at; }
#ifdef LOCKSTEP_TEST_FIXED
  void resume_at(const ls::data::loader_position& there) { at = there; }
#endif
};

int main() {
  ls::data_parallel<classifier, 2> trainer;
  batches mine;
  ls::save_checkpoint(trainer, mine, "run.safetensors");
}
