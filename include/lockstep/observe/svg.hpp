// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/observe/svg_text.hpp>

/// \file
/// Charts as inline SVG. Lines are drawn in an SVG that stretches to any width; the text beside it is HTML and keeps
/// its size on a phone.

namespace lockstep::detail {

struct chart_point {
  double x = 0;
  double y = 0;  ///< NaN interrupts the line
};

/// Whether a chart can show a value. The limit leaves room for arithmetic below the largest double.
[[nodiscard]] inline bool drawable(double value) { return std::abs(value) < 1e300; }

/// Reduces values at x = first, first + 1, ... to at most `most` points. Each stretch of values keeps its smallest and
/// its largest, in their order, so that no peak is lost. A stretch that cannot be drawn becomes one NaN.
[[nodiscard]] inline std::vector<chart_point> decimate(std::span<const double> values, std::int64_t first,
                                                       std::size_t most) {
  const std::size_t count = values.size();
  const auto point = [&](std::size_t i) {
    return chart_point{static_cast<double>(first + static_cast<std::int64_t>(i)),
                       drawable(values[i]) ? values[i] : std::numeric_limits<double>::quiet_NaN()};
  };
  std::vector<chart_point> points;
  const std::size_t stretches = std::max<std::size_t>(most / 2, 1);
  if (count <= 2 * stretches) {
    for (std::size_t i = 0; i < count; ++i) points.push_back(point(i));
    return points;
  }
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t begin = count * s / stretches;
    const std::size_t end = count * (s + 1) / stretches;
    std::size_t low = end;
    std::size_t high = end;
    for (std::size_t i = begin; i < end; ++i) {
      if (!drawable(values[i])) continue;
      if (low == end || values[i] < values[low]) low = i;
      if (high == end || values[i] > values[high]) high = i;
    }
    points.push_back(point(low == end ? begin : (std::min)(low, high)));
    if (low != high) points.push_back(point((std::max)(low, high)));
  }
  return points;
}

/// The mean over a value and `radius` neighbours on each side, at `most` places; values that cannot be drawn are left
/// out.
/// Each mean is summed anew: a running sum would keep the rounding error of a peak for ever.
[[nodiscard]] inline std::vector<chart_point> moving_average(std::span<const double> values, std::int64_t first,
                                                             std::size_t radius, std::size_t most) {
  const std::size_t count = (std::min)(values.size(), most);
  std::vector<chart_point> means;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t at = count > 1 ? k * (values.size() - 1) / (count - 1) : 0;
    double sum = 0;
    std::int64_t drawn = 0;
    for (std::size_t i = at - (std::min)(at, radius); i < (std::min)(at + radius + 1, values.size()); ++i) {
      if (!drawable(values[i])) continue;
      sum += values[i];
      ++drawn;
    }
    means.push_back({static_cast<double>(first + static_cast<std::int64_t>(at)),
                     drawn > 0 ? sum / static_cast<double>(drawn) : std::numeric_limits<double>::quiet_NaN()});
  }
  return means;
}

/// One axis of a chart: maps values between its two ends, and lists the values that have a label.
struct chart_axis {
  double low = 0;
  double high = 1;
  bool logarithmic = false;
  std::vector<double> ticks{};
  std::vector<std::string> labels{};

  /// Position of a value along the axis, in percent.
  [[nodiscard]] double at(double value) const {
    if (high <= low) return 50;
    const double share = logarithmic ? (std::log(value) - std::log(low)) / (std::log(high) - std::log(low))
                                     : (value - low) / (high - low);
    return 100 * std::clamp(share, 0.0, 1.0);
  }
};

/// An axis with about `wanted` ticks at round values. `widen` moves the ends out to ticks; `whole` asks for whole
/// numbers.
[[nodiscard]] inline chart_axis linear_axis(double low, double high, int wanted, bool widen, bool whole) {
  chart_axis axis{.low = low, .high = high};
  // Ticks closer together than the precision of a double would never end.
  if (widen && high - low <= (std::max)(1e-9 * (std::max)(std::abs(low), std::abs(high)), 1e-290)) {
    const double room = low == 0 && high == 0 ? 1 : (std::max)(0.1 * std::abs(low), 1e-290);
    axis.low = low -= room;
    axis.high = high += room;
  }
  const double raw = high > low ? (high - low) / wanted : 1;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = power * (raw <= power ? 1 : raw <= 2 * power ? 2 : raw <= 5 * power ? 5 : 10);
  if (whole) step = (std::max)(step, 1.0);
  if (widen) {
    axis.low = std::floor(low / step) * step;
    axis.high = std::ceil(high / step) * step;
  }
  const int decimals = (std::max)(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  const bool plain = decimals <= 6 && std::abs(axis.high) < 1e7;
  for (double k = std::ceil(axis.low / step - 1e-9) + 0.0; k * step <= axis.high + 1e-9 * step; ++k) {
    axis.ticks.push_back(k * step);
    axis.labels.push_back(plain ? fixed(k * step, decimals) : general(k * step));
  }
  return axis;
}

/// An axis with ticks at powers of ten. Both ends are above zero.
[[nodiscard]] inline chart_axis logarithmic_axis(double low, double high) {
  const double first = std::floor(std::log10(low) + 1e-9);
  const double last = (std::max)(first + 1, std::ceil(std::log10(high) - 1e-9));
  chart_axis axis{.low = std::pow(10, first), .high = std::pow(10, last), .logarithmic = true};
  const double step = std::ceil((last - first) / 6);
  for (double k = first; k <= last; k += step) {
    axis.ticks.push_back(std::pow(10, k));
    axis.labels.push_back(general(std::pow(10, k)));
  }
  return axis;
}

/// A line over whole numbers (steps, epochs).
struct line_chart {
  std::string_view id{};
  std::string_view title{};
  std::string_view x_name{};  ///< `step`
  std::string_view y_name{};  ///< `loss`
  std::vector<chart_point> points{};
  std::vector<chart_point> average{};  ///< a second, bolder line; may be empty
  std::vector<chart_point> others{};   ///< a line of marked points in another colour; may be empty
  std::string_view others_name{};      ///< `test, after each epoch`
  double broken_at = std::numeric_limits<double>::quiet_NaN();  ///< first x whose value is not finite; NaN: none
  bool percent = false;                                         ///< values are shares
  bool dots = false;                                            ///< whether points are marked
};

/// The points as path data in a field of 1000 x 1000, interrupted at missing values.
[[nodiscard]] inline std::string path_data(std::span<const chart_point> points, const chart_axis& x,
                                           const chart_axis& y, bool dots) {
  std::string data;
  bool drawing = false;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!std::isfinite(points[i].y)) {
      drawing = false;
      continue;
    }
    const std::string place =
        fixed(10 * x.at(points[i].x), 1).append(" ").append(fixed(1000 - 10 * y.at(points[i].y), 1));
    add(data, {drawing && !dots ? "L" : "M", place});
    // A stroke of zero length shows only its round ends: a dot, which stays round when the field is stretched.
    const bool alone = !drawing && (i + 1 == points.size() || !std::isfinite(points[i + 1].y));
    if (dots || alone) data.append("h0");
    drawing = true;
  }
  return data;
}

/// Appends the legend of a chart with more than one line.
inline void append_chart_legend(std::string& out, const line_chart& chart) {
  const bool broken = std::isfinite(chart.broken_at);
  if (chart.average.empty() && chart.others.empty() && !broken) return;
  out.append("<span class=\"legend\">");
  if (chart.average.empty() && !chart.others.empty()) out.append("<span><i class=\"bold\"></i>each step</span>");
  if (!chart.average.empty())
    out.append("<span><i class=\"faint\"></i>each step</span><span><i class=\"bold\"></i>moving average</span>");
  if (!chart.others.empty()) add(out, {"<span><i class=\"other\"></i>", escaped(chart.others_name), "</span>"});
  if (broken) add(out, {"<span><i class=\"broken\"></i>not finite</span>"});
  out.append("</span>");
}

/// Appends the chart as a figure, or nothing when no value is finite.
inline void append_line_chart(std::string& out, const line_chart& chart) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const auto* points : {&chart.points, &chart.others})
    for (const chart_point& p : *points) {
      if (!std::isfinite(p.y)) continue;
      low = (std::min)(low, p.y);
      high = (std::max)(high, p.y);
    }
  if (low > high) return;
  const bool logarithmic = !chart.percent && low > 1e-300 && high / low >= 100;
  chart_axis y = logarithmic
                     ? logarithmic_axis(low, high)
                     : linear_axis(chart.percent ? 100 * low : low, chart.percent ? 100 * high : high, 4, true, false);
  if (chart.percent) {
    y.low = (std::max)(y.low / 100, 0.0);
    y.high = (std::min)(y.high / 100, 1.0);
    for (double& tick : y.ticks) tick /= 100;
  }
  const chart_axis x = linear_axis(chart.points.front().x, chart.points.back().x, 5, false, true);

  add(out, {R"(<figure class="chart" id=")", chart.id, "\" data-x=\"", chart.x_name, "\" data-y=\"", chart.y_name, "\"",
            chart.percent ? " data-percent=\"yes\"" : "", ">\n<figcaption><b>", escaped(chart.title), "</b>",
            logarithmic ? " <span class=\"muted\">logarithmic</span>" : ""});
  append_chart_legend(out, chart);
  out.append("</figcaption>\n<div class=\"plot\"><div class=\"y\">");
  std::string grid;
  for (std::size_t i = 0; i < y.ticks.size(); ++i) {
    const double at = y.at(y.ticks[i]);
    if (y.ticks[i] > y.high * (1 + 1e-9) + 1e-12) continue;
    add(out, {"<span style=\"bottom:", fixed(at, 2), "%\">", y.labels[i], chart.percent ? " %" : "", "</span>"});
    add(grid, {"M0 ", fixed(1000 - 10 * at, 1), "h1000"});
  }
  add(out, {"</div><div class=\"area\">\n<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" ",
            "aria-label=\"", escaped(chart.title), ": from ", general(low), " to ", general(high),
            R"("><path class="grid" d=")", grid, "\"/><path class=\"line", chart.average.empty() ? "" : " faint",
            "\" d=\"", path_data(chart.points, x, y, false), "\"/>"});
  if (!chart.average.empty()) add(out, {R"(<path class="line" d=")", path_data(chart.average, x, y, false), "\"/>"});
  if (chart.dots) add(out, {R"(<path class="line dots" d=")", path_data(chart.points, x, y, true), "\"/>"});
  if (!chart.others.empty())
    add(out, {R"(<path class="line other" d=")", path_data(chart.others, x, y, false),
              R"("/><path class="line other dots" d=")", path_data(chart.others, x, y, true), "\"/>"});
  if (std::isfinite(chart.broken_at))
    add(out, {R"(<path class="broken" d="M)", fixed(10 * x.at(chart.broken_at), 1), " 0v1000\"/>"});
  out.append("</svg></div><div class=\"x\">");
  for (std::size_t i = 0; i < x.ticks.size(); ++i)
    add(out, {"<span style=\"left:", fixed(x.at(x.ticks[i]), 2), "%\">", x.labels[i], "</span>"});
  add(out, {"</div></div>\n<div class=\"x-name\">", chart.x_name, "</div>\n<script type=\"application/json\">["});
  bool first = true;
  for (const chart_point& p : chart.points) {
    if (!std::isfinite(p.y)) continue;
    add(out, {first ? "[" : ",[", fixed(x.at(p.x), 2), ",", fixed(y.at(p.y), 2), ",", fixed(p.x, 0), ",",
              general(p.y, 6), "]"});
    first = false;
  }
  out.append("]</script>\n</figure>\n");
}

/// One piece of a bar: its share of the whole width, its colour (`c0` to `c4` of the page's style) and its name.
struct bar_part {
  double share = 0;
  std::string_view colour{};
  std::string_view name{};
};

/// Appends a row: a label, a bar of parts side by side, a number.
inline void append_bar(std::string& out, std::string_view label, std::span<const bar_part> parts,
                       std::string_view number) {
  add(out, {R"(<div class="bar"><span class="label">)", escaped(label),
            R"(</span><svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label=")", escaped(label),
            R"("><rect class="track" width="1000" height="10"/>)"});
  double at = 0;
  for (const bar_part& part : parts) {
    const double share = std::isfinite(part.share) ? std::clamp(part.share, 0.0, (std::max)(0.0, 1 - at)) : 0.0;
    if (share > 0)
      add(out, {"<rect class=\"", part.colour, "\" x=\"", fixed(1000 * at, 2), "\" width=\"", fixed(1000 * share, 2),
                R"(" height="10"><title>)", escaped(part.name), " ", percent_text(part.share), "</title></rect>"});
    at += share;
  }
  add(out, {"</svg><span class=\"number\">", escaped(number), "</span></div>\n"});
}

}  // namespace lockstep::detail
