// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The program of cnn.cpp in dlib (Debian's libdlib-dev), the other C++ library whose networks are types.

#include <cstdio>
#include <vector>

#include <dlib/dnn.h>

using picture = dlib::matrix<dlib::rgb_pixel>;
using classifier = dlib::loss_multiclass_log<dlib::fc<10, dlib::relu<dlib::con<64, 3, 3, 1, 1, dlib::input<picture>>>>>;

int main() {
  classifier net;
  dlib::dnn_trainer<classifier> trainer(net);
  trainer.set_learning_rate(0.01);
  const std::vector<picture> images(64, picture(32, 32));
  const std::vector<unsigned long> labels(64);
  for (int i = 0; i < 10; ++i) {
    trainer.train_one_step(images, labels);
    std::printf("loss %f\n", trainer.get_average_loss());
  }
}
