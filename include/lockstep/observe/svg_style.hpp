// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <string>
#include <string_view>

/// \file
/// The style sheet of a page, and its script, which shows the value under the pointer. Neither contains `<` or `&`, so
/// that the page is also XML.

namespace lockstep::detail {

/// The colours, by name.
inline constexpr std::string_view light_colours =
    "--back: #f6f7f8; --card: #ffffff; --text: #1b1d21; --muted: #5b6168; --line: #dfe2e6; --c0: #2f6fde; "
    "--c1: #d9730d; --c2: #13866a; --c3: #8d949c; --c4: #dde1e6; --warn: #b45309; --warn-back: #fff7ec; "
    "--bad: #b3261e; --bad-back: #fdeeec;";
inline constexpr std::string_view dark_colours =
    "--back: #131518; --card: #1c1f23; --text: #e8eaed; --muted: #a0a7af; --line: #32373d; --c0: #6c9ff4; "
    "--c1: #ef9a45; --c2: #46bf9b; --c3: #7d858e; --c4: #363c43; --warn: #f3b561; --warn-back: #2a241a; "
    "--bad: #ff8a80; --bad-back: #33191a;";

/// A style sheet with the colours themselves in place of `var(--name)`, for viewers that know no variables.
[[nodiscard]] inline std::string coloured(std::string_view style, std::string_view colours) {
  constexpr std::string_view begin = "var(";
  std::string out;
  for (std::size_t at = style.find(begin); at != std::string_view::npos; at = style.find(begin)) {
    const std::size_t end = style.find(')', at);
    const std::string name = std::string(style.substr(at + begin.size(), end - at - begin.size())) + ": ";
    const std::string_view value = colours.substr(colours.find(name) + name.size());
    out.append(style.substr(0, at)).append(value.substr(0, value.find(';')));
    style.remove_prefix(end + 1);
  }
  return out.append(style);
}

/// The style of a drawn plan.
inline constexpr std::string_view plan_style = R"css(
.plan-drawing { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.plan-drawing text { fill: var(--text); }
.plan-drawing .name { font-weight: 600; }
.plan-drawing .small { font-size: 11px; }
.plan-drawing .tiny { font-size: 10px; }
.plan-drawing .muted { fill: var(--muted); }
.plan-drawing .end { text-anchor: end; }
.plan-drawing .back { fill: var(--card); }
.plan-drawing .block { fill: var(--back); stroke: var(--line); }
.plan-drawing .box { fill: var(--card); stroke: var(--c3); }
.plan-drawing .measures { stroke-dasharray: 3 2; }
.plan-drawing .read { fill: none; stroke: var(--c3); stroke-width: 1.5px; }
.plan-drawing .cut { fill: none; stroke: var(--c1); stroke-dasharray: 6 4; }
.plan-drawing .c0 { fill: var(--c0); }
.plan-drawing .c1 { fill: var(--c1); }
.plan-drawing .c2 { fill: var(--c2); }
.plan-drawing .c3 { fill: var(--c3); }
)css";

inline constexpr std::string_view page_style = R"css(
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.6em; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.1em; margin: 0 0 12px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 16px 0 0; min-width: 0; }
p { margin: 0 0 10px; }
pre { margin: 8px 0 0; padding: 0; font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  color: var(--muted); white-space: pre-wrap; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 12px;
  flex: 1 0 auto; min-width: 96px; max-width: 220px; }
.tiles dt { color: var(--muted); font-size: 0.87em; }
.tiles dd { margin: 0; font-size: 1.2em; font-weight: 600; white-space: nowrap; font-variant-numeric: tabular-nums; }
.facts { columns: 2 380px; column-gap: 32px; margin: 0; }
.facts div { display: grid; grid-template-columns: 8.5em 1fr; gap: 0 12px; padding: 1px 0; break-inside: avoid; }
.facts dt { color: var(--muted); }
.facts dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 0 16px; }
.advice { border-left: 4px solid var(--warn); background: var(--warn-back); border-radius: 6px; padding: 10px 14px;
  margin: 0 0 10px; }
.advice p { margin: 4px 0 0; }
.advice:last-child, .chart, section > p:last-child { margin-bottom: 0; }
#diverged { border: 1px solid var(--bad); border-left-width: 6px; background: var(--bad-back); }
#diverged h2 { color: var(--bad); margin: 0 0 6px; }
#diverged p { overflow-wrap: break-word; }
figure.chart { margin: 0; }
figcaption { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: baseline; margin: 0 0 24px; }
#broken-losses { margin: 12px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 0.87em; color: var(--muted); }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin: 0 6px 0 0;
  background: var(--c0); }
figcaption .legend { margin-left: auto; }
.legend .faint, .legend .bold, .legend .other, .legend .broken { width: 18px; height: 3px; margin: 0 6px 3px 0; }
.legend .other { background: var(--c1); }
.legend .broken { background: repeating-linear-gradient(90deg, var(--bad) 0 4px, transparent 4px 7px); }
.legend .faint { opacity: 0.4; }
.plot { display: grid; grid-template-columns: 3.6em 1fr; grid-template-rows: 240px 1.6em; margin: 0 14px 0 0; }
.plot .y, .plot .x { position: relative; color: var(--muted); font-size: 0.8em; font-variant-numeric: tabular-nums; }
.plot .y span { position: absolute; right: 8px; transform: translateY(50%); line-height: 1; white-space: nowrap; }
.plot .x { grid-column: 2; }
.plot .x span { position: absolute; top: 6px; transform: translateX(-50%); line-height: 1; }
.x-name { text-align: center; color: var(--muted); font-size: 0.8em; padding-left: 3.6em; }
.area { position: relative; touch-action: pan-y; }
.area svg { display: block; width: 100%; height: 100%; overflow: visible; }
.area path { fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; stroke-linecap: round; }
.grid { stroke: var(--line); stroke-width: 1px; }
.line { stroke: var(--c0); stroke-width: 2px; }
.line.faint { stroke-width: 1px; opacity: 0.4; }
.line.dots { stroke-width: 8px; }
.line.other { stroke: var(--c1); }
.broken { stroke: var(--bad); stroke-width: 2px; stroke-dasharray: 5 4; }
.mark { position: absolute; width: 10px; height: 10px; margin: 0 0 -5px -5px; border-radius: 50%;
  background: var(--c0); border: 2px solid var(--card); pointer-events: none; }
.tip { position: absolute; top: -6px; transform: translate(-50%, -100%); padding: 1px 8px; border-radius: 6px;
  background: var(--text); color: var(--card); font-size: 0.8em; white-space: nowrap; pointer-events: none; }
.bar { display: grid; grid-template-columns: 8.5em 1fr 5em; gap: 10px; align-items: center; margin: 0 0 8px; }
.bar svg { display: block; width: 100%; height: 20px; border-radius: 4px; }
.bar rect { stroke: var(--card); stroke-width: 1px; vector-effect: non-scaling-stroke; }
.bar .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar .label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.track { fill: var(--line); opacity: 0.5; }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.c4 { fill: var(--c4); }
.legend .c0 { background: var(--c0); } .legend .c1 { background: var(--c1); } .legend .c2 { background: var(--c2); }
.legend .c3 { background: var(--c3); } .legend .c4 { background: var(--c4); }
.bars { margin: 14px 0 0; }
.wide { overflow-x: auto; }
.plan-drawing { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.narrow-page { display: none; }
@media (max-width: 900px) {
  .wide-page { display: none; }
  .narrow-page { display: block; }
}
table { border-collapse: collapse; width: 100%; font-size: 0.93em; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 500; }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
.left { text-align: left; }
details { margin: 10px 0 0; }
summary { color: var(--muted); cursor: pointer; }
@media (max-width: 560px) {
  main { padding: 16px 12px 32px; }
  section { padding: 14px; }
  .tiles div { flex: 1 0 calc(50% - 5px); min-width: max-content; max-width: none; }
  .facts div { grid-template-columns: 8.7em 1fr; gap: 0 6px; }
  .plot { grid-template-rows: 200px 1.6em; }
  thead { display: none; }
  table, tbody { display: block; }
  tr { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 8px 0; border-bottom: 1px solid var(--line); }
  tr:last-child { border-bottom: 0; }
  td { display: block; padding: 0; border: 0; text-align: left; min-width: calc((100% - 36px) / 3); }
  td:first-child { flex: 1 0 100%; }
  td:empty { display: none; }
  td.left { white-space: normal; overflow-wrap: anywhere; }
  td::before { display: block; content: attr(data-name); color: var(--muted); font-size: 0.85em; }
  .bar { grid-template-columns: 1fr auto; gap: 2px 10px; }
  .bar svg { grid-row: 2; grid-column: 1 / 3; }
}
)css";

inline constexpr std::string_view page_script = R"js(
(() => {
  const root = document.documentElement;
  addEventListener("error", event => { root.dataset.scriptError = event.message; });
  document.querySelectorAll("figure.chart").forEach(figure => {
    const points = JSON.parse(figure.querySelector("script").textContent);
    const area = figure.querySelector(".area");
    const add = name => {
      const element = document.createElement("div");
      element.className = name;
      element.hidden = true;
      return area.appendChild(element);
    };
    const mark = add("mark");
    const tip = add("tip");
    area.addEventListener("pointermove", event => {
      const box = area.getBoundingClientRect();
      const at = 100 * (event.clientX - box.left) / box.width;
      let near = points[0];
      points.forEach(point => { if (Math.abs(near[0] - at) > Math.abs(point[0] - at)) near = point; });
      const value = figure.dataset.percent ? (100 * near[3]).toFixed(2) + " %" : near[3];
      mark.style.left = near[0] + "%";
      mark.style.bottom = near[1] + "%";
      tip.textContent = figure.dataset.x + " " + near[2] + ": " + figure.dataset.y + " " + value;
      mark.hidden = tip.hidden = false;
      const half = 50 * tip.offsetWidth / box.width;
      tip.style.left = Math.min(Math.max(near[0], half), 100 - half) + "%";
    });
    area.addEventListener("pointerleave", () => { mark.hidden = tip.hidden = true; });
  });
  root.dataset.ready = "yes";
})();
)js";

}  // namespace lockstep::detail
