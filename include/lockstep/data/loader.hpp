// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/dataset.hpp>
#include <lockstep/data/prefetch.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/data/sampler_order.hpp>
#include <lockstep/data/shuffle.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

struct loader_options {
  std::int64_t batch = 64;    ///< samples in a batch, one or more; of all ranks together, where a sampler splits it
  bool shuffle = false;       ///< a new random order every epoch; else the data set's own
  lockstep::seed seed{};      ///< of the random orders of `shuffle`; a sampler has its own
  bool drop_last = false;     ///< leave out a last batch that is not full
  std::int64_t prefetch = 2;  ///< batches prepared ahead by a thread; 0 prepares each when asked, without a thread
};

namespace detail {

template <class Sample>
struct batched;

template <std::int64_t... Extents>
struct batched<shape<Extents...>> {
  using type = shape<dynamic, Extents...>;
};

/// x / 255 in single precision, as PyTorch computes it.
inline constexpr std::array<float, 256> unit_values = [] {
  std::array<float, 256> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 255.0F;
  return values;
}();

}  // namespace detail

/// What a loader yields: `auto&& [images, labels] : loader`. Views into the loader's buffers, valid until it
/// moves to the next batch.
template <class Sample>
struct batch {
  using image_view = tensor_view<const float, typename detail::batched<Sample>::type>;

  image_view images;                     ///< B x sample, values in [0, 1]
  std::span<const std::int64_t> labels;  ///< B
  std::int64_t first_index = 0;          ///< position of the first sample within the epoch of all ranks

  /// Number of samples, B.
  [[nodiscard]] std::int64_t size() const noexcept { return static_cast<std::int64_t>(labels.size()); }

  /// For structured bindings, which take images and labels.
  template <std::size_t Index>
  [[nodiscard]] const auto& get() const noexcept {
    if constexpr (Index == 0)
      return images;
    else
      return labels;
  }
};

/// The batches of a data set, one epoch each time it is walked. Values are x / 255; nothing else is changed.
///
/// Borrows the data set, which must outlive it. begin() starts the next epoch and ends the one before it, whose
/// iterators then no longer count; leaving a walk early is fine. Buffers are made once and reused. Walk it from
/// one thread at a time.
///
/// Every sample comes once an epoch, except those of a partial last batch under `drop_last`. The order depends on
/// seed and epoch alone. With a sampler, as in `loader{train, {.batch = 64}, random_sampler{train.size()}}`, what
/// comes and in which order is the sampler's business. One that splits each batch over ranks may leave this rank a
/// batch of size zero, so that all ranks see as many.
template <class Sample>
class loader {
  struct slot {
    tensor<float, typename detail::batched<Sample>::type> images;
    std::vector<std::int64_t> labels;
    std::int64_t samples = 0;
    std::int64_t first_index = 0;
  };

  struct gather {
    const dataset<Sample>* source = nullptr;
    const detail::loader_order* sampled = nullptr;  // null: no sampler
    std::vector<std::int64_t> order;                // empty: the data set's own
    std::int64_t batch = 0;

    void operator()(slot& target, std::int64_t index) const {
      const batch_part part =
          sampled != nullptr ? sampled->part(index) : detail::part_of_batch(index, batch, source->size());
      target.samples = part.size;
      target.first_index = part.first_index;
      float* out = target.images.data();
      for (std::int64_t i = 0; i < target.samples; ++i) {
        const std::int64_t sample = order.empty() ? part.first + i : order[static_cast<std::size_t>(part.first + i)];
        target.labels[static_cast<std::size_t>(i)] = source->label(sample);
        const std::uint8_t* const in = source->pixels().data() + sample * Sample::static_size;
        out = std::transform(in, in + Sample::static_size, out, [](std::uint8_t x) { return detail::unit_values[x]; });
      }
    }
  };

 public:
  /// An input iterator over the batches of one epoch.
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = batch<Sample>;
    using difference_type = std::ptrdiff_t;

    iterator() = default;

    [[nodiscard]] const value_type& operator*() const noexcept { return *owner_->current_; }
    [[nodiscard]] const value_type* operator->() const noexcept { return owner_->current_; }
    iterator& operator++() {
      owner_->ring_.pop();
      owner_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return owner_->current_ == nullptr; }

   private:
    friend loader;
    explicit iterator(loader* owner) noexcept : owner_(owner) {}

    loader* owner_ = nullptr;
  };

  /// Throws value_error when `batch` is below one or `prefetch` below zero.
  explicit loader(const dataset<Sample>& source, const loader_options& options = {})
      : options_(checked(options)), batches_(batches_in(source.size(), options)), ring_(make_ring(source)) {}

  /// Visits what a copy of `order` says. Throws value_error as above, when `shuffle` is set too, and when the sampler
  /// was made for another number of samples or for other batches.
  template <sampler Sampler>
  loader(const dataset<Sample>& source, const loader_options& options, Sampler order)
      : options_(checked(options, source, order)),
        sampled_(std::make_unique<detail::sampled_order<Sampler>>(std::move(order), options.batch)),
        batches_(batches_in(sampled_->global_size(), options)),
        ring_(make_ring(source)) {}

  loader(const dataset<Sample>&& source, const loader_options& options = {}) = delete;
  template <sampler Sampler>
  loader(const dataset<Sample>&& source, const loader_options& options, Sampler order) = delete;

  loader(const loader&) = delete;
  loader& operator=(const loader&) = delete;
  ~loader() = default;

  /// Number of batches in an epoch.
  [[nodiscard]] std::int64_t epoch_size() const noexcept { return batches_; }

  /// The epoch that the next begin() starts, counted from 0.
  [[nodiscard]] std::uint64_t next_epoch() const noexcept { return epoch_; }

  /// Makes the next begin() start that epoch, as after a resume.
  void set_next_epoch(std::uint64_t epoch) noexcept { epoch_ = epoch; }

  /// Starts the next epoch. Throws resource_error when no thread can be started, value_error when a sampler yields
  /// an index that is out of range.
  [[nodiscard]] iterator begin() {
    ring_.stop();
    if (options_.shuffle) shuffled_order(ring_.fill().order, options_.seed, epoch_);
    if (sampled_) sampled_->draw(epoch_, ring_.fill().order);
    ring_.start(batches_);
    ++epoch_;
    advance();
    return iterator(this);
  }

  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  using ring = detail::prefetcher<slot, gather>;

  [[nodiscard]] static const loader_options& checked(const loader_options& options) {
    if (options.batch < 1) throw value_error("loader", "batches of one sample or more", std::to_string(options.batch));
    if (options.prefetch < 0)
      throw value_error("loader", "zero batches or more to prefetch", std::to_string(options.prefetch));
    return options;
  }

  template <sampler Sampler>
  [[nodiscard]] static const loader_options& checked(const loader_options& options, const dataset<Sample>& source,
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
    return checked(options);
  }

  [[nodiscard]] static std::int64_t batches_in(std::int64_t samples, const loader_options& options) noexcept {
    const bool partial = samples % options.batch != 0 && !options.drop_last;
    return samples / options.batch + (partial ? 1 : 0);
  }

  // The consumer holds one slot while the thread fills the others. None is larger or needed more often than an epoch
  // can fill it.
  [[nodiscard]] ring make_ring(const dataset<Sample>& source) const {
    const std::int64_t ahead = std::min(options_.prefetch, std::max(batches_ - 1, std::int64_t{0}));
    std::vector<slot> slots(static_cast<std::size_t>(ahead + 1));
    const std::int64_t largest = sampled_ ? sampled_->local_batch() : std::min(options_.batch, source.size());
    for (slot& s : slots) {
      s.images = tensor<float, typename detail::batched<Sample>::type>(largest);
      s.labels.resize(static_cast<std::size_t>(largest));
    }
    const std::int64_t entries = sampled_ ? sampled_->size() : options_.shuffle ? source.size() : 0;
    return ring(std::move(slots), gather{&source, sampled_.get(),
                                         std::vector<std::int64_t>(static_cast<std::size_t>(entries)), options_.batch});
  }

  void advance() {
    current_ = nullptr;
    const slot* const next = ring_.front();
    if (next == nullptr) return;
    view_ = {typename batch<Sample>::image_view(next->images.data(), next->samples),
             {next->labels.data(), static_cast<std::size_t>(next->samples)},
             next->first_index};
    current_ = &view_;
  }

  loader_options options_;
  std::unique_ptr<const detail::loader_order> sampled_;  // null: no sampler
  std::int64_t batches_;
  std::uint64_t epoch_ = 0;
  batch<Sample> view_;
  const batch<Sample>* current_ = nullptr;  // &view_, or null at the end
  ring ring_;
};

}  // namespace lockstep::data

template <class Sample>
struct std::tuple_size<lockstep::data::batch<Sample>> : std::integral_constant<std::size_t, 2> {};

template <std::size_t Index, class Sample>
struct std::tuple_element<Index, lockstep::data::batch<Sample>> {
  using type =
      std::remove_cvref_t<decltype(std::declval<const lockstep::data::batch<Sample>&>().template get<Index>())>;
};
