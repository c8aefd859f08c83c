// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Labelled pictures held in memory: one byte a value, each sample in PyTorch's order (channel, row, column).
/// Immutable once built, so any number of threads may read it.
template <std::int64_t... Extents>
class dataset<shape<Extents...>> {
  using Sample = shape<Extents...>;

  static_assert(!Sample::is_dynamic && Sample::rank > 0,
                "lockstep: dataset: the sample shape states every extent, as in shape<3, 32, 32>");

 public:
  using sample_shape = Sample;

  /// Values in one sample.
  static constexpr std::int64_t sample_size = Sample::static_size;

  /// Takes `labels.size()` samples of `sample_size` bytes each, back to back. Every label must be in [0, classes).
  /// `class_names` is empty or holds one name a class. An empty dataset is allowed.
  /// Throws shape_error when the lengths disagree, value_error on a bad label or count of classes.
  dataset(std::vector<std::uint8_t> pixels, std::vector<std::int64_t> labels, std::int64_t classes,
          std::vector<std::string> class_names = {})
      : pixels_(std::move(pixels)),
        labels_(std::move(labels)),
        classes_(classes),
        class_names_(std::move(class_names)) {
    const std::int64_t wanted = checked_multiply(size(), sample_size);
    if (static_cast<std::int64_t>(pixels_.size()) != wanted)
      throw shape_error("dataset",
                        lockstep::detail::message(
                            {wanted, " pixel values (", size(), " labels, ", to_string(Sample::extents), " each)"}),
                        std::to_string(pixels_.size()));
    if (classes_ < 1) throw value_error("dataset", "one class or more", std::to_string(classes_));
    if (!class_names_.empty() && static_cast<std::int64_t>(class_names_.size()) != classes_)
      throw shape_error("dataset", lockstep::detail::message({classes_, " class names or none"}),
                        std::to_string(class_names_.size()));
    for (std::size_t i = 0; i < labels_.size(); ++i)
      if (labels_[i] < 0 || labels_[i] >= classes_)
        throw value_error("dataset", lockstep::detail::message({"labels from 0 to ", classes_ - 1}),
                          lockstep::detail::message({labels_[i], " for sample ", i}));
  }

  /// Number of samples.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(labels_.size()); }

  /// Number of classes.
  [[nodiscard]] std::int64_t classes() const noexcept { return classes_; }

  /// One name a class, or empty when the source has none.
  [[nodiscard]] const std::vector<std::string>& class_names() const noexcept { return class_names_; }

  /// The reader's remark on its source in one line, such as that files are missing; usually empty.
  [[nodiscard]] const std::string& note() const noexcept { return note_; }
  void set_note(std::string note) noexcept { note_ = std::move(note); }

  /// All samples, back to back.
  [[nodiscard]] std::span<const std::uint8_t> pixels() const noexcept { return pixels_; }

  [[nodiscard]] std::span<const std::int64_t> labels() const noexcept { return labels_; }

  /// One sample; the index is not checked.
  [[nodiscard]] tensor_view<const std::uint8_t, Sample> image(std::int64_t index) const noexcept {
    return tensor_view<const std::uint8_t, Sample>(pixels_.data() + index * sample_size);
  }

  /// The class of one sample; the index is not checked.
  [[nodiscard]] std::int64_t label(std::int64_t index) const noexcept {
    return labels_[static_cast<std::size_t>(index)];
  }

  /// Returns a copy of the samples at `indices`, in that order. Throws value_error when an index is out of range.
  [[nodiscard]] dataset select(std::span<const std::int64_t> indices) const {
    std::vector<std::uint8_t> pixels;
    std::vector<std::int64_t> labels;
    pixels.reserve(indices.size() * static_cast<std::size_t>(sample_size));
    labels.reserve(indices.size());
    for (const std::int64_t i : indices) {
      detail::check_index(i, size());
      pixels.insert(pixels.end(), pixels_.begin() + i * sample_size, pixels_.begin() + (i + 1) * sample_size);
      labels.push_back(label(i));
    }
    return {std::move(pixels), std::move(labels), classes_, class_names_};
  }

 private:
  std::vector<std::uint8_t> pixels_;
  std::vector<std::int64_t> labels_;
  std::int64_t classes_;
  std::vector<std::string> class_names_;
  std::string note_;
};

}  // namespace lockstep::data
