// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/observe/plan_drawing.hpp>
#include <lockstep/observe/summary.hpp>

/// \file
/// Where the boxes and lines of a drawn plan lie. Nodes stand one below the other in the order of execution. A value
/// that the next node reads runs straight down; one that is read later runs past in a lane to the right of the boxes. A
/// long network is broken into columns. All lengths are in pixels.

namespace lockstep::detail {

/// The block that a layer belongs to, by its path: `layer1.0` of `layer1.0.conv1` and of `layer1.0.downsample.0`,
/// `features` of `features.3`; empty when it belongs to none.
[[nodiscard]] inline std::string_view block_of(std::string_view path) {
  const std::size_t last = path.rfind('.');
  if (last == std::string_view::npos) return {};
  const std::string_view parents = path.substr(0, last);
  // The innermost repetition: the last name among the parents that is a number.
  for (std::size_t end = parents.size(); end > 0;) {
    const std::size_t dot = parents.substr(0, end).rfind('.');
    const std::size_t begin = dot == std::string_view::npos ? 0 : dot + 1;
    const std::string_view name = parents.substr(begin, end - begin);
    if (!name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos) return parents.substr(0, end);
    end = begin > 0 ? begin - 1 : 0;
  }
  return parents;
}

/// Places a plan's nodes and edges within a width.
class plan_layout {
 public:
  plan_layout(std::span<const plan_row> plan, double width) : plan_(plan) {
    list_rows();
    list_values();
    for (std::size_t most = plan.size();; --most) {
      choose_columns(width, most);
      if (columns_.size() == 1 || box_ >= least_box) break;
      most = columns_.size();
    }
  }

  [[nodiscard]] plan_drawing draw() {
    plan_drawing drawn;
    place_boxes(drawn);
    draw_edges(drawn);
    return drawn;
  }

 private:
  static constexpr double least_box = 200;
  static constexpr double most_box = 300;
  static constexpr double wanted_height = 1100;  ///< of a column; longer ones only when there is no room for more
  static constexpr double pad = 8;               ///< between a column's edge and its boxes: room for frames
  static constexpr double trunk = 24;            ///< of the straight lines, from a box's left edge
  static constexpr double inset = 48;            ///< of the boxes that measure, which the trunk passes
  static constexpr double gap = 18;              ///< between two boxes
  static constexpr double cut_gap = 30;          ///< where the pass is cut
  static constexpr double name_height = 16;      ///< of a frame's name
  static constexpr double lane_room = 9;
  static constexpr double most_lane_room = 100;  ///< for all lanes

  struct row {
    int node = 0;
    double height = 0;
    std::string block{};
    double space = 0;  ///< above the box
    bool cut = false;  ///< a segment begins here
    bool opens = false;
    std::size_t column = 0;
    double y = 0;
  };
  /// A value that is read elsewhere than just below.
  struct value {
    std::size_t first = 0;  ///< the row that computes it
    std::size_t last = 0;   ///< the last row that reads it past other rows
    int lane = -1;          ///< -1: it runs straight down
  };

  [[nodiscard]] const plan_row& node_of(const row& r) const { return plan_[static_cast<std::size_t>(r.node)]; }
  [[nodiscard]] bool measures(std::size_t i) const { return rows_[i].node >= 0 && node_of(rows_[i]).measures; }

  void list_rows() {
    std::vector<int> inputs;
    for (const plan_row& node : plan_)
      for (const int from : node.reads)
        if (from < 0 && std::find(inputs.begin(), inputs.end(), from) == inputs.end()) inputs.push_back(from);
    for (const int input : inputs) rows_.push_back({.node = input, .height = 26});
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      const plan_row& node = plan_[i];
      row& added = rows_.emplace_back();
      added.node = static_cast<int>(i);
      added.height = node.layer.empty() || node.measures ? 26 : 42;
      const row* const before = i > 0 ? &rows_[rows_.size() - 2] : nullptr;
      // A sum, or a change of order, goes with the layers before it.
      if (!node.layer.empty())
        added.block = block_of(node.layer);
      else if (before != nullptr)
        added.block = before->block;
      added.cut = before != nullptr && node.segment != plan_[i - 1].segment;
    }
    row_of_.resize(plan_.size());
    for (std::size_t r = 0; r < rows_.size(); ++r)
      if (rows_[r].node >= 0) row_of_[static_cast<std::size_t>(rows_[r].node)] = r;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      row& each = rows_[r];
      if (!each.block.empty() && (r == 0 || rows_[r - 1].block != each.block)) {
        std::size_t end = r;
        int layers = 0;
        for (; end < rows_.size() && rows_[end].block == each.block; ++end)
          layers += node_of(rows_[end]).layer.empty() ? 0 : 1;
        each.opens = layers > 1;
        // A layer alone is no block.
        for (std::size_t k = r; k < end && !each.opens; ++k) rows_[k].block.clear();
      }
      each.space = (each.cut ? cut_gap : gap) + (each.opens ? name_height : 0);
    }
  }

  [[nodiscard]] std::size_t row_of(int node) const {
    if (node >= 0) return row_of_[static_cast<std::size_t>(node)];
    std::size_t r = 0;
    while (rows_[r].node != node) ++r;
    return r;
  }
  /// True when a straight line from one row to another passes nothing, or only boxes that it can pass.
  [[nodiscard]] bool straight(std::size_t from, std::size_t to) const {
    for (std::size_t r = from + 1; r < to; ++r)
      if (!measures(r)) return false;
    return true;
  }

  /// Gives lanes to the values that need one: those that are read soonest get the ones next to the boxes.
  void list_values() {
    values_.resize(rows_.size());
    std::vector<std::size_t> long_ones;
    for (std::size_t r = 0; r < rows_.size(); ++r) values_[r] = {r, r};
    for (std::size_t to = 0; to < rows_.size(); ++to) {
      if (rows_[to].node < 0) continue;
      for (const int from : node_of(rows_[to]).reads)
        if (const std::size_t r = row_of(from); !straight(r, to)) values_[r].last = (std::max)(values_[r].last, to);
    }
    for (const value& v : values_)
      if (v.last > v.first) long_ones.push_back(v.first);
    std::stable_sort(long_ones.begin(), long_ones.end(), [&](std::size_t a, std::size_t b) {
      return values_[a].last - values_[a].first < values_[b].last - values_[b].first;
    });
    for (std::size_t i = 0; i < long_ones.size(); ++i) {
      value& v = values_[long_ones[i]];
      const auto taken = [&](int lane) {
        return std::any_of(long_ones.begin(), long_ones.begin() + static_cast<std::ptrdiff_t>(i), [&](std::size_t k) {
          const value& other = values_[k];
          return other.lane == lane && other.first < v.last && v.first < other.last;
        });
      };
      v.lane = 0;
      while (taken(v.lane)) ++v.lane;
      lanes_ = (std::max)(lanes_, v.lane + 1);
    }
    lane_room_ = lanes_ > 0 ? (std::min)(lane_room, most_lane_room / lanes_) : 0.0;
  }

  [[nodiscard]] double lanes_width() const { return lanes_ * lane_room_; }

  /// The values that go from the rows before `r` to others from `r` on, in the order of their lanes, straight ones
  /// first.
  [[nodiscard]] std::vector<int> crossing(std::size_t r) const {
    std::vector<int> lanes;
    const auto add_lane = [&](int lane) {
      if (std::find(lanes.begin(), lanes.end(), lane) == lanes.end()) lanes.push_back(lane);
    };
    for (std::size_t to = r; to < rows_.size(); ++to) {
      if (rows_[to].node < 0) continue;
      for (const int from : node_of(rows_[to]).reads) {
        const std::size_t f = row_of(from);
        if (f < r) add_lane(straight(f, to) ? -1 : values_[f].lane);
      }
    }
    std::sort(lanes.begin(), lanes.end());
    return lanes;
  }

  /// Breaks the rows into at most `most` columns of about the same height, where few values cross and few blocks are
  /// torn apart.
  void choose_columns(double width, std::size_t most) {
    double total = 0;
    for (const row& each : rows_) total += each.space + each.height;
    const double least = least_box + 2 * pad + lanes_width();
    const auto room = static_cast<std::size_t>((std::max)(1.0, (width + 28) / (least + 28)));
    const auto wanted = static_cast<std::size_t>(std::ceil(total / wanted_height));
    const std::size_t count = (std::max)(std::size_t{1}, (std::min)({room, wanted, most, rows_.size()}));
    columns_ = {0};
    gutters_.clear();
    double done = 0;
    std::size_t r = 0;
    for (std::size_t c = 1; c < count; ++c) {
      const double ideal = total * static_cast<double>(c) / static_cast<double>(count);
      double best = std::numeric_limits<double>::infinity();
      std::size_t at = 0;
      double height = done;
      for (std::size_t k = r; k + 1 < rows_.size(); ++k) {
        height += rows_[k].space + rows_[k].height;
        if (std::abs(height - ideal) > total / static_cast<double>(count) / 3 + 60) continue;
        const row& next = rows_[k + 1];
        const double cost = std::abs(height - ideal) + 40 * static_cast<double>(crossing(k + 1).size()) +
                            (!next.block.empty() && !next.opens ? 60 : 0) + (measures(k) ? 200 : 0);
        if (cost < best) best = cost, at = k + 1;
      }
      if (at <= columns_.back()) continue;
      for (; r < at; ++r) done += rows_[r].space + rows_[r].height;
      columns_.push_back(at);
      gutters_.push_back(crossing(at));
    }
    double between = 0;
    for (const auto& lanes : gutters_) between += gutter_width(lanes);
    box_ = (std::min)(most_box, (width - between) / static_cast<double>(columns_.size()) - 2 * pad - lanes_width());
    box_ = (std::max)(box_, 60.0);
  }
  [[nodiscard]] static double gutter_width(const std::vector<int>& lanes) {
    return 12 + 8 * static_cast<double>(lanes.size());
  }

  void place_boxes(plan_drawing& drawn) {
    std::size_t crossings = 0;
    for (const auto& lanes : gutters_) crossings = (std::max)(crossings, lanes.size());
    top_ = crossings > 0 ? 10 + 8 * static_cast<double>(crossings) : 4;
    double x = 0;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::size_t end = c + 1 < columns_.size() ? columns_[c + 1] : rows_.size();
      lefts_.push_back(x + pad);
      double y = top_;
      for (std::size_t r = columns_[c]; r < end; ++r) {
        row& each = rows_[r];
        const bool first = r == columns_[c];
        if (first && !each.block.empty()) each.opens = true;  // a block goes on here
        y += first ? (each.opens ? name_height : 0) + (c > 0 ? 8 : 0) : each.space;
        each.column = c;
        each.y = y;
        if (each.cut) {
          const double above = first ? y - (each.opens ? name_height : 0) - 8 : y - each.space + 12;
          drawn.cuts.push_back({node_of(each).segment, {x, above}, x + 2 * pad + box_ + lanes_width()});
        }
        place_frame(drawn, r);
        const double indent = measures(r) ? inset : 0;
        drawn.boxes.push_back({each.node, lefts_[c] + indent, y, box_ - indent, each.height});
        y += each.height;
      }
      bottoms_.push_back(y);
      x += 2 * pad + box_ + lanes_width();
      drawn.width = x;
      if (c < gutters_.size()) x += gutter_width(gutters_[c]);
      drawn.height =
          (std::max)(drawn.height, y + (c < gutters_.size() ? 12 + 8 * static_cast<double>(gutters_[c].size()) : pad));
    }
  }

  void place_frame(plan_drawing& drawn, std::size_t r) {
    const row& each = rows_[r];
    if (each.block.empty()) return;
    if (each.opens) {
      drawn.frames.push_back(
          {each.block,
           {each.node, lefts_[each.column] - 6, each.y - name_height - 1, box_ + 12, name_height + 7 + each.height}});
      return;
    }
    plan_box& frame = drawn.frames.back().box;
    frame.height = each.y + each.height + 6 - frame.y;
  }

  [[nodiscard]] double lane_x(std::size_t column, int lane) const {
    if (lane < 0) return lefts_[column] + trunk;
    return lefts_[column] + box_ + pad + (lane + 0.5) * lane_room_;
  }

  /// From the bottom of a column to the top of the next one, between them. The order of the lines keeps them apart: the
  /// one that begins furthest left takes the widest turn.
  void cross(std::vector<plan_point>& points, std::size_t column, int lane) const {
    const std::vector<int>& lanes = gutters_[column];
    const auto at = static_cast<double>(std::find(lanes.begin(), lanes.end(), lane) - lanes.begin());
    const double turn = 8 * (static_cast<double>(lanes.size()) - 1 - at);
    const double bottom = bottoms_[column] + 10 + turn;
    const double x = lefts_[column] + box_ + pad + lanes_width() + 10 + turn;
    const double top = top_ - 6 - 8 * at;
    points.push_back({lane_x(column, lane), bottom});
    points.push_back({x, bottom});
    points.push_back({x, top});
    points.push_back({lane_x(column + 1, lane), top});
  }

  void draw_edges(plan_drawing& drawn) const {
    for (std::size_t to = 0; to < rows_.size(); ++to) {
      if (rows_[to].node < 0) continue;
      const std::vector<int>& reads = node_of(rows_[to]).reads;
      // Lines enter from the right one below the other, those of the outer lanes last, so that they do not cross.
      std::vector<int> lanes;
      for (const int from : reads)
        if (!straight(row_of(from), to)) lanes.push_back(values_[row_of(from)].lane);
      std::sort(lanes.begin(), lanes.end());
      for (const int from : reads) {
        const auto rank = static_cast<double>(std::lower_bound(lanes.begin(), lanes.end(), values_[row_of(from)].lane) -
                                              lanes.begin());
        const double share = lanes.size() > 1 ? rank / static_cast<double>(lanes.size() - 1) : 0.5;
        drawn.edges.push_back(edge(from, to, share));
      }
    }
  }

  /// `share`: where the line enters from the right, from the top of the box (0) to somewhat below its middle (1).
  [[nodiscard]] plan_edge edge(int from_node, std::size_t to, double share) const {
    const std::size_t from = row_of(from_node);
    const row& source = rows_[from];
    const row& target = rows_[to];
    const bool is_straight = straight(from, to);
    const int lane = is_straight ? -1 : values_[from].lane;
    plan_edge made{from_node, target.node, {}};
    std::vector<plan_point>& points = made.points;
    if (is_straight) {
      points.push_back({lane_x(source.column, -1), source.y + source.height});
    } else {
      const double y = source.y + 0.8 * source.height;
      points.push_back({lefts_[source.column] + box_, y});
      points.push_back({lane_x(source.column, lane), y});
    }
    for (std::size_t c = source.column; c < target.column; ++c) cross(points, c, lane);
    if (is_straight && !measures(to)) {
      points.push_back({lane_x(target.column, -1), target.y});
    } else {
      const double y = target.y + (is_straight ? 0.5 : 0.15 + 0.4 * share) * target.height;
      points.push_back({lane_x(target.column, lane), y});
      points.push_back({lefts_[target.column] + (is_straight ? inset : box_), y});
    }
    return made;
  }

  std::span<const plan_row> plan_;
  std::vector<row> rows_;
  std::vector<std::size_t> row_of_;
  std::vector<value> values_;  ///< by row
  int lanes_ = 0;
  double lane_room_ = 0;
  std::vector<std::size_t> columns_;       ///< the first row of each
  std::vector<std::vector<int>> gutters_;  ///< the lanes of the values that go from each column to the next
  double box_ = 0;                         ///< width of a box
  double top_ = 0;
  std::vector<double> lefts_;
  std::vector<double> bottoms_;
};

}  // namespace lockstep::detail
