// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <lockstep/core/crc32c.hpp>
#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/random_draws.hpp>
#include <lockstep/data/normalisation.hpp>

namespace lockstep::data {

/// Subtracts the feature's mean and divides by its deviation, as torchvision.transforms.Normalize: to the bits of
/// `normalisation::apply`, and so of `normalised(test, norm)`. It draws nothing, so samples that a model is measured on
/// take it as well: `loader{test, {}, augment{normalise{norm}}}`. Zeros that pad_and_crop puts in before it become
/// (0 - mean) / deviation; those that come after it stand for the mean.
template <class Sample>
class normalise {
 public:
  explicit normalise(normalisation<Sample> by) : by_(std::move(by)) {}

  /// The statistics as a checksum, since there may be one for each element.
  [[nodiscard]] std::string describe() const {
    crc32c sum;
    sum.add(std::as_bytes(by_.mean()));
    sum.add(std::as_bytes(by_.deviation()));
    return "normalise(" + sum.text() + ")";
  }

  template <class View>
  void operator()(const View& sample, random_draws& /*draws*/) const {
    static_assert(std::is_same_v<View, tensor_view<float, Sample>>,
                  "lockstep: normalise: the normalisation was measured for samples of other extents");
    by_.apply({sample.data_handle(), static_cast<std::size_t>(Sample::static_size)});
  }

 private:
  normalisation<Sample> by_;
};

}  // namespace lockstep::data
