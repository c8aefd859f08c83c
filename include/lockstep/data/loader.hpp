// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/data/batch.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/loader_position.hpp>
#include <lockstep/data/sample_changes.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/sampler_order.hpp>
#include <lockstep/data/shuffle.hpp>
#include <lockstep/data/table.hpp>
#include <lockstep/data/walk.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

struct loader_options {
  std::int64_t batch = 64;    ///< samples in a batch, one or more; of all ranks together when a sampler splits it
  bool shuffle = false;       ///< true: a new random order every epoch; false: the data set's order
  lockstep::seed seed{};      ///< for the orders of `shuffle`, and for augmentation; a sampler has its own seed
  bool drop_last = false;     ///< leave out a last batch that is not full
  std::int64_t prefetch = 2;  ///< batches that a thread prepares ahead; 0 prepares each on demand, without a thread
};

namespace detail {

/// Fills a slot with the samples of one batch.
template <class... Fields>
struct gather_batch {
  const dataset<Fields...>* source = nullptr;
  const loader_order* sampled = nullptr;  // null: no sampler
  std::vector<std::int64_t> order;        // empty: the data set's order
  std::int64_t batch = 0;
  lockstep::seed seed{};
  std::unique_ptr<sample_changes<Fields...>> changes;  // null: samples come as they are
  std::uint64_t epoch = 0;
  std::int64_t first = 0;  // the batch of the epoch that the walk begins with

  template <class Slot>
  void operator()(Slot& target, std::int64_t place) {
    const std::int64_t index = first + place;
    const batch_part part = sampled != nullptr ? sampled->part(index) : part_of_batch(index, batch, source->size());
    target.samples = part.size;
    target.first_index = part.first_index;
    const epoch_samples<Fields...> from{source, order, seed, epoch};
    const auto to = target.pointers();
    if (changes != nullptr)
      changes->fill(from, part, to);
    else
      for (std::int64_t i = 0; i < part.size; ++i) from.copy(part.first + i, i, to);
  }
};

/// Throws value_error when `batch` is below one or `prefetch` below zero.
inline const loader_options& checked_options(const loader_options& options) {
  if (options.batch < 1) throw value_error("loader", "batches of one sample or more", std::to_string(options.batch));
  if (options.prefetch < 0)
    throw value_error("loader", "zero batches or more to prefetch", std::to_string(options.prefetch));
  return options;
}

}  // namespace detail

/// Yields the batches of a data set; each walk over the loader is one epoch. Bytes of pictures become x / 255; all
/// other elements are copied. An augment, as in `loader{train, {.batch = 64}, augment{flip<>{}}}`, changes them then.
///
/// Borrows the data set, which must outlive it. begin() starts the next epoch and ends the epoch before it, whose
/// iterators then throw; leaving a walk early is fine. To walk over the data inside a walk, make a second loader.
/// Buffers are allocated once and reused. Only one thread at a time may walk over a loader.
///
/// Every sample comes once an epoch, except those of a partial last batch under `drop_last`. The order depends on
/// seed and epoch alone. With a sampler, as in `loader{train, {.batch = 64}, random_sampler{train.size()}}`, the
/// sampler decides which samples come, and in which order. A sampler that splits each batch over ranks may give this
/// rank a batch of size zero, so that all ranks see equally many batches.
template <class... Fields>
class loader {
  using source_type = dataset<Fields...>;
  using field_types = typename detail::batch_fields<Fields...>::type;
  using slot = decltype(detail::batch_slot(field_types{}, 0));
  using walk =
      detail::batch_walk<typename detail::loader_batch<Fields...>::type, slot, detail::gather_batch<Fields...>>;

 public:
  using iterator = typename walk::iterator;

  /// Throws value_error when `batch` is below one or `prefetch` below zero.
  explicit loader(const source_type& source, const loader_options& options = {})
      : options_(detail::checked_options(options)),
        batches_(batches_in(source.size(), options)),
        walk_(make_walk(source)) {}

  /// Visits the samples that a copy of `order` draws. Throws value_error as above, when `shuffle` is also set, and when
  /// the sampler was made for another number of samples or for other batches.
  template <sampler Sampler>
  loader(const source_type& source, const loader_options& options, Sampler order)
      : options_(checked(options, source, order)),
        sampled_(make_order<false>(std::move(order), options.batch)),
        batches_(batches_in(sampled_->global_size(), options)),
        walk_(make_walk(source)) {}

  /// Changes each sample: see augment. Throws value_error as above, and what the transforms' checks throw.
  template <class... Transforms>
  loader(const source_type& source, const loader_options& options, augment<Transforms...> by)
      : options_(detail::checked_options(options)),
        batches_(batches_in(source.size(), options)),
        walk_(make_walk(source, make_changes(std::move(by)))) {}

  template <sampler Sampler, class... Transforms>
  loader(const source_type& source, const loader_options& options, Sampler order, augment<Transforms...> by)
      : options_(checked(options, source, order)),
        sampled_(make_order<augment<Transforms...>::mixes>(std::move(order), options.batch)),
        batches_(batches_in(sampled_->global_size(), options)),
        walk_(make_walk(source, make_changes(std::move(by)))) {}

  // A temporary data set; the last parameters are a sampler, an augment or both.
  loader(const source_type&& source, const loader_options& options = {}) = delete;  // lockstep: name the data set
  template <class Third>
  loader(const source_type&& source, const loader_options&, Third) = delete;  // lockstep: name the data set
  template <class Third, class Fourth>
  loader(const source_type&& source, const loader_options&, Third, Fourth) = delete;  // lockstep: name the data set

  loader(const loader&) = delete;
  loader& operator=(const loader&) = delete;
  ~loader() = default;

  /// Number of batches in an epoch.
  [[nodiscard]] std::int64_t epoch_size() const noexcept { return batches_; }

  /// The epoch that the next begin() starts, counted from 0.
  [[nodiscard]] std::uint64_t next_epoch() const noexcept { return epoch_; }

  /// Makes the next begin() start `epoch`, from its first batch.
  void set_next_epoch(std::uint64_t epoch) noexcept {
    epoch_ = epoch;
    first_ = 0;
  }

  /// The batch that the loader's user has not got yet, whatever the thread has prepared: within the epoch under way, or
  /// the first of the next epoch once the walk has come to its end. A walk that was left early is still under way; see
  /// end_epoch().
  [[nodiscard]] loader_position position() const noexcept {
    if (walk_.under_way()) return {walk_epoch_, walk_first_ + walk_.handed_out()};
    return {epoch_, first_};
  }

  /// Ends the walk under way, and makes the next begin() start at a batch within an epoch: it yields the batches that
  /// the epoch has from there on, which are none when `at` is its end. Throws value_error, and changes nothing, for a
  /// batch that the epoch does not have.
  void resume_at(const loader_position& at) {
    if (at.batch < 0 || at.batch > batches_)
      throw value_error("loader", lockstep::detail::message({"a batch from 0 to ", batches_, " to go on at"}),
                        std::to_string(at.batch));
    walk_.stop();
    epoch_ = at.epoch;
    first_ = at.batch;
  }

  /// Ends an epoch that is left early, so that position() is the beginning of the next one; its iterators then throw.
  void end_epoch() noexcept { walk_.stop(); }

  /// What decides the batches of an epoch: a checkpoint with a position is loaded where all of it is the same. Of a
  /// sampler that is the order that it draws; of the data, a checksum of some samples.
  [[nodiscard]] loader_identity identity(std::uint64_t epoch) {
    loader_identity all{{"batch", std::to_string(options_.batch)},
                        {"drop_last", options_.drop_last ? "true" : "false"},
                        {"samples", std::to_string(walk_.fill().source->size())},
                        {"order", sampled_           ? "of a sampler"
                                  : options_.shuffle ? "shuffled"
                                                     : "in sequence"}};
    const auto& changes = walk_.fill().changes;
    if (changes != nullptr) {
      all.emplace_back("transforms", std::to_string(changes->transforms()));
      all.emplace_back("augmentation", changes->describe());
    }
    if (options_.shuffle || changes != nullptr) all.emplace_back("seed", std::to_string(options_.seed.value));
    if (sampled_) {
      if (draws_.empty() || draws_epoch_ != epoch) draws_ = sampled_->checksum(epoch);
      draws_epoch_ = epoch;
      all.emplace_back("draws", draws_);
    }
    all.emplace_back("data", detail::sample_checksum(*walk_.fill().source));
    return all;
  }

  /// Starts the next epoch. Throws resource_error when no thread can be started, value_error when a sampler draws an
  /// index that is out of range.
  [[nodiscard]] iterator begin() {
    walk_.stop();
    if (options_.shuffle) shuffled_order(walk_.fill().order, options_.seed, epoch_);
    if (sampled_) sampled_->draw(epoch_, walk_.fill().order);
    walk_.fill().epoch = epoch_;
    walk_.fill().first = first_;
    walk_epoch_ = epoch_;
    walk_first_ = first_;
    iterator first = walk_.start(batches_ - first_);
    ++epoch_;
    first_ = 0;
    return first;
  }

  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  template <sampler Sampler>
  [[nodiscard]] static const loader_options& checked(const loader_options& options, const source_type& source,
                                                     const Sampler& order) {
    if (options.shuffle)
      throw value_error("loader", "either .shuffle or a sampler, which decides the order itself", "both",
                        "leave .shuffle out, or the sampler");
    if (order.samples() != source.size())
      throw value_error("loader",
                        lockstep::detail::message({"a sampler over the data set's ", source.size(), " samples"}),
                        lockstep::detail::message({"one over ", order.samples()}),
                        "build the sampler with the size() of the data set it is used with");
    if constexpr (batched_sampler<Sampler>)
      if (order.batch() != options.batch)
        throw value_error("loader", lockstep::detail::message({".batch = ", order.batch(), ", as its sampler has"}),
                          std::to_string(options.batch), "give the loader and the sampler the same batch");
    return detail::checked_options(options);
  }

  /// `Whole`: the order of all ranks, also with a sampler that splits batches over ranks.
  template <bool Whole, class Sampler>
  [[nodiscard]] static std::unique_ptr<const detail::loader_order> make_order(Sampler order, std::int64_t batch) {
    return std::make_unique<detail::sampled_order<Sampler, Whole>>(std::move(order), batch);
  }

  using changes_pointer = std::unique_ptr<detail::sample_changes<Fields...>>;

  template <class Augment>
  [[nodiscard]] static changes_pointer make_changes(Augment by) {
    return std::make_unique<detail::augmented_samples<Augment, Fields...>>(std::move(by));
  }

  [[nodiscard]] static std::int64_t batches_in(std::int64_t samples, const loader_options& options) noexcept {
    const bool partial = samples % options.batch != 0 && !options.drop_last;
    return samples / options.batch + (partial ? 1 : 0);
  }

  // The consumer holds one slot while the thread fills the others. No slot is larger than the largest batch, and there
  // are no more slots than an epoch has batches (but always one).
  [[nodiscard]] walk make_walk(const source_type& source, changes_pointer by = nullptr) const {
    const std::int64_t ahead = (std::min)(options_.prefetch, (std::max)(batches_ - 1, std::int64_t{0}));
    const std::int64_t largest = sampled_ ? sampled_->local_batch() : (std::min)(options_.batch, source.size());
    std::vector<slot> slots;
    slots.reserve(static_cast<std::size_t>(ahead + 1));
    for (std::int64_t i = 0; i <= ahead; ++i) slots.emplace_back(field_types{}, largest);
    const std::int64_t entries = sampled_ ? sampled_->size() : options_.shuffle ? source.size() : 0;
    return walk(std::move(slots),
                {&source, sampled_.get(), std::vector<std::int64_t>(static_cast<std::size_t>(entries)), options_.batch,
                 options_.seed, std::move(by)});
  }

  loader_options options_;
  std::unique_ptr<const detail::loader_order> sampled_;  // null: no sampler
  std::int64_t batches_;
  std::uint64_t epoch_ = 0;  // of the next walk
  std::int64_t first_ = 0;   // its first batch
  std::uint64_t walk_epoch_ = 0;
  std::int64_t walk_first_ = 0;
  std::string draws_;  // the checksum of what the sampler draws in draws_epoch_
  std::uint64_t draws_epoch_ = 0;
  walk walk_;
};

}  // namespace lockstep::data
