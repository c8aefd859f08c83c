// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstdint>

#include <lockstep/backend/attention_geometry.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/random.hpp>

namespace lockstep {

/// The factors by which dropout multiplies the probabilities of one sample: 0 with probability g.dropout, else
/// 1 / (1 - g.dropout). A draw depends only on (seed, step, layer, global sample index, head, query, key), so that a
/// sample gets the same factors on any replica of any backend.
class attention_mask {
 public:
  attention_mask(const attention_geometry& g, const dropout_key& key, std::int64_t sample)
      : stream_(seed{key.now->seed}, random_purpose::dropout, (key.now->step << 16U) | key.layer,
                static_cast<std::uint64_t>(key.now->first_sample + key.first_sample + sample)),
        queries_(g.queries),
        blocks_((g.keys + 3) / 4),
        p_(g.dropout.value()),
        keep_(p_ < 1.F ? 1.F / (1.F - p_) : 0.F) {}

  /// Calls f(key, factor) for the keys of [first, last) and a query of a head; `first` is a multiple of 4. The keys of
  /// a query begin with a block of draws of their own.
  template <class F>
  void each_factor(std::int64_t head, std::int64_t query, std::int64_t first, std::int64_t last, const F& f) const {
    for (std::int64_t start = first; start < last; start += 4) {
      const auto bits = stream_.block(block(head, query, start));
      const std::int64_t count = (std::min)(std::int64_t{4}, last - start);
      for (std::int64_t i = 0; i < count; ++i)
        f(start + i, to_unit_float(bits[static_cast<std::size_t>(i)]) < p_ ? 0.F : keep_);
    }
  }

  /// The block of draws of four keys from `key` on, and how many blocks a query has.
  [[nodiscard]] std::uint64_t block(std::int64_t head, std::int64_t query, std::int64_t key) const {
    return static_cast<std::uint64_t>((head * queries_ + query) * blocks_ + key / 4);
  }
  [[nodiscard]] std::int64_t blocks() const { return blocks_; }
  [[nodiscard]] const random_stream& stream() const { return stream_; }
  [[nodiscard]] float probability() const { return p_; }
  [[nodiscard]] float kept() const { return keep_; }  ///< the factor of what is not dropped

 private:
  random_stream stream_;
  std::int64_t queries_;
  std::int64_t blocks_;
  float p_;
  float keep_;
};

}  // namespace lockstep
