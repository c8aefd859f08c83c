// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The two programs by which torch.nn.DataParallel is introduced, one after the other: a linear layer whose outputs are
// gathered, and a convolutional network trained for ten passes over one batch of 64 pictures. The PyTorch line that
// each part stands for is beside it.

#include <cstdint>
#include <cstdio>
#include <vector>

#include <lockstep/lockstep.hpp>

namespace ls = lockstep;

namespace {

constexpr ls::random_stream draws(ls::seed{15}, ls::random_purpose::synthetic_data);
constexpr ls::random_stream classes(ls::seed{15}, ls::random_purpose::synthetic_data, 1);

void gather_outputs() {
  using model = ls::model<ls::linear<10, 10>, ls::input<10>>;  // model = nn.Linear(10, 10)
  ls::data_parallel<model, 2> net;                             // model = nn.DataParallel(model)
  ls::batch_of<float, 10> inputs(100);                         // inputs = torch.randn(100, 10)
  std::uint64_t draw = 0;
  for (float& x : inputs) x = draws.normal(draw++);
  const auto gathered = net.forward(inputs);  // outputs = model(inputs)
  std::printf("outputs (%lld, %lld)\n", static_cast<long long>(gathered.samples()),
              static_cast<long long>(gathered.view().extent(1)));
}

void train_on_one_batch() {
  using net = ls::sequential<ls::named<"conv1", ls::conv2d<64, 3, ls::padding<1>>>, ls::relu, ls::flatten,
                             ls::named<"fc", ls::linear<64 * 32 * 32, 10>>>;
  using model = ls::model<net, ls::input<3, 32, 32>, ls::cross_entropy>;  // criterion = nn.CrossEntropyLoss()
  ls::data_parallel<model, 2> trainer{ls::sgd{.learning_rate = 0.01F}};   // optim.SGD(model.parameters(), lr=0.01)
  ls::batch_of<float, 3, 32, 32> images(64);                              // torch.randn(64, 3, 32, 32)
  std::vector<std::int64_t> labels(64);                                   // torch.randint(0, 10, (64,))
  std::uint64_t draw = 0;
  for (float& x : images) x = draws.normal(draw++);
  draw = 0;
  for (std::int64_t& label : labels) label = classes.below(10, draw++);
  for (int pass = 0; pass < 10; ++pass)  // zero_grad(), backward() and optimizer.step() are one call
    std::printf("pass %d  loss %.4f\n", pass, trainer.step(images, labels));
}

}  // namespace

int main() {
  gather_outputs();
  train_on_one_batch();
}
