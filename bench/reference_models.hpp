// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <type_traits>

#include <lockstep/lockstep.hpp>

#include "../examples/models/gpt.hpp"
#include "../examples/models/lenet.hpp"
#include "../examples/models/resnet20.hpp"
#include "../examples/models/vgg8.hpp"

/// \file
/// The three models that every benchmark measures, networks of pictures and of tokens that are measured beside PyTorch,
/// and batches of random data for all of them.

namespace lockstep_bench {

using cnn = lockstep::model<
    lockstep::sequential<lockstep::named<"conv1", lockstep::conv2d<64, 3, lockstep::padding<1>>>, lockstep::relu,
                         lockstep::flatten, lockstep::named<"fc", lockstep::linear<64 * 32 * 32, 10>>>,
    lockstep::input<3, 32, 32>, lockstep::cross_entropy>;

using mlp = lockstep::model<lockstep::sequential<lockstep::linear<784, 512>, lockstep::relu, lockstep::linear<512, 256>,
                                                 lockstep::relu, lockstep::linear<256, 10>>,
                            lockstep::input<784>, lockstep::cross_entropy>;

using linear =
    lockstep::model<lockstep::sequential<lockstep::linear<10, 10>>, lockstep::input<10>, lockstep::mean_squared_error>;

using lenet = lockstep::model<models::lenet, lockstep::input<1, 28, 28>, lockstep::cross_entropy>;

using vgg8 = lockstep::model<models::vgg8<10>, lockstep::input<3, 32, 32>, lockstep::cross_entropy>;

using resnet20 = lockstep::model<models::resnet20<10>, lockstep::input<3, 32, 32>, lockstep::cross_entropy>;

/// A GPT-2 of characters.
using gpt = lockstep::model<models::gpt<4, 4, 128, 128, 256>, lockstep::tokens<128>, lockstep::cross_entropy>;

using lstm = lockstep::model<
    lockstep::sequential<lockstep::embedding<256, 64>, lockstep::lstm<256, lockstep::layers<2>>, lockstep::linear<256>>,
    lockstep::tokens<128>, lockstep::cross_entropy>;

/// A random batch, of values or tokens, with targets that fit the model.
template <class Model>
struct random_batch {
  using element = std::conditional_t<Model::takes_tokens[0], lockstep::token_id, float>;
  using loss = typename Model::loss_type;
  using target = typename loss::template target_type<float>;

  explicit random_batch(std::int64_t samples)
      : images(samples), targets(samples * loss::target_size(Model::output_dims)) {
    const lockstep::random_stream stream(lockstep::seed{1}, lockstep::random_purpose::synthetic_data);
    std::uint64_t draw = 0;
    for (element& x : images) {
      if constexpr (Model::takes_tokens[0])
        x = static_cast<element>(stream.below(static_cast<std::uint32_t>(Model::graph.inputs[0].vocabulary), draw++));
      else
        x = stream.uniform(draw++);
    }
    constexpr lockstep::dims output = Model::output_dims;
    for (target& t : targets) {
      if constexpr (std::is_integral_v<target>)
        t = stream.below(static_cast<std::uint32_t>(output[output.rank - 1]), draw++);
      else
        t = stream.uniform(draw++);
    }
  }

  lockstep::tensor<element, lockstep::batch_shape<Model::input_dims>> images;
  lockstep::tensor<target, lockstep::shape<lockstep::dynamic>> targets;
};

}  // namespace lockstep_bench
