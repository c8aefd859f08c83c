// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>

#include <lockstep/nn/pool2d.hpp>
#include <lockstep/nn/window.hpp>

namespace lockstep {

namespace detail {

template <pooling_kind Kind, std::int64_t Kernel, class... Options>
using pool1d = window_pooling<2, Kind, extent2{1, Kernel}, window_options::of<Options...>().of_line()>;

}  // namespace detail

/// The largest element of each window of a signal C x L, as torch.nn.MaxPool1d; options as max_pool2d.
template <std::int64_t Kernel, class... Options>
struct max_pool1d : detail::pool1d<pooling_kind::maximum, Kernel, Options...> {};

/// The mean of each window of a signal C x L, as torch.nn.AvgPool1d; options as avg_pool2d.
template <std::int64_t Kernel, class... Options>
struct avg_pool1d : detail::pool1d<pooling_kind::average_include_padding, Kernel, Options...> {};

}  // namespace lockstep
