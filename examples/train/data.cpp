// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "data.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <lockstep/core/random.hpp>
#include <lockstep/data/cifar10.hpp>
#if LOCKSTEP_TRAIN_HAS_ZLIB
#include <lockstep/data/gzip.hpp>
#endif
#include <lockstep/data/idx.hpp>
#include <lockstep/data/loader.hpp>
#include <lockstep/data/open.hpp>
#include <lockstep/data/shuffle.hpp>
#include <lockstep/data/synthetic.hpp>

namespace lockstep_train {

namespace {

namespace ls = lockstep;

#if LOCKSTEP_TRAIN_HAS_ZLIB
using unpacker = ls::data::gzip;
#else
using unpacker = ls::data::detail::no_unpacker;
#endif

/// Samples in a batch of the test set: what a network answers does not depend on it.
constexpr std::int64_t test_batch = 250;

template <class Sample>
class picture_source : public batch_source {
 public:
  picture_source(ls::data::dataset<Sample> pictures, const ls::data::loader_options& how)
      : pictures_(std::move(pictures)), loader_(pictures_, how) {}

  void start() override {
    at_ = loader_.begin();
    fresh_ = true;
  }

  bool next(batch& b) override {
    if (!std::exchange(fresh_, false)) ++at_;
    if (at_ == loader_.end()) return false;
    b = {.samples = at_->size(), .inputs = at_->images.data_handle(), .labels = at_->labels.data()};
    return true;
  }

  [[nodiscard]] std::int64_t batches() const override { return loader_.epoch_size(); }
  [[nodiscard]] std::int64_t samples() const override { return pictures_.size(); }

 private:
  ls::data::dataset<Sample> pictures_;
  ls::data::loader<Sample> loader_;
  typename ls::data::loader<Sample>::iterator at_;
  bool fresh_ = false;
};

/// Rows of random values, and what one fixed random matrix makes of them: a regression whose loss can reach zero.
class row_source : public batch_source {
 public:
  row_source(std::int64_t rows, std::uint64_t part, const ls::data::loader_options& how)
      : rows_(rows), how_(how), inputs_(sized(rows)), values_(sized(rows)), order_(static_cast<std::size_t>(rows)) {
    const ls::random_stream matrix(ls::seed{}, ls::random_purpose::synthetic_data, 0);
    const ls::random_stream draws(ls::seed{}, ls::random_purpose::synthetic_data, 1, part);
    for (std::size_t i = 0; i < inputs_.size(); ++i) inputs_[i] = 2 * draws.uniform(i) - 1;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const float* const row = inputs_.data() + i / width * width;
      for (std::size_t k = 0; k < width; ++k) values_[i] += (2 * matrix.uniform(i % width * width + k) - 1) * row[k];
    }
    std::iota(order_.begin(), order_.end(), 0);
    batch_inputs_.resize(width * static_cast<std::size_t>(std::min(rows, how.batch)));
    batch_values_.resize(batch_inputs_.size());
  }

  void start() override {
    if (how_.shuffle) ls::data::shuffled_order(order_, how_.seed, epoch_);
    ++epoch_;
    first_ = 0;
  }

  bool next(batch& b) override {
    const std::int64_t count = std::min(how_.batch, rows_ - first_);
    if (count == 0) return false;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto from = order_[static_cast<std::size_t>(first_ + i)] * static_cast<std::int64_t>(width);
      const auto to = i * static_cast<std::int64_t>(width);
      std::copy_n(inputs_.begin() + from, width, batch_inputs_.begin() + to);
      std::copy_n(values_.begin() + from, width, batch_values_.begin() + to);
    }
    first_ += count;
    b = {.samples = count, .inputs = batch_inputs_.data(), .values = batch_values_.data()};
    return true;
  }

  [[nodiscard]] std::int64_t batches() const override { return rows_ / how_.batch + (rows_ % how_.batch != 0 ? 1 : 0); }
  [[nodiscard]] std::int64_t samples() const override { return rows_; }

 private:
  static constexpr std::size_t width = 10;

  static std::vector<float> sized(std::int64_t rows) {
    return std::vector<float>(static_cast<std::size_t>(rows) * width);
  }

  std::int64_t rows_;
  ls::data::loader_options how_;
  std::vector<float> inputs_;
  std::vector<float> values_;
  std::vector<std::int64_t> order_;
  std::vector<float> batch_inputs_;
  std::vector<float> batch_values_;
  std::uint64_t epoch_ = 0;
  std::int64_t first_ = 0;
};

template <class Sample>
data_set pictures(std::string description, ls::data::split<Sample> split, const ls::data::loader_options& train) {
  if (!split.train.note().empty()) fmt::print(stderr, "lockstep-train: {}\n", split.train.note());
  return {
      std::move(description), std::make_unique<picture_source<Sample>>(std::move(split.train), train),
      std::make_unique<picture_source<Sample>>(std::move(split.test), ls::data::loader_options{.batch = test_batch})};
}

}  // namespace

sample_format format_of(const options& o) {
  if (o.model == "linear") return sample_format::rows;
  if (o.data == "synthetic") return sample_format::cifar10;
  const ls::data::folder_kind kind = ls::data::recognize(o.data);
  if (kind == ls::data::folder_kind::cifar100)
    throw ls::io_error(o.data, "found CIFAR-100, of a hundred classes; the models here have ten");
  return kind == ls::data::folder_kind::cifar10 ? sample_format::cifar10 : sample_format::idx;
}

data_set open_data(const options& o, sample_format format) {
  const ls::data::loader_options train{.batch = o.batch, .shuffle = o.shuffle, .seed = ls::seed{o.seed}};
  if (format == sample_format::rows)
    return {"synthetic rows", std::make_unique<row_source>(1000, 0, train),
            std::make_unique<row_source>(1000, 1, ls::data::loader_options{.batch = test_batch})};
  if (o.data == "synthetic") return pictures("synthetic pictures", ls::data::synthetic(), train);
  if (format == sample_format::cifar10) return pictures("CIFAR-10 in " + o.data, ls::data::cifar10(o.data), train);
  return pictures("IDX pictures in " + o.data, ls::data::idx(o.data, unpacker{}), train);
}

}  // namespace lockstep_train
