// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/plan_svg.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/lockstep.hpp>

#include "observe/report_support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

struct rectangle {
  double x = 0, y = 0, width = 0, height = 0;
  [[nodiscard]] double right() const { return x + width; }
  [[nodiscard]] double bottom() const { return y + height; }
};

struct shown_text {
  double left = 0, right = 0, y = 0;
  std::string text{};
};

struct shown_box {
  int node = 0;  ///< -1 for the input
  rectangle place{};
  std::vector<shown_text> texts{};
};

struct shown_edge {
  int from = 0, to = 0;
  std::vector<std::pair<double, double>> points{};  ///< without the arrow head
};

/// What can be read from a drawing.
struct shown_plan {
  double width = 0, height = 0;
  std::vector<shown_box> boxes{};
  std::vector<shown_edge> edges{};
};

std::string attribute(std::string_view tag, const std::string& name) {
  const std::string begin = " " + name + "=\"";
  const std::size_t at = tag.find(begin);
  REQUIRE(at != std::string_view::npos);
  const std::size_t first = at + begin.size();
  return std::string(tag.substr(first, tag.find('"', first) - first));
}
double number(std::string_view tag, const std::string& name) { return std::atof(attribute(tag, name).c_str()); }

/// The corners of a path of straight lines and rounded corners, whose arrow head begins with `m`.
std::vector<std::pair<double, double>> corners(const std::string& data) {
  std::vector<std::pair<double, double>> points;
  std::vector<double> numbers;
  const char* at = data.c_str();
  while (*at != '\0' && *at != 'm') {
    char* end = nullptr;
    const double n = std::strtod(at, &end);
    if (end == at)
      ++at;
    else
      numbers.push_back(n), at = end;
  }
  for (std::size_t i = 0; i + 1 < numbers.size(); i += 2) points.emplace_back(numbers[i], numbers[i + 1]);
  return points;
}

/// Characters as a font of fixed width shows them. The drawing uses ASCII, and an ellipsis.
std::size_t characters(const std::string& text) {
  std::size_t all = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U) continue;
    ++all;
    if (text[i] == '&') i = text.find(';', i);
  }
  return all;
}

shown_plan read(const std::string& svg) {
  shown_plan shown;
  std::string_view rest = svg;
  bool in_box = false;
  while (rest.find('<') != std::string_view::npos) {
    rest.remove_prefix(rest.find('<'));
    const std::string_view tag = rest.substr(0, rest.find('>'));
    rest.remove_prefix(tag.size() + 1);
    if (tag.starts_with("<svg")) {
      shown.width = number(tag, "width");
      shown.height = number(tag, "height");
    } else if (tag.starts_with("<g ")) {
      in_box = true;
      shown.boxes.push_back({.node = has(tag, "data-node") ? static_cast<int>(number(tag, "data-node")) : -1});
    } else if (tag == "</g") {
      in_box = false;
    } else if (tag.starts_with("<rect class=\"box")) {
      shown.boxes.back().place = {number(tag, "x"), number(tag, "y"), number(tag, "width"), number(tag, "height")};
    } else if (tag.starts_with("<text") && in_box) {
      const std::string classes = has(tag, "class=") ? attribute(tag, "class") : "";
      const std::string text(rest.substr(0, rest.find('<')));
      // Of the usual fonts, DejaVu Sans Mono has the widest characters: 0.602 of the size.
      const double length = 0.602 * (has(classes, "small") ? 11 : 12) * static_cast<double>(characters(text));
      const double x = number(tag, "x");
      const bool ends = has(classes, "end");
      shown.boxes.back().texts.push_back({ends ? x - length : x, ends ? x : x + length, number(tag, "y"), text});
    } else if (tag.starts_with("<path class=\"read\"")) {
      shown.edges.push_back({static_cast<int>(number(tag, "data-from")), static_cast<int>(number(tag, "data-to")),
                             corners(attribute(tag, "d"))});
    }
  }
  return shown;
}

bool touches(const rectangle& box, const std::pair<double, double>& point) {
  constexpr double near = 0.11;  // numbers have one digit after the point
  const auto [x, y] = point;
  const bool in_width = x >= box.x - near && x <= box.right() + near;
  const bool in_height = y >= box.y - near && y <= box.bottom() + near;
  const bool on_side = std::abs(x - box.x) < near || std::abs(x - box.right()) < near;
  const bool on_edge = std::abs(y - box.y) < near || std::abs(y - box.bottom()) < near;
  return in_width && in_height && (on_side || on_edge);
}

/// True when a line between two points passes through the inside of a box.
bool passes(const rectangle& box, std::pair<double, double> a, std::pair<double, double> b) {
  constexpr double inside = 0.2;
  return (std::max)(a.first, b.first) > box.x + inside && (std::min)(a.first, b.first) < box.right() - inside &&
         (std::max)(a.second, b.second) > box.y + inside && (std::min)(a.second, b.second) < box.bottom() - inside;
}

/// How often lines of different values lie on each other over some length, so that nobody could tell them apart.
int lines_on_lines(const shown_plan& shown) {
  struct piece {
    int from;
    double x, y, right, bottom;
  };
  std::vector<piece> pieces;
  for (const shown_edge& edge : shown.edges)
    for (std::size_t p = 1; p < edge.points.size(); ++p) {
      const auto [ax, ay] = edge.points[p - 1];
      const auto [bx, by] = edge.points[p];
      if (ax == bx || ay == by)  // not a part of a rounded corner
        pieces.push_back({edge.from, (std::min)(ax, bx), (std::min)(ay, by), (std::max)(ax, bx), (std::max)(ay, by)});
    }
  int found = 0;
  constexpr double apart = 0.5;
  for (const piece& a : pieces)
    for (const piece& b : pieces) {
      if (a.from >= b.from) continue;
      const double width = (std::min)(a.right, b.right) - (std::max)(a.x, b.x);
      const double height = (std::min)(a.bottom, b.bottom) - (std::max)(a.y, b.y);
      // Lines that cross share a point alone.
      const bool along = a.x == a.right && b.x == b.right && width > -apart && height > apart;
      const bool across = a.y == a.bottom && b.y == b.bottom && height > -apart && width > apart;
      found += along || across ? 1 : 0;
    }
  return found;
}

const rectangle& box_of(const shown_plan& shown, int node) {
  const auto found =
      std::find_if(shown.boxes.begin(), shown.boxes.end(), [&](const auto& b) { return b.node == node; });
  REQUIRE(found != shown.boxes.end());
  return found->place;
}

/// Checks all that must hold for the drawing of any plan: nothing is missing, no box or line lies on another, each line
/// leads from the box that it says to the other and through none.
void check_drawing(const std::string& svg, const std::vector<ls::plan_row>& plan, double width) {
  CHECK(fault_of("<!DOCTYPE html>" + svg).empty());
  const shown_plan shown = read(svg);
  CHECK(shown.width <= width);

  std::vector<int> nodes;
  for (const shown_box& box : shown.boxes) nodes.push_back(box.node);
  std::sort(nodes.begin(), nodes.end());
  std::vector<int> expected_nodes{-1};
  for (std::size_t i = 0; i < plan.size(); ++i) expected_nodes.push_back(static_cast<int>(i));
  CHECK(nodes == expected_nodes);

  std::vector<std::pair<int, int>> reads;
  for (std::size_t i = 0; i < plan.size(); ++i)
    for (const int from : plan[i].reads) reads.emplace_back(from, static_cast<int>(i));
  std::vector<std::pair<int, int>> lines;
  for (const shown_edge& edge : shown.edges) lines.emplace_back(edge.from, edge.to);
  std::sort(reads.begin(), reads.end());
  std::sort(lines.begin(), lines.end());
  CHECK(lines == reads);
  CHECK(count(svg, "class=\"cut\"") == plan.back().segment);

  int overlaps = 0, outside = 0, overflows = 0, misses = 0, through = 0;
  for (std::size_t i = 0; i < shown.boxes.size(); ++i) {
    const rectangle& a = shown.boxes[i].place;
    outside += a.x < 0 || a.y < 0 || a.right() > shown.width + 0.5 || a.bottom() > shown.height + 0.5 ? 1 : 0;
    for (std::size_t k = 0; k < i; ++k) {
      const rectangle& b = shown.boxes[k].place;
      overlaps += a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom() ? 1 : 0;
    }
    const auto& texts = shown.boxes[i].texts;
    for (std::size_t t = 0; t < texts.size(); ++t) {
      overflows += texts[t].left < a.x || texts[t].right > a.right() || texts[t].y > a.bottom() ? 1 : 0;
      for (std::size_t u = 0; u < t; ++u)
        overflows += texts[t].y == texts[u].y && texts[t].left < texts[u].right && texts[u].left < texts[t].right;
    }
  }
  for (const shown_edge& edge : shown.edges) {
    REQUIRE(edge.points.size() >= 2);
    misses += touches(box_of(shown, edge.from), edge.points.front()) ? 0 : 1;
    misses += touches(box_of(shown, edge.to), edge.points.back()) ? 0 : 1;
    for (std::size_t p = 1; p < edge.points.size(); ++p) {
      const auto [x, y] = edge.points[p];
      outside += x < 0 || y < 0 || x > shown.width + 0.5 || y > shown.height + 0.5 ? 1 : 0;
      for (const shown_box& box : shown.boxes) through += passes(box.place, edge.points[p - 1], edge.points[p]) ? 1 : 0;
    }
  }
  CHECK(lines_on_lines(shown) == 0);
  CHECK(overlaps == 0);
  CHECK(outside == 0);
  CHECK(overflows == 0);
  CHECK(misses == 0);
  CHECK(through == 0);
}

template <class Model, class Backend = ls::cpu>
void check_model() {
  const auto plan = ls::plan_rows<Model, Backend>();
  for (const double width : {200., 346., 700., 1036., 3000.}) {
    INFO("width " << width);
    check_drawing(ls::plan_svg<Model, Backend>({.width = width}), plan, width);
  }
}

template <int C>
using conv = ls::conv2d<C, 3, ls::padding<1>>;
template <class Inner>
using down_and_up =
    ls::concat<ls::identity,
               ls::sequential<ls::named<"down", conv<4>>, ls::relu, Inner, ls::named<"up", conv<4>>, ls::relu>>;
using bottom = ls::sequential<conv<8>, ls::relu>;
using nested = ls::model<ls::sequential<conv<4>, ls::relu, down_and_up<down_and_up<down_and_up<bottom>>>, conv<2>>,
                         ls::input<3, 8, 8>, ls::mean_squared_error>;

using normalised = ls::sequential<ls::named<"conv1", conv<4>>, ls::named<"bn1", ls::batch_norm2d<>>, ls::relu,
                                  ls::named<"conv2", conv<4>>, ls::named<"bn2", ls::batch_norm2d<>>>;
using shortcut = ls::named<"downsample", ls::sequential<ls::conv2d<4, 1>, ls::batch_norm2d<>>>;
using residuals =
    ls::model<ls::sequential<
                  ls::named<"layer1", ls::repeat<4, ls::sequential<ls::named<"", ls::residual<normalised>>, ls::relu>>>,
                  ls::named<"layer2", ls::repeat<2, ls::residual<normalised, shortcut>>>, ls::flatten,
                  ls::named<"fc", ls::linear<5>>>,
              ls::input<4, 6, 6>, ls::cross_entropy>;

using branches = ls::model<ls::sequential<ls::concat<conv<2>, ls::sequential<conv<2>, ls::relu, conv<3>>, ls::identity,
                                                     ls::sum<conv<2>, ls::identity, conv<2>, ls::identity>>,
                                          ls::flatten, ls::linear<3>>,
                           ls::input<2, 5, 5>, ls::cross_entropy>;

using chain = ls::model<ls::sequential<ls::repeat<50, ls::sequential<ls::linear<8>, ls::dropout<>>>, ls::linear<4>>,
                        ls::input<8>, ls::cross_entropy>;

}  // namespace

TEST_CASE("a drawn plan has a box for each node and a line for each value that it reads") {
  check_model<small>();
  check_model<small, ls::reference<double>>();  // without changes of order
  check_model<nested>();
  check_model<residuals>();
  check_model<branches>();
  check_model<chain>();
}

TEST_CASE("a drawn plan tells what its nodes are") {
  const std::string svg = ls::plan_svg<small>();
  CHECK(has(svg, ">conv1</text>"));
  CHECK(has(svg, ">conv2d+relu</text>"));
  CHECK(has(svg, ">4x4x4</text>"));
  CHECK(has(svg, ">76</text>"));
  CHECK(has(svg, "<title>fc, linear, 64 -&gt; 10, 650 parameters, "));
  CHECK(has(svg, "<title>input 2x6x6</title>"));
  CHECK(count(svg, "class=\"kind c0\"") == 1);                                          // the convolution
  CHECK(count(svg, "class=\"kind c2\"") == 1);                                          // the linear layer
  CHECK(count(ls::plan_svg<residuals>(), "class=\"kind c1\"") == 2 * (4 * 2 + 2 * 3));  // measured, and normalised
  // Alone, it brings its colours, which no viewer needs variables for.
  CHECK(has(svg, "prefers-color-scheme: dark"));
  CHECK_FALSE(has(svg, "var("));
  CHECK(has(svg, ".c0 { fill: #2f6fde; }"));
  CHECK(has(svg, ".c0 { fill: #6c9ff4; }"));
}

TEST_CASE("a drawn plan names several inputs, each with its own extents") {
  using two = ls::model<ls::sequential<ls::concat<ls::from<"image", ls::flatten>, ls::from<"words">>, ls::linear<3>>,
                        ls::inputs<ls::named<"image", ls::input<2, 4, 3>>, ls::named<"words", ls::input<5>>>,
                        ls::cross_entropy>;
  const std::string svg = ls::plan_svg<two>();
  CHECK(has(svg, "<title>input image 2x4x3</title>"));
  CHECK(has(svg, "<title>input words 5</title>"));
  CHECK(has(svg, ">image</text>"));
  CHECK(has(svg, ">2x4x3</text>"));
  CHECK(has(svg, ">words</text>"));
}

TEST_CASE("a drawn plan frames the layers of a block") {
  const std::string svg = ls::plan_svg<residuals>({.width = 400});
  CHECK(count(svg, "class=\"block\"") == 6);
  for (const char* name : {">layer1.0</text>", ">layer1.3</text>", ">layer2.1</text>"}) CHECK(count(svg, name) == 1);
  CHECK(count(ls::plan_svg<small>(), "class=\"block\"") == 0);
  CHECK(ls::detail::block_of("layer1.0.conv1") == "layer1.0");
  CHECK(ls::detail::block_of("layer1.0.downsample.0") == "layer1.0");
  CHECK(ls::detail::block_of("h.11.attn.c_attn") == "h.11");
  CHECK(ls::detail::block_of("features.3") == "features");
  CHECK(ls::detail::block_of("fc").empty());
  CHECK(ls::detail::block_of("3").empty());
}

TEST_CASE("a drawn plan breaks a long chain into columns of about the same height") {
  const shown_plan wide = read(ls::plan_svg<chain>());
  const shown_plan narrow = read(ls::plan_svg<chain>({.width = 346}));
  CHECK(wide.height < 0.3 * narrow.height);
  CHECK(wide.width > 900);
  // A short network has one column, of the same boxes on any page.
  CHECK(ls::plan_svg<small>() == ls::plan_svg<small>({.width = 346}));
}

TEST_CASE("a drawn plan escapes and shortens what does not fit") {
  std::vector<ls::plan_row> plan;
  const std::string odd = "<a href=\"x\">&'\x01";
  plan.push_back({.layer = odd, .kind = odd, .sample = odd + " -> 1", .output = odd, .parameters = 1, .reads = {-1}});
  plan.push_back({.layer = std::string(300, 'W'),
                  .kind = std::string(300, 'k'),
                  .sample = "1 -> 2",
                  .output = std::string(300, '8'),
                  .parameters = 123'456'789'012'345'678,
                  .reads = {0}});
  plan.push_back({.layer = "block.11.attention.projection.very.long.inner.name",
                  .kind = "linear",
                  .sample = "2 -> 2",
                  .output = "1024x1024",
                  .reads = {1, 0}});
  plan.push_back({.kind = std::string(300, 'k'), .sample = "2 -> 2", .output = "1024x1024", .reads = {2}});
  for (const double width : {200., 346., 1036.}) {
    std::string svg;
    ls::detail::append_plan_svg(svg, plan, width, true);
    check_drawing(svg, plan, width);
    CHECK(has(svg, "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\uFFFD"));
  }
  using ls::detail::fitted;
  using ls::detail::fitted_path;
  CHECK(fitted("12345", 5) == "12345");
  CHECK(fitted("123456", 5) == "123\u2026");
  CHECK(fitted("123456", 1).empty());
  CHECK(fitted("\u4E2D\u4E2D\u4E2D", 6) == "\u4E2D\u4E2D\u4E2D");
  CHECK(fitted("\u4E2D\u4E2D\u4E2D", 5) == "\u4E2D\u2026");
  CHECK(fitted_path("layer1.0.bn1", 12) == "layer1.0.bn1");
  CHECK(fitted_path("layer1.0.bn1", 10) == "\u2026.0.bn1");
  CHECK(fitted_path("layer1.0.bn1", 7) == "\u2026.bn1");
  CHECK(fitted_path("layer2.0.downsample.1", 10) == "\u2026sample.1");
  CHECK(fitted_path("\u4E2D\u4E2D\u4E2D", 5) == "\u2026\u4E2D");
}

TEST_CASE("a width that no drawing fits is refused") {
  CHECK_THROWS_WITH((ls::plan_svg<small>({.width = 199})),
                    "lockstep: plan_svg: expected a width of 200 to 1e6 pixels, got 199");
  CHECK_THROWS_AS((ls::plan_svg<small>({.width = no_number})), ls::value_error);
}
