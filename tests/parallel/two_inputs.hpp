// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "parallel/one_device.hpp"

/// \file
/// A model with two inputs, of which it reads one twice.

namespace lockstep_test {

namespace two_inputs {

namespace ls = lockstep;

using picture_branch = ls::sequential<ls::from<"image">, ls::conv2d<4, 3, ls::padding<1>>, ls::relu, ls::flatten>;
using word_branch = ls::from<"words", ls::sequential<ls::linear<6>, ls::relu>>;
using net = ls::sequential<ls::concat<ls::named<"picture", picture_branch>, ls::named<"text", word_branch>>,
                           ls::linear<5>, ls::relu, ls::concat<ls::identity, ls::from<"words">>, ls::linear<3>>;
using both = ls::inputs<ls::named<"image", ls::input<2, 4, 3>>, ls::named<"words", ls::input<7>>>;
using model = ls::model<net, both, ls::cross_entropy>;
/// The same with a pass of several segments.
using normalised =
    ls::model<ls::sequential<ls::concat<picture_branch, ls::sequential<word_branch, ls::batch_norm1d<>, ls::relu>>,
                             ls::linear_without_bias<5>, ls::batch_norm1d<>, ls::relu,
                             ls::concat<ls::identity, ls::from<"words">>, ls::linear<3>>,
              both, ls::cross_entropy>;

inline constexpr std::int64_t image_size = 24;
inline constexpr std::int64_t words_size = 7;

/// A batch.
template <class T>
struct batch_of_both {
  batch_of_both() = default;
  batch_of_both(std::uint64_t stream, std::int64_t count)
      : samples(count),
        image(draws<T>(stream, count * image_size)),
        words(draws<T>(stream + 1, count * words_size)),
        targets(class_draws(stream + 2, count, 3)) {}

  /// Both inputs, as a trainer takes them.
  [[nodiscard]] auto images() const { return std::tie(image, words); }
  /// Samples first .. first + count - 1.
  [[nodiscard]] batch_of_both cut(std::int64_t first, std::int64_t count) const {
    batch_of_both part;
    part.samples = count;
    part.image.assign(image.begin() + first * image_size, image.begin() + (first + count) * image_size);
    part.words.assign(words.begin() + first * words_size, words.begin() + (first + count) * words_size);
    part.targets.assign(targets.begin() + first, targets.begin() + first + count);
    return part;
  }

  std::int64_t samples = 0;
  std::vector<T> image, words;
  std::vector<std::int64_t> targets;
};

/// A step on one executor, which takes the whole batch.
template <class Model, class B, class T = typename B::value_type>
step_result<T> on_one_device(const batch_of_both<T>& b) {
  constexpr std::int64_t count = Model::parameter_count;
  ls::aligned_buffer<T> parameters(Model::template plan<B>.value_count);
  ls::aligned_buffer<T> gradients(count);
  ls::initialize_parameters<Model, B>(parameters.data(), step_seed);
  ls::executor<Model, B> device;
  const auto denominator = static_cast<double>(b.samples);
  const double sum =
      device.train(parameters.data(), gradients.data(), {{b.image.data(), b.words.data()}}, b.targets.data(), b.samples,
                   ls::step_values{.scale = 1 / denominator, .seed = step_seed.value});
  using range = ls::named_values_range<Model, B, 1, false>;
  step_result<T> result{.loss = sum / denominator, .gradients = {}, .parameters = {}};
  result.gradients = all_values(range({gradients.data()}));
  for (std::int64_t i = 0; i < count; ++i) parameters.data()[i] -= static_cast<T>(step_size) * gradients.data()[i];
  result.parameters = all_values(range({parameters.data()}));
  return result;
}

}  // namespace two_inputs

}  // namespace lockstep_test
