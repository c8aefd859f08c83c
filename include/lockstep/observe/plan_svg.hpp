// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/backend/backend.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/model/plan_table.hpp>
#include <lockstep/observe/plan_layout.hpp>
#include <lockstep/observe/summary.hpp>
#include <lockstep/observe/svg_style.hpp>
#include <lockstep/observe/svg_text.hpp>

/// \file
/// Draws a plan as SVG.

namespace lockstep {

/// How to draw a plan.
struct plan_svg_options {
  double width = 1040;  ///< pixels that the drawing may take; it takes fewer if it needs fewer
};

namespace detail {

/// Cells of a fixed-width font that a character takes; its first byte is given. Characters outside ASCII may be wide.
[[nodiscard]] inline std::size_t cells_of(char first) { return static_cast<unsigned char>(first) < 0x80 ? 1 : 2; }
[[nodiscard]] inline bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// Cells that a text takes.
[[nodiscard]] inline std::size_t cells_of(std::string_view text) {
  std::size_t cells = 0;
  for (const char c : text) cells += continues_character(c) ? 0 : cells_of(c);
  return cells;
}

/// A text in at most that many cells; an ellipsis stands for what is left out at its end.
[[nodiscard]] inline std::string fitted(std::string_view text, std::size_t cells) {
  if (cells_of(text) <= cells) return std::string(text);
  if (cells < 2) return {};
  while (cells_of(text) > cells - 2) {  // an ellipsis is outside ASCII
    while (continues_character(text.back())) text.remove_suffix(1);
    text.remove_suffix(1);
  }
  return std::string(text).append("\u2026");
}

/// A path in at most that many cells; an ellipsis stands for what is left out at its beginning: whole names, unless
/// that would waste half of the room.
[[nodiscard]] inline std::string fitted_path(std::string_view path, std::size_t cells) {
  if (cells_of(path) <= cells) return std::string(path);
  if (cells < 3) return {};
  std::string_view end = path;
  while (cells_of(end) > cells - 2) {  // an ellipsis is outside ASCII
    do end.remove_prefix(1);
    while (!end.empty() && continues_character(end.front()));
  }
  const std::size_t dot = end.find('.');
  if (dot != std::string_view::npos && 2 * cells_of(end.substr(dot)) >= cells) end.remove_prefix(dot);
  return std::string("\u2026").append(end);
}

/// The colour of a node: that of convolutions, of normalisations, of other layers with parameters, or of the rest.
[[nodiscard]] inline std::string_view colour_of(const plan_row& node) {
  if (node.kind.starts_with("conv")) return "c0";
  if (node.kind.find("norm") != std::string::npos) return "c1";
  return node.parameters > 0 ? "c2" : "c3";
}

/// Widths of a character of the fixed-width fonts, which differ a little, with room to spare.
inline constexpr double plan_cell = 7.3;        ///< at 12 px
inline constexpr double plan_small_cell = 6.7;  ///< at 11 px
inline constexpr double plan_name_cell = 6.1;   ///< at 10 px

inline void append_text(std::string& out, std::string_view classes, double x, double y, std::string_view text) {
  if (text.empty()) return;
  add(out, {"<text", classes.empty() ? "" : " class=\"", classes, classes.empty() ? "" : "\"", " x=\"", fixed(x, 1),
            "\" y=\"", fixed(y, 1), "\">", escaped(text), "</text>"});
}

inline void append_rectangle(std::string& out, std::string_view classes, const plan_box& box, double radius) {
  add(out, {"<rect class=\"", classes, "\" x=\"", fixed(box.x, 1), "\" y=\"", fixed(box.y, 1), "\" width=\"",
            fixed(box.width, 1), "\" height=\"", fixed(box.height, 1), "\" rx=\"", fixed(radius, 1), "\"/>"});
}

/// Text at the left and at the right edge of a box; the latter keeps up to half of the room.
struct box_line {
  double y = 0;
  double cell = 0;
  std::string_view classes{};  ///< of the left text
  std::string_view left{};
  bool is_path = false;
  std::string_view right_classes{};
  std::string_view right{};
};
inline void append_line(std::string& out, const plan_box& box, const box_line& line) {
  constexpr double before = 14;
  constexpr double after = 9;
  const auto cells = static_cast<std::size_t>((std::max)(0.0, (box.width - before - after) / line.cell));
  const std::string right = fitted(line.right, cells / 2);
  const std::size_t taken = right.empty() ? 0 : cells_of(right) + 1;
  const std::size_t room = cells > taken ? cells - taken : 0;
  append_text(out, line.classes, box.x + before, line.y,
              line.is_path ? fitted_path(line.left, room) : fitted(line.left, room));
  append_text(out, line.right_classes, box.x + box.width - after, line.y, right);
}

inline void append_input(std::string& out, std::span<const plan_row> plan, const plan_box& box) {
  plan_input input;
  for (const plan_row& node : plan)
    for (const plan_input& each : node.inputs)
      if (each.value == box.node) input = each;
  const std::string name = input.name.empty() ? "input" : input.name;
  add(out, {"<g class=\"input\"><title>", input.name.empty() ? "" : "input ", escaped(name), " ", input.extents,
            "</title>"});
  append_rectangle(out, "box", box, box.height / 2);
  append_line(out, box,
              {.y = box.y + box.height / 2 + 4,
               .cell = plan_small_cell,
               .classes = "small muted",
               .left = name,
               .right_classes = "small end",
               .right = input.extents});
  out.append("</g>\n");
}

inline void append_node(std::string& out, std::span<const plan_row> plan, const plan_box& box) {
  if (box.node < 0) return append_input(out, plan, box);
  const plan_row& node = plan[static_cast<std::size_t>(box.node)];
  const std::string parameters = node.parameters > 0 ? grouped(node.parameters) : std::string();
  std::string tip = node.layer.empty() ? node.kind : node.layer + ", " + node.kind;
  tip.append(", ").append(node.sample);
  if (!parameters.empty()) tip.append(", ").append(parameters).append(" parameters");
  if (node.forward_flops > 0) tip.append(", ").append(grouped(node.forward_flops)).append(" flops");
  add(out, {"<g class=\"node\" data-node=\"", std::to_string(box.node), "\"><title>", escaped(tip), "</title>"});
  append_rectangle(out, node.measures ? "box measures" : "box", box, 5);
  append_rectangle(out, std::string("kind ").append(colour_of(node)),
                   {box.node, box.x + 5, box.y + 5, 3, box.height - 10}, 1.5);
  box_line line{.y = box.y + box.height / 2 + 4,
                .cell = plan_small_cell,
                .classes = "small",
                .left = node.kind,
                .right_classes = "small end",
                .right = node.output};
  if (node.measures) {
    line.left = node.layer, line.is_path = true;
    line.right = "measured", line.right_classes = "small muted end";
  } else if (!node.layer.empty()) {
    append_line(out, box,
                {.y = box.y + 17,
                 .cell = plan_cell,
                 .classes = "name",
                 .left = node.layer,
                 .is_path = true,
                 .right_classes = "end",
                 .right = node.output});
    line.y = box.y + 33;
    line.classes = "small muted", line.right_classes = "small muted end";
    line.right = parameters;
  }
  append_line(out, box, line);
  out.append("</g>\n");
}

/// A line with rounded corners and an open arrow head.
inline void append_edge(std::string& out, const plan_edge& edge) {
  constexpr double radius = 6;
  const std::vector<plan_point>& points = edge.points;
  const auto place = [](double x, double y) { return fixed(x, 1).append(" ").append(fixed(y, 1)); };
  const auto length = [](const plan_point& a, const plan_point& b) {
    return std::abs(a.x - b.x) + std::abs(a.y - b.y);
  };
  std::string data = "M" + place(points.front().x, points.front().y);
  for (std::size_t i = 1; i + 1 < points.size(); ++i) {
    const plan_point& at = points[i];
    const double before = length(points[i - 1], at);
    const double after = length(at, points[i + 1]);
    if (before == 0 || after == 0) continue;
    const double r = (std::min)({radius, before / 2, after / 2});
    const auto towards = [&](const plan_point& other, double distance) {
      return place(at.x + (other.x - at.x) * r / distance, at.y + (other.y - at.y) * r / distance);
    };
    add(data, {"L", towards(points[i - 1], before), "Q", place(at.x, at.y), " ", towards(points[i + 1], after)});
  }
  const plan_point& end = points.back();
  add(data, {"L", place(end.x, end.y)});
  const plan_point& last = points[points.size() - 2];
  if (last.x == end.x)
    add(data, {"m-3.5 -5l3.5 5l3.5 -5"});
  else
    add(data, {last.x > end.x ? "m5 -3.5l-5 3.5l5 3.5" : "m-5 -3.5l5 3.5l-5 3.5"});
  add(out, {"<path class=\"read\" data-from=\"", std::to_string(edge.from), "\" data-to=\"", std::to_string(edge.to),
            "\" d=\"", data, "\"/>\n"});
}

/// Appends the drawing, for a page that has `plan_style`, or as a file of its own if `alone`.
inline void append_plan_svg(std::string& out, std::span<const plan_row> plan, double width, bool alone) {
  const plan_drawing drawn = plan_layout(plan, width).draw();
  const std::string w = fixed(drawn.width, 0);
  const std::string h = fixed(drawn.height, 0);
  add(out, {"<svg", alone ? " xmlns=\"http://www.w3.org/2000/svg\"" : "", " class=\"plan-drawing\" width=\"", w,
            "\" height=\"", h, "\" viewBox=\"0 0 ", w, " ", h,
            "\" role=\"img\" aria-label=\"the network: ", std::to_string(plan.size()), " nodes\">\n"});
  if (alone)
    add(out, {"<style>", coloured(plan_style, light_colours), "@media (prefers-color-scheme: dark) {",
              coloured(plan_style, dark_colours), "}</style>\n"});
  add(out, {"<rect class=\"back\" width=\"", w, "\" height=\"", h, "\"/>\n"});
  for (const plan_frame& frame : drawn.frames) {
    append_rectangle(out, "block", frame.box, 8);
    const auto cells = static_cast<std::size_t>((frame.box.width - 40) / plan_name_cell);
    append_text(out, "tiny muted end", frame.box.x + frame.box.width - 8, frame.box.y + 12,
                fitted_path(frame.name, cells));
    out += '\n';
  }
  for (const plan_cut& cut : drawn.cuts) {
    add(out, {"<path class=\"cut\" d=\"M", fixed(cut.left.x, 1), " ", fixed(cut.left.y, 1), "H", fixed(cut.right, 1),
              "\"><title>segment ", std::to_string(cut.segment),
              " begins when the statistics of the whole batch are known</title></path>\n"});
  }
  for (const plan_edge& edge : drawn.edges) append_edge(out, edge);
  for (const plan_box& box : drawn.boxes) append_node(out, plan, box);
  out.append("</svg>\n");
}

}  // namespace detail

/// Returns a drawing of a network's plan as SVG that stands alone, in light or dark colours as the viewer wants them.
/// Each node is a box (PyTorch's name of the layer, what it does, the extents of a sample of its output, its
/// parameters), each value that a node reads a line; the nodes are those of `plan_table`, with all that fuses fused.
/// Where a pass waits for the statistics of a batch, a dashed line cuts the drawing. Long networks take several
/// columns. Throws value_error for a width below 200.
template <class Model, class Backend = cpu>
[[nodiscard]] std::string plan_svg(const plan_svg_options& options = {}) {
  if (!(options.width >= 200) || options.width > 1e6)
    throw value_error("plan_svg", "a width of 200 to 1e6 pixels", detail::general(options.width));
  std::string out;
  detail::append_plan_svg(out, plan_rows<Model, Backend>(), options.width, true);
  return out;
}

}  // namespace lockstep
