// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "data.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <lockstep/core/random.hpp>
#include <lockstep/data/augment.hpp>
#include <lockstep/data/cifar10.hpp>
#if LOCKSTEP_TRAIN_HAS_ZLIB
#include <lockstep/data/gzip.hpp>
#endif
#include <lockstep/data/idx.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/open.hpp>
#include <lockstep/data/synthetic.hpp>
#include <lockstep/data/table.hpp>
#include <lockstep/data/text.hpp>

namespace lockstep_train {

namespace {

namespace ls = lockstep;

/// Samples in a batch of the test set: what a network answers does not depend on it.
constexpr std::int64_t test_batch = 250;
constexpr std::int64_t test_text_batch = 64;

/// A data set and its loader.
template <class... Fields>
class loaded_source : public batch_source {
 public:
  template <class... Augment>
  loaded_source(ls::data::dataset<Fields...> samples, const ls::data::loader_options& how, Augment... by)
      : samples_(std::move(samples)), loader_(samples_, how, std::move(by)...) {}

  void start() override {
    at_ = loader_.begin();
    fresh_ = true;
  }

  bool next(batch& b) override {
    if (!std::exchange(fresh_, false)) ++at_;
    if (at_ == loader_.end()) return false;
    const auto& [inputs, targets] = *at_;
    b = {.samples = at_->size()};
    if constexpr (std::is_same_v<typename std::remove_cvref_t<decltype(inputs)>::value_type, std::int32_t>)
      b.tokens = inputs.data_handle();
    else
      b.inputs = inputs.data_handle();
    if constexpr (std::is_same_v<typename std::remove_cvref_t<decltype(targets)>::value_type, float>)
      b.values = targets.data();
    else
      b.labels = targets.data();
    return true;
  }

  [[nodiscard]] std::int64_t batches() const override { return loader_.epoch_size(); }
  [[nodiscard]] std::int64_t samples() const override { return samples_.size(); }
  [[nodiscard]] ls::data::loader_position position() const override { return loader_.position(); }
  void resume_at(const ls::data::loader_position& at) override { loader_.resume_at(at); }
  [[nodiscard]] ls::data::loader_identity identity(std::uint64_t epoch) override { return loader_.identity(epoch); }

 private:
  ls::data::dataset<Fields...> samples_;
  ls::data::loader<Fields...> loader_;
  typename ls::data::loader<Fields...>::iterator at_;
  bool fresh_ = false;
};

constexpr std::int64_t row_width = 10;
using row = ls::data::field<float, row_width>;

/// Rows of random values, and what one fixed random matrix makes of them: a regression whose loss can reach zero.
std::unique_ptr<batch_source> rows(std::int64_t count, std::uint64_t part, const ls::data::loader_options& how) {
  constexpr auto width = static_cast<std::size_t>(row_width);
  const ls::random_stream matrix(ls::seed{}, ls::random_purpose::synthetic_data, 0);
  const ls::random_stream draws(ls::seed{}, ls::random_purpose::synthetic_data, 1, part);
  std::vector<float> inputs(static_cast<std::size_t>(count) * width);
  std::vector<float> values(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = 2 * draws.uniform(i) - 1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float* const from = inputs.data() + i / width * width;
    for (std::size_t k = 0; k < width; ++k) values[i] += (2 * matrix.uniform(i % width * width + k) - 1) * from[k];
  }
  return std::make_unique<loaded_source<row, row>>(ls::data::dataset<row, row>(std::move(inputs), std::move(values)),
                                                   how);
}

/// A loader of pictures that changes them: at random with `augment`, then by `norm`, if there is one.
template <class Sample>
std::unique_ptr<batch_source> source_of(ls::data::dataset<Sample> pictures, const ls::data::loader_options& how,
                                        bool augment, const std::optional<ls::data::normalisation<Sample>>& norm) {
  using source = loaded_source<Sample>;
  using ls::data::normalise;
  constexpr ls::data::pad_and_crop<4> crop;
  constexpr ls::data::flip<> flip;
  if (augment && norm)
    return std::make_unique<source>(std::move(pictures), how, ls::data::augment{crop, flip, normalise{*norm}});
  if (augment) return std::make_unique<source>(std::move(pictures), how, ls::data::augment{crop, flip});
  if (norm) return std::make_unique<source>(std::move(pictures), how, ls::data::augment{normalise{*norm}});
  return std::make_unique<source>(std::move(pictures), how);
}

template <class Sample>
data_set pictures(const options& o, std::string description, ls::data::split<Sample> split,
                  const ls::data::loader_options& train) {
  if (!split.train.note().empty()) fmt::print(stderr, "lockstep-train: {}\n", split.train.note());
  data_set result;
  result.description = std::move(description);
  if (o.augment) result.description += ", augmented";
  std::optional<ls::data::normalisation<Sample>> norm;
  if (o.normalise) {
    norm = ls::data::measure_normalisation(split.train);
    const std::string mean = fmt::format("{}", fmt::join(norm->mean(), ", "));
    const std::string deviation = fmt::format("{}", fmt::join(norm->deviation(), ", "));
    result.description += fmt::format(", normalised by mean {} and deviation {}", mean, deviation);
    result.notes = {{"normalisation.mean", mean}, {"normalisation.deviation", deviation}};
  }
  result.train = source_of(std::move(split.train), train, o.augment, norm);
  result.test = source_of(std::move(split.test), {.batch = test_batch}, false, norm);
  return result;
}

/// Bytes in a sample of a text.
constexpr std::int64_t text_length = 128;

data_set text(const options& o, const ls::data::loader_options& train) {
  const auto all = ls::data::read_bytes(o.data);
  const auto split = ls::data::split_text(all);
  constexpr std::int64_t least = 10 * (text_length + 1);
  if (all.size() < least)
    throw usage_error(
        fmt::format("--data: expected a text of {} bytes or more, so that its last tenth has a sample of "
                    "{} and the byte after it, got {} in {}",
                    least, text_length, all.size(), o.data));
  using source = loaded_source<ls::data::window<text_length, std::uint8_t>>;
  return {fmt::format("{} bytes of {}", split.train.size(), o.data),
          {},
          std::make_unique<source>(ls::data::windows<text_length>(split.train), train),
          std::make_unique<source>(ls::data::windows<text_length>(split.validation),
                                   ls::data::loader_options{.batch = test_text_batch})};
}

/// Synthetic pictures as MNIST's are: the mean of the three channels, without a border of two.
ls::data::dataset<ls::shape<1, 28, 28>> grey(const ls::data::dataset<ls::data::synthetic_sample>& colour) {
  constexpr std::size_t side = 32;
  constexpr std::size_t border = 2;
  std::vector<std::uint8_t> bytes;
  bytes.reserve(static_cast<std::size_t>(colour.size()) * 28 * 28);
  for (std::int64_t i = 0; i < colour.size(); ++i) {
    const std::uint8_t* const red = colour.image(i).data_handle();
    for (std::size_t y = border; y < side - border; ++y)
      for (std::size_t x = border; x < side - border; ++x) {
        const std::uint8_t* const at = red + y * side + x;
        bytes.push_back(static_cast<std::uint8_t>((at[0] + at[side * side] + at[2 * side * side]) / 3));
      }
  }
  return {std::move(bytes), {colour.labels().begin(), colour.labels().end()}, colour.classes(), colour.class_names()};
}

}  // namespace

sample_format format_of(const options& o) {
  if (o.model == "linear") return sample_format::rows;
  if (reads_text(o)) {
    if (o.data == "synthetic" && !o.plan && !only_generates(o))
      throw usage_error("--model " + o.model + " reads a text; name its file with --data");
    if (o.data != "synthetic" && ls::data::recognize(o.data) != ls::data::data_kind::text)
      throw usage_error("--model " + o.model + " reads a text, and " + o.data + " has pictures");
    return sample_format::text;
  }
  if (o.data == "synthetic") return o.model == "lenet" ? sample_format::idx : sample_format::cifar10;
  const ls::data::data_kind kind = ls::data::recognize(o.data);
  if (kind == ls::data::data_kind::cifar100)
    throw ls::io_error(o.data, "found CIFAR-100, of a hundred classes; the models here have ten");
  if (kind == ls::data::data_kind::text)
    throw usage_error("--model " + o.model + " takes pictures, and " + o.data + " is a text");
  const bool colour = kind == ls::data::data_kind::cifar10;
  if (o.model == "lenet" && colour)
    throw usage_error("--model lenet takes pictures of 1x28x28, as MNIST's, and " + o.data + " has CIFAR-10");
  if ((o.model == "resnet20" || o.model == "vit") && !colour)
    throw usage_error("--model " + o.model + " takes pictures of 3x32x32, as CIFAR-10's, and " + o.data +
                      " has IDX files");
  if (computes_in_bf16_on_cpu(o) && !colour)
    throw usage_error("--precision bf16 on the CPU takes pictures of 3x32x32, as CIFAR-10's, and " + o.data +
                      " has IDX files");
  return colour ? sample_format::cifar10 : sample_format::idx;
}

data_set open_data(const options& o, sample_format format) {
  const ls::data::loader_options train{.batch = o.batch, .shuffle = o.shuffle, .seed = ls::seed{o.seed}};
  if (format == sample_format::text) return text(o, train);
  if (format == sample_format::rows)
    return {"synthetic rows", {}, rows(1000, 0, train), rows(1000, 1, {.batch = test_batch})};
  if (o.data == "synthetic") {
    auto drawn = ls::data::synthetic();
    if (format == sample_format::cifar10) return pictures(o, "synthetic pictures", std::move(drawn), train);
    return pictures(o, "synthetic pictures in grey",
                    ls::data::split<ls::shape<1, 28, 28>>{grey(drawn.train), grey(drawn.test)}, train);
  }
  if (format == sample_format::cifar10) return pictures(o, "CIFAR-10 in " + o.data, ls::data::cifar10(o.data), train);
#if LOCKSTEP_TRAIN_HAS_ZLIB
  return pictures(o, "IDX pictures in " + o.data, ls::data::idx(o.data, ls::data::gzip{}), train);
#else
  return pictures(o, "IDX pictures in " + o.data, ls::data::idx(o.data), train);
#endif
}

}  // namespace lockstep_train
