// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <lockstep/core/error.hpp>
#include <lockstep/core/plain_view.hpp>
#include <lockstep/core/shape.hpp>

/// \file
/// What a caller may hand in as samples: whatever lies back to back as floats.

namespace lockstep::detail::infer {

struct taken_samples {
  const float* first = nullptr;
  std::int64_t count = 0;
};

[[noreturn, gnu::cold, gnu::noinline]] inline void throw_other_count(std::string_view expected, std::int64_t samples) {
  throw shape_error("inference", expected, std::to_string(samples) + (samples == 1 ? " sample" : " samples"));
}
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_other_size(const dims& sample, std::int64_t values) {
  throw shape_error("inference", "samples of " + std::to_string(sample.size()) + " values (" + to_string(sample) + ")",
                    std::to_string(values) + " values");
}
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_other_extents(const dims& sample, const dims& given) {
  throw shape_error("inference", "samples of " + to_string(sample), "samples of " + to_string(given));
}
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_other_outputs(std::int64_t wanted, std::size_t given) {
  throw shape_error("inference", "room for " + std::to_string(wanted) + " outputs", std::to_string(given));
}
[[noreturn, gnu::cold, gnu::noinline]] inline void throw_small_workspace(std::int64_t wanted, std::size_t given) {
  throw shape_error("inference", "a workspace of at least " + std::to_string(wanted) + " floats",
                    std::to_string(given));
}

inline void require_outputs(std::int64_t samples, std::int64_t size, std::size_t given) {
  if (static_cast<std::size_t>(samples * size) != given) throw_other_outputs(samples * size, given);
}
inline void require_workspace(std::int64_t wanted, std::size_t given) {
  if (given < static_cast<std::size_t>(wanted)) throw_small_workspace(wanted, given);
}

[[noreturn, gnu::cold, gnu::noinline]] inline void throw_other_states(std::int64_t wanted, std::size_t given) {
  throw shape_error("inference", "states of " + std::to_string(wanted) + " floats", std::to_string(given));
}
inline void require_states(std::int64_t wanted, std::size_t given) {
  if (static_cast<std::size_t>(wanted) != given) throw_other_states(wanted, given);
}

template <class T>
concept has_view = requires(const T& t) {
  { t.view() } -> mdspan_like;
};
template <class T>
concept contiguous_floats = requires(const T& values) {
  requires std::is_same_v<std::remove_cv_t<typename decltype(std::span(values))::element_type>, float>;
};

/// The samples that a view, or a sequence of floats, holds. A view has the extents of one sample, or one more.
template <dims Sample, class Samples>
[[nodiscard]] taken_samples take_samples(const Samples& samples) {
  if constexpr (has_view<Samples>) {
    return take_samples<Sample>(samples.view());
  } else if constexpr (mdspan_like<Samples>) {
    constexpr bool plain = row_major<Samples> && plainly_accessed<Samples> &&
                           std::is_same_v<std::remove_cv_t<typename Samples::element_type>, float>;
    static_assert(plain,
                  "lockstep: inference: the samples of a view are floats that lie in row-major order, sample after "
                  "sample, and are read as they are; copy them into a std::array or a std::vector");
    constexpr auto rank = static_cast<int>(Samples::rank());
    static_assert(rank == Sample.rank || rank == Sample.rank + 1,
                  "lockstep: inference: a view has the extents of one sample (Sample), or one more for a batch");
    if constexpr (plain) {
      dims given;
      given.rank = Sample.rank;
      for (int i = 0; i < Sample.rank; ++i)
        given.extent[i] = static_cast<std::int64_t>(samples.extent(static_cast<std::size_t>(i + rank - Sample.rank)));
      if (given != Sample) throw_other_extents(Sample, given);
      return {samples.data_handle(), rank == Sample.rank ? 1 : static_cast<std::int64_t>(samples.extent(0))};
    } else {
      return {};
    }
  } else if constexpr (contiguous_floats<Samples>) {
    using span = decltype(std::span(samples));
    constexpr std::int64_t size = Sample.size();
    if constexpr (span::extent != std::dynamic_extent)
      static_assert(static_cast<std::int64_t>(span::extent) % size == 0,
                    "lockstep: inference: the array's length is no whole number of the samples that the model takes "
                    "(Sample)");
    const span all(samples);
    const auto values = static_cast<std::int64_t>(all.size());
    if (values % size != 0) throw_other_size(Sample, values);
    return {all.data(), values / size};
  } else {
    static_assert(contiguous_floats<Samples>,
                  "lockstep: inference: samples are a view, or a vector, array or span of floats; this is neither");
    return {};
  }
}

}  // namespace lockstep::detail::infer
