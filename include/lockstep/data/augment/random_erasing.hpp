// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/planes.hpp>
#include <lockstep/data/augment/random_draws.hpp>
#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Overwrites a random box in all channels, as torchvision.transforms.RandomErasing(p, scale, ratio, value). The box
/// has `scale` of the picture's area, uniformly, and `ratio` of rows to columns, uniformly in its logarithm, and lies
/// anywhere inside with equal probability. It is smaller than the picture in both extents; when ten draws have given
/// none that is, the picture stays as it is. The sample is (channels, rows, columns) or (rows, columns).
/// Source: Zhong et al., "Random erasing data augmentation", 2017.
struct random_erasing {
  double probability = 0.5;
  std::array<double, 2> scale{0.02, 0.33};  ///< least and largest share of the picture's area
  std::array<double, 2> ratio{0.3, 3.3};    ///< least and largest number of rows to one column
  /// What the box is filled with: one value, or one a channel, or none for a normal draw each (torchvision's "random").
  std::vector<float> value{0.0F};

  /// Throws value_error for a probability outside [0, 1], a scale that is no range in [0, 1], a ratio that is no range
  /// above 0, and for a number of values that is neither 0, 1 nor the number of channels.
  template <class View>
  void check() const {
    using planes = detail::planes_of<View>;
    static_assert(planes::valid,
                  "lockstep: random_erasing: the samples are pictures of (channels, rows, columns) or (rows, columns)");
    if (!(probability >= 0 && probability <= 1))
      throw value_error("random_erasing", "a probability in [0, 1]", std::to_string(probability));
    if (!(scale[0] >= 0 && scale[0] <= scale[1] && scale[1] <= 1))
      throw value_error("random_erasing", "a scale from and to shares of the area in [0, 1], the lesser first",
                        range_text(scale));
    if (!(ratio[0] > 0 && ratio[0] <= ratio[1] && std::isfinite(ratio[1])))
      throw value_error("random_erasing", "a ratio from and to finite numbers above 0, the lesser first",
                        range_text(ratio));
    if (value.size() > 1 && value.size() != static_cast<std::size_t>(planes::channels))
      throw value_error("random_erasing",
                        lockstep::detail::message({"no value, one, or one for each channel (", planes::channels, ")"}),
                        std::to_string(value.size()));
  }

  [[nodiscard]] std::string describe() const {
    std::vector<double> options{probability, scale[0], scale[1], ratio[0], ratio[1]};
    options.insert(options.end(), value.begin(), value.end());
    return detail::describe_call("random_erasing", options);
  }

  template <class View>
  void operator()(const View& picture, random_draws& draws) const {
    using planes = detail::planes_of<View>;
    if (!draws.happens(probability)) return;
    const detail::box where = draw_box(planes::rows, planes::columns, draws);
    planes::each(picture, [&](float* plane, std::int64_t channel) {
      for (std::int64_t y = where.top; y < where.bottom; ++y) {
        float* const row = plane + y * planes::columns;
        if (value.empty())
          std::generate(row + where.left, row + where.right, [&] { return static_cast<float>(draws.normal()); });
        else
          std::fill(row + where.left, row + where.right,
                    value[value.size() == 1 ? 0 : static_cast<std::size_t>(channel)]);
      }
    });
  }

 private:
  /// An empty box when ten draws have given none that fits.
  [[nodiscard]] detail::box draw_box(std::int64_t rows, std::int64_t columns, random_draws& draws) const {
    const auto between = [&](double low, double high) { return low + (high - low) * draws.uniform(); };
    for (int attempt = 0; attempt < 10; ++attempt) {
      const double area = static_cast<double>(rows * columns) * between(scale[0], scale[1]);
      const double aspect = std::exp(between(std::log(ratio[0]), std::log(ratio[1])));
      const double height = std::nearbyint(std::sqrt(area * aspect));
      const double width = std::nearbyint(std::sqrt(area / aspect));
      if (!(height < static_cast<double>(rows) && width < static_cast<double>(columns))) continue;
      const auto high = static_cast<std::int64_t>(height);
      const auto wide = static_cast<std::int64_t>(width);
      const std::int64_t top = draws.below(rows - high + 1);
      const std::int64_t left = draws.below(columns - wide + 1);
      return {top, left, top + high, left + wide};
    }
    return {};
  }

  [[nodiscard]] static std::string range_text(const std::array<double, 2>& range) {
    return std::to_string(range[0]) + " to " + std::to_string(range[1]);
  }
};

}  // namespace lockstep::data
