// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/table.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Brings the features of samples to mean 0 and deviation 1: x becomes (x - mean) / deviation. Measure it on the
/// training part, apply it to all parts, and save it with the model:
/// `save_safetensors(trainer, "model.safetensors", norm)` and `load_safetensors(trainer, "model.safetensors", norm)`.
///
/// A sample with one extent (C) has C features. With two extents (T, C) each of the C columns is a feature, over all T.
/// With more (C, rows, columns) each of the C planes is a feature, over all its places. A single number is one feature.
template <class Sample>
class normalisation {
  static constexpr std::int64_t rank = Sample::rank;

 public:
  static constexpr std::int64_t features = rank == 0  ? 1
                                           : rank > 2 ? Sample::extents.extent[0]
                                                      : Sample::extents.extent[rank == 0 ? 0 : rank - 1];

  /// Makes a normalisation that changes nothing (means 0, deviations 1), for load_safetensors to assign. The tensors'
  /// names begin with `name`; two normalisations in one file need different names.
  explicit normalisation(std::string name = "normalisation")
      : name_(std::move(name)), mean_(static_cast<std::size_t>(features), 0.0F), deviation_(mean_.size(), 1.0F) {}

  /// Throws shape_error unless there are `features` of each, value_error unless all are finite and all deviations above
  /// 0.
  normalisation(std::span<const float> mean, std::span<const float> deviation, std::string name = "normalisation")
      : normalisation(std::move(name)) {
    assign(0, mean);
    assign(1, deviation);
  }

  [[nodiscard]] std::span<const float> mean() const noexcept { return mean_; }
  [[nodiscard]] std::span<const float> deviation() const noexcept { return deviation_; }

  /// Normalises whole samples in place. Throws shape_error when the values do not make whole samples.
  void apply(std::span<float> values) const {
    each(values, [](double x, double mean, double deviation) { return (x - mean) / deviation; });
  }

  /// Undoes `apply`, except for rounding: turns predictions of a normalised target back into the target's unit.
  void revert(std::span<float> values) const {
    each(values, [](double x, double mean, double deviation) { return x * deviation + mean; });
  }

  /// Refers to the means or the deviations, for save_safetensors and load_safetensors.
  template <class Owner>
  class tensor_reference {
   public:
    [[nodiscard]] std::string name() const { return owner_->name_ + (part_ == 0 ? ".mean" : ".deviation"); }
    [[nodiscard]] dims shape() const { return dims(features); }
    [[nodiscard]] std::vector<float> values() const { return part_ == 0 ? owner_->mean_ : owner_->deviation_; }

    /// Throws as the constructor does, and then changes nothing.
    void assign(std::span<const float> values) const
      requires(!std::is_const_v<Owner>)
    {
      owner_->assign(part_, values);
    }

   private:
    friend normalisation;
    tensor_reference(Owner* owner, int part) : owner_(owner), part_(part) {}

    Owner* owner_;
    int part_;
  };

  [[nodiscard]] auto parameters() const {
    return std::array{tensor_reference<const normalisation>(this, 0), tensor_reference<const normalisation>(this, 1)};
  }
  [[nodiscard]] auto parameters() {
    return std::array{tensor_reference<normalisation>(this, 0), tensor_reference<normalisation>(this, 1)};
  }

  /// Returns the feature of value `index`; the index may run on over several samples.
  [[nodiscard]] static constexpr std::size_t feature_of(std::size_t index) noexcept {
    constexpr auto count = static_cast<std::size_t>(features);
    if constexpr (rank > 2)
      return index % static_cast<std::size_t>(Sample::static_size) /
             (static_cast<std::size_t>(Sample::static_size) / count);
    else
      return index % count;
  }

 private:
  template <class Change>
  void each(std::span<float> values, Change change) const {
    if (values.size() % static_cast<std::size_t>(Sample::static_size) != 0)
      throw shape_error(name_,
                        lockstep::detail::message(
                            {"whole samples of ", Sample::static_size, " values (", to_string(Sample::extents), ")"}),
                        lockstep::detail::message({values.size(), " values"}));
    // Values of one feature lie side by side in runs.
    constexpr std::size_t run = rank > 2 ? static_cast<std::size_t>(Sample::static_size / features) : 1;
    for (std::size_t first = 0; first < values.size(); first += run) {
      const std::size_t feature = first / run % mean_.size();
      const auto mean = double{mean_[feature]};
      const auto deviation = double{deviation_[feature]};
      for (float& x : values.subspan(first, run)) x = static_cast<float>(change(double{x}, mean, deviation));
    }
  }

  void assign(int part, std::span<const float> values) {
    if (values.size() != mean_.size())
      throw shape_error(name_, lockstep::detail::message({mean_.size(), " values, one a feature"}),
                        std::to_string(values.size()));
    for (const float value : values)
      if (!std::isfinite(value) || (part == 1 && !(value > 0)))
        throw value_error(name_, part == 0 ? "finite means" : "finite deviations above zero", std::to_string(value));
    (part == 0 ? mean_ : deviation_).assign(values.begin(), values.end());
  }

  std::string name_;
  std::vector<float> mean_;
  std::vector<float> deviation_;
};

namespace detail {

/// Mean and deviation of the values added so far, by Welford's recurrence, which is exact for a constant.
/// Source: Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
struct running_statistics {
  double count = 0;
  double mean = 0;
  double squares = 0;  // sum of squared distances from the mean

  /// Adds x that many times.
  void add(double x, double times = 1) {
    if (times == 0) return;
    count += times;
    const double distance = x - mean;
    mean += times * distance / count;
    squares += times * distance * (x - mean);
  }

  /// Returns the deviation of the values as a whole population: divides by their number. Returns 1 when all values are
  /// equal, so that a constant becomes 0.
  [[nodiscard]] float deviation() const {
    const auto result = static_cast<float>(std::sqrt(squares / count));
    return result > 0 ? result : 1.0F;
  }
};

}  // namespace detail

/// Measures means and deviations of one field over a data set; pass the training part alone. A feature that has the
/// same value everywhere gets deviation 1. Sums are in double.
/// Throws value_error when there is no sample, or a value is not finite.
template <std::size_t Field = 0, class... Fields>
[[nodiscard]] auto measure_normalisation(const dataset<Fields...>& train, std::string name = "normalisation") {
  using field_type = typename dataset<Fields...>::template field_type<Field>;
  using result_type = normalisation<typename field_type::shape_type>;
  if (train.size() == 0) throw value_error("measure_normalisation", "one sample or more", "none");
  std::vector<detail::running_statistics> statistics(static_cast<std::size_t>(result_type::features));
  const auto values = train.template values<Field>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto x = static_cast<double>(values[i]);
    if (!std::isfinite(x))
      throw value_error(
          "measure_normalisation", "finite values",
          lockstep::detail::message({std::to_string(x), " as value ", i % static_cast<std::size_t>(field_type::size),
                                     " of sample ", i / static_cast<std::size_t>(field_type::size)}));
    statistics[result_type::feature_of(i)].add(x);
  }
  std::vector<float> mean;
  std::vector<float> deviation;
  for (const auto& one : statistics) {
    mean.push_back(static_cast<float>(one.mean));
    deviation.push_back(one.deviation());
  }
  return result_type(mean, deviation, std::move(name));
}

/// Measures labelled pictures by channel, as a loader yields them: bytes are x / 255. The same as above for their
/// `to_fields`, without making it.
template <std::int64_t... Extents>
[[nodiscard]] auto measure_normalisation(const dataset<shape<Extents...>>& train, std::string name = "normalisation") {
  using result_type = normalisation<shape<Extents...>>;
  constexpr auto count = static_cast<std::size_t>(result_type::features);
  if (train.size() == 0) throw value_error("measure_normalisation", "one sample or more", "none");
  std::array<std::array<std::uint64_t, 256>, count> histograms{};  // of each channel
  const auto bytes = train.pixels();
  for (std::size_t i = 0; i < bytes.size(); ++i) ++histograms[result_type::feature_of(i)][bytes[i]];
  std::array<float, count> mean{};
  std::array<float, count> deviation{};
  for (std::size_t c = 0; c < count; ++c) {
    detail::running_statistics statistics;
    for (std::size_t value = 0; value < 256; ++value)
      statistics.add(double{detail::unit_values[value]}, static_cast<double>(histograms[c][value]));
    mean[c] = static_cast<float>(statistics.mean);
    deviation[c] = statistics.deviation();
  }
  return result_type(mean, deviation, std::move(name));
}

/// Returns the data set with one field normalised: `train = normalised(std::move(train), norm);` copies nothing.
template <std::size_t Field = 0, class... Fields, class Sample>
[[nodiscard]] dataset<Fields...> normalised(dataset<Fields...> data, const normalisation<Sample>& by) {
  using field_type = typename dataset<Fields...>::template field_type<Field>;
  static_assert(std::same_as<typename field_type::value_type, float>,
                "lockstep: normalised: the field's elements are float");
  static_assert(std::same_as<typename field_type::shape_type, Sample>,
                "lockstep: normalised: the normalisation was measured for a field of other extents");
  auto columns = std::move(data).release();
  by.apply(std::get<Field>(columns));
  return dataset<Fields...>(std::move(columns));
}

}  // namespace lockstep::data
