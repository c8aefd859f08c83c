// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <lockstep/core/crc32c.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/data/sampler_concept.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data::detail {

/// A sampler of any type, as a loader sees it. Costs one indirect call an epoch and one a batch.
class loader_order {
 public:
  virtual ~loader_order() = default;
  [[nodiscard]] virtual std::int64_t size() const = 0;
  [[nodiscard]] virtual std::int64_t global_size() const = 0;
  [[nodiscard]] virtual std::int64_t local_batch() const = 0;
  [[nodiscard]] virtual batch_part part(std::int64_t step) const = 0;
  virtual void draw(std::uint64_t epoch, std::span<std::int64_t> order) const = 0;
  /// A checksum of what the sampler draws in an epoch, for all ranks together where it says what that is.
  [[nodiscard]] virtual std::string checksum(std::uint64_t epoch) const = 0;
};

[[nodiscard]] inline batch_part part_of_batch(std::int64_t step, std::int64_t batch, std::int64_t size) {
  const std::int64_t first = step * batch;
  return {first, first, (std::min)(batch, size - first)};
}

/// `Whole`: with a sampler that splits batches over ranks, the order is that of all ranks, of which a part is read.
template <sampler Sampler, bool Whole = false>
class sampled_order final : public loader_order {
  static constexpr bool whole = Whole && ranked_sampler<Sampler>;
  static_assert(!whole || draws_for_all_ranks<Sampler>,
                "lockstep: loader: mixup reads samples of other ranks too, so a sampler that splits batches over ranks "
                "has draw_all(epoch, order), which writes the order of all ranks");

 public:
  sampled_order(Sampler from, std::int64_t batch) : from_(std::move(from)), batch_(batch) {}

  [[nodiscard]] std::int64_t size() const override { return whole ? global_size() : from_.size(); }
  [[nodiscard]] std::int64_t global_size() const override {
    if constexpr (ranked_sampler<Sampler>)
      return from_.global_size();
    else
      return from_.size();
  }
  [[nodiscard]] std::int64_t local_batch() const override {
    if constexpr (ranked_sampler<Sampler>)
      return from_.local_batch();
    else
      return (std::min)(batch_, from_.size());
  }
  [[nodiscard]] batch_part part(std::int64_t step) const override {
    if constexpr (whole) {
      const batch_part own = from_.part(step);
      return {own.first_index, own.first_index, own.size};
    } else if constexpr (ranked_sampler<Sampler>)
      return from_.part(step);
    else
      return part_of_batch(step, batch_, from_.size());
  }
  void draw(std::uint64_t epoch, std::span<std::int64_t> order) const override {
    if constexpr (whole)
      from_.draw_all(epoch, order);
    else
      from_.draw(epoch, order);
    for (const std::int64_t index : order)
      if (index < 0 || index >= from_.samples())
        throw value_error("loader", lockstep::detail::message({"indices from 0 to ", from_.samples() - 1}),
                          lockstep::detail::message({index, " from its sampler"}));
  }
  [[nodiscard]] std::string checksum(std::uint64_t epoch) const override {
    if constexpr (!ranked_sampler<Sampler>)
      return checksum_of(epoch_order(from_, epoch));
    else if constexpr (requires { from_.base(); })
      return checksum_of(epoch_order(from_.base(), epoch));
    else
      return "of ranks";
  }

 private:
  [[nodiscard]] static std::string checksum_of(std::span<const std::int64_t> order) {
    crc32c sum;
    sum.add(std::as_bytes(order));
    return sum.text();
  }

  Sampler from_;
  std::int64_t batch_;
};

}  // namespace lockstep::data::detail
