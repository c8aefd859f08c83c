// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <lockstep/core/error.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/losses.hpp>

namespace lockstep::detail {

/// The targets of several losses, one span for each, in the order of the outputs.
template <class Pack, class... Targets>
struct target_spans {
  std::tuple<std::span<const Targets>...> each;

  [[nodiscard]] Pack data() const noexcept {
    return std::apply([](const auto&... span) { return Pack{{span.data()...}}; }, each);
  }
};

/// The targets that a loss takes for the batches of a backend: a span of its targets, or target_spans of several.
template <class Targets, class Pack>
struct spans_of {
  using type = std::span<const Targets>;
};
template <class... Targets, class Pack>
struct spans_of<std::tuple<Targets...>, Pack> {
  using type = target_spans<Pack, Targets...>;
};

/// An unchecked batch of this process. Class indices lie in the host's memory. `Images` is a pointer, or the input_pack
/// of several inputs.
template <class Images, class Targets>
struct user_batch {
  Images images{};
  Targets targets{};
  std::int64_t samples = 0;
};

/// Throws shape_error unless there are `wanted` targets; `whose` names them where there are several kinds.
inline void check_target_count(std::size_t given, std::int64_t wanted, std::int64_t samples, std::string_view whose) {
  if (static_cast<std::int64_t>(given) != wanted)
    throw shape_error(
        "data_parallel",
        std::to_string(wanted).append(" targets").append(whose).append(" for ") + std::to_string(samples) + " samples",
        std::to_string(given));
}

/// Checks that a batch has samples, unless it may be empty, and as many targets as they need. Returns the denominator
/// of each loss. Throws shape_error, value_error.
template <class Loss, class Images, class Targets>
[[nodiscard]] std::array<double, loss_count<Loss>> check_batch(const Loss& loss, const dims& output,
                                                               const user_batch<Images, Targets>& batch,
                                                               bool may_be_empty) {
  if (batch.samples < 1 && !may_be_empty)
    throw shape_error("data_parallel", "a batch of one sample or more", std::to_string(batch.samples));
  if constexpr (loss_count<Loss> == 1) {
    const std::int64_t wanted = batch.samples * loss.target_size(output);
    check_target_count(batch.targets.size(), wanted, batch.samples, "");
    return {loss.denominator(batch.targets.data(), wanted, output)};
  } else {
    const auto targets = batch.targets.data();
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      (check_target_count(std::get<K>(batch.targets.each).size(), batch.samples * targets.sizes[K], batch.samples,
                          " of output " + std::to_string(K)),
       ...);
    }(std::make_index_sequence<loss_count<Loss>>{});
    return loss.denominators(targets, batch.samples);
  }
}

}  // namespace lockstep::detail
