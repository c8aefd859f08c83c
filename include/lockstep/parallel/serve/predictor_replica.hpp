// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <lockstep/core/tensor.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/model/input_pack.hpp>
#include <lockstep/model/output_pack.hpp>
#include <lockstep/parallel/serve/predictor_queue.hpp>
#include <lockstep/parallel/trainer/replica.hpp>

namespace lockstep::detail {

/// A request with the memory of its samples, for each input, and of each output.
template <class Model, class Value>
struct tensor_prediction : prediction {
  input_pack<Model, const Value> x{};
  output_pack<Model, Value> y{};
};

/// Number of rows of the next run when `left` samples remain: a power of two, at most `largest`, itself a power of two.
/// At least three quarters of the rows are samples. Requests come in all sizes, but ops exist only for these few.
[[nodiscard]] constexpr std::int64_t prediction_rows(std::int64_t left, std::int64_t largest) {
  std::int64_t rows = 1;
  while (rows < left && rows < largest) rows *= 2;
  return rows <= left || 4 * left >= 3 * rows ? rows : rows / 2;
}

/// One replica of a predictor: an executor that only runs forward, and room to join the samples of several requests.
/// When the host cannot read the backend's memory, samples and outputs are copied, and the run between the copies is
/// replayed.
template <class Model, class B>
class predictor_replica {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  using value = typename B::value_type;

  predictor_replica(const replica_place& where, std::int64_t max_batch)
      : executor_(where), largest_(prediction_rows(max_batch, (std::min)(micro_shard<Model, B>, most_rows))) {
    each_input<Model>([&]<std::size_t K>(std::int64_t size) {
      auto& joined = std::get<K>(joined_);
      joined = std::remove_reference_t<decltype(joined)>(largest_ * size);
    });
    if constexpr (!B::host_memory) {
      auto& c = executor_.context();
      [[maybe_unused]] const auto entered = device_of<B>(c);
      each_input<Model>([&]<std::size_t K>(std::int64_t size) {
        std::get<K>(samples_) = B::template allocate<element<K>>(c, largest_ * size);
      });
      each_output<Model>(
          [&]<std::size_t K>(std::int64_t size) { results_[K] = B::template allocate<value>(c, largest_ * size); });
    }
    if constexpr (keeps_outputs)
      each_output<Model>(
          [&]<std::size_t K>(std::int64_t size) { outputs_[K] = aligned_buffer<value>(largest_ * size); });
  }

  /// Runs every batch size on zeros, so that no request pays for a first run.
  void warm_up(const value* parameters) {
    constexpr int runs = B::host_memory ? 1 : 2;  // the second is recorded
    for (std::int64_t rows = largest_; rows > 0; rows /= 2)
      for (int i = 0; i < runs; ++i) infer(parameters, joined(), rows, [](const auto&) {});
  }

  /// Runs a batch and writes the outputs into the memory of its requests.
  void run(const value* parameters, std::span<const prediction_part> parts) {
    std::int64_t left = 0;
    for (const prediction_part& part : parts) left += part.count;
    place in{parts, 0};
    place out{parts, 0};
    while (left > 0) {
      const std::int64_t rows = prediction_rows(left, largest_);
      const std::int64_t samples = (std::min)(rows, left);
      infer(parameters, gather(in, rows, samples), rows, [&](const auto& y) { scatter(out, samples, y); });
      left -= samples;
    }
  }

 private:
  using request = tensor_prediction<Model, value>;
  using inputs = input_pack<Model, const value>;
  using outputs = output_pack<Model, const value>;
  template <std::size_t K>
  using element = input_element<Model::takes_tokens[K], value>;
  template <class T>
  using buffer = typename B::template buffer<T>;

  /// Whether outputs are copied before requests get them: from another memory, or since the executor keeps the
  /// converted copy of one output alone.
  static constexpr bool keeps_outputs = !B::host_memory || (converts_values<B> && Model::output_count > 1);

  /// An executor keeps ops for as many batch sizes as there are powers of two up to this one.
  static constexpr std::int64_t most_rows = 128;

  /// Calls f(outputs) for `rows` samples, a batch size that has ops. Samples and outputs are in the host's memory.
  template <class F>
  void infer(const value* parameters, const inputs& x, std::int64_t rows, const F& f) {
    if constexpr (B::host_memory) {
      if constexpr (keeps_outputs) {
        executor_.forward(executor_.load(parameters), x, rows,
                          pack_outputs<Model, value>([&]<std::size_t K>() { return outputs_[K].data(); }));
        f(in_host_memory());
      } else {
        executor_.infer(executor_.load(parameters), x, rows, [&](std::int64_t, std::int64_t count, const auto& y) {
          f(pack_outputs<Model, const value>([&]<std::size_t K>() {
            return executor_.as_values(count * Model::output_extents[K].size(), array_of<K>(y));
          }));
        });
      }
    } else {
      auto& c = executor_.context();
      [[maybe_unused]] const auto entered = device_of<B>(c);
      each_input<Model>([&]<std::size_t K>(std::int64_t size) {
        B::template copy_in<element<K>>(c, rows * size, array_of<K>(x), std::get<K>(samples_).data());
      });
      // The parameters are loaded each time, since their owner may have written to them.
      B::replay(c, static_cast<std::uint64_t>(rows), [&] {
        executor_.forward(executor_.load(parameters), pack_inputs<Model, const value>([&]<std::size_t K>() {
                            return std::get<K>(samples_).data();
                          }),
                          rows, pack_outputs<Model, value>([&]<std::size_t K>() { return results_[K].data(); }));
      });
      each_output<Model>([&]<std::size_t K>(std::int64_t size) {
        B::template copy_out<value>(c, rows * size, results_[K].data(), outputs_[K].data());
      });
      B::finish(c);
      f(in_host_memory());
    }
  }

  /// A position in a batch, for reading or writing: `done` samples of the first remaining part are done.
  struct place {
    std::span<const prediction_part> parts;
    std::int64_t done = 0;

    /// Calls f(request, sample, count) for each of the next stretches, which together have `samples` samples.
    template <class F>
    void advance(std::int64_t samples, const F& f) {
      while (samples > 0) {
        const prediction_part& part = parts.front();
        const std::int64_t count = (std::min)(samples, part.count - done);
        f(static_cast<request&>(*part.request), part.first + done, count);
        samples -= count;
        done += count;
        if (done < part.count) continue;
        parts = parts.subspan(1);
        done = 0;
      }
    }
  };

  /// Returns the next samples in contiguous memory, padded with zeros to `rows`. Copies only when they are not
  /// contiguous already, or need padding.
  inputs gather(place& in, std::int64_t rows, std::int64_t samples) {
    inputs found{};
    if (rows == samples && in.parts.front().count - in.done >= rows) {
      in.advance(samples, [&](const request& from, std::int64_t sample, std::int64_t) {
        found = from.x + sample * plan.input.size();
      });
      return found;
    }
    std::int64_t first = 0;
    in.advance(samples, [&](const request& from, std::int64_t sample, std::int64_t count) {
      each_input<Model>([&]<std::size_t K>(std::int64_t size) {
        std::copy_n(array_of<K>(from.x) + sample * size, count * size, std::get<K>(joined_).data() + first * size);
      });
      first += count;
    });
    each_input<Model>([&]<std::size_t K>(std::int64_t size) {
      std::fill_n(std::get<K>(joined_).data() + samples * size, (rows - samples) * size, element<K>{0});
    });
    return joined();
  }
  [[nodiscard]] inputs joined() const {
    return pack_inputs<Model, const value>([&]<std::size_t K>() { return std::as_const(std::get<K>(joined_)).data(); });
  }

  static void scatter(place& out, std::int64_t samples, const outputs& y) {
    std::int64_t first = 0;
    out.advance(samples, [&](const request& to, std::int64_t sample, std::int64_t count) {
      each_output<Model>([&]<std::size_t K>(std::int64_t size) {
        std::copy_n(array_of<K>(y) + first * size, count * size, array_of<K>(to.y) + sample * size);
      });
      first += count;
    });
  }

  [[nodiscard]] outputs in_host_memory() const {
    return pack_outputs<Model, const value>([&]<std::size_t K>() { return std::as_const(outputs_[K]).data(); });
  }

  executor<Model, B> executor_;
  std::int64_t largest_;
  input_arrays<Model, aligned_buffer, value> joined_;
  input_arrays<Model, buffer, value> samples_;                                   ///< in the backend's memory
  std::array<typename B::template buffer<value>, Model::output_count> results_;  ///< there too
  std::array<aligned_buffer<value>, Model::output_count> outputs_;               ///< in the host's
};

}  // namespace lockstep::detail
