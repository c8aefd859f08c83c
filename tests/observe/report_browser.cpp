// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/observe/report.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "io/io_support.hpp"
#include "observe/report_support.hpp"
#include "support/catch.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

/// The path of a browser that can dump a page, or nothing.
std::string browser() {
  const char* path = std::getenv("PATH");
  const std::string folders = path == nullptr ? "" : path;
  for (const char* name : {"chromium", "google-chrome"})
    for (std::size_t at = 0; at < folders.size();) {
      const std::size_t end = std::min(folders.find(':', at), folders.size());
      const auto file = std::filesystem::path(folders.substr(at, end - at)) / name;
      std::error_code ignored;
      if (std::filesystem::is_regular_file(file, ignored)) return file.string();
      at = end + 1;
    }
  return {};
}

/// What a page looks like to a browser once its scripts have run.
std::string opened(const std::string& program, const temporary_folder& folder, const std::string& page) {
  std::ofstream(folder / "page.html", std::ios::binary) << page;
  const std::string command = "timeout 100 '" + program +
                              "' --headless --no-sandbox --disable-gpu --window-size=1300,900 --user-data-dir='" +
                              (folder / "profile") + "' --dump-dom 'file://" + (folder / "page.html") + "' > '" +
                              (folder / "dom") + "' 2> /dev/null";
  return std::system(command.c_str()) == 0 ? slurp(folder / "dom") : std::string();
}

/// A page that shows `page` in a frame that many pixels wide. A browser's own window has a least width.
std::string framed(const std::string& page, int width) {
  return "<!DOCTYPE html><html><body><iframe width=\"" + std::to_string(width) +
         "\" height=\"900\" style=\"border: 0\" srcdoc=\"" + ls::detail::escaped(page) + "\"></iframe></body></html>";
}

}  // namespace

TEST_CASE("a browser shows the charts of a report without an error") {
  const std::string program = browser();
  if (program.empty()) LOCKSTEP_SKIP("neither chromium nor google-chrome is in PATH");
  const temporary_folder folder;
  if (!has(opened(program, folder, "<p>a probe</p>"), "<p>a probe</p>"))
    LOCKSTEP_SKIP("the browser cannot open a file of a temporary folder here");

  // The pointer at the right edge of the first chart, and in the middle of the second.
  const std::string page = ls::report_html(good_data());
  const std::string moves = R"js(<script>
    [["#loss", 1], ["#accuracy", 0.5]].forEach(([chart, part]) => {
      const area = document.querySelector(chart + " .area");
      const box = area.getBoundingClientRect();
      area.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + part * box.width }));
    });
  </script>)js";
  std::string with_pointer = page;
  with_pointer.insert(page.find("</body>"), moves);
  const std::string dom = opened(program, folder, with_pointer);
  CHECK(has(dom, "data-ready=\"yes\""));
  CHECK_FALSE(has(dom, "data-script-error"));
  CHECK(count(dom, "<svg") == count(page, "<svg"));
  CHECK(count(dom, "<rect") == count(page, "<rect"));
  CHECK(count(dom, "<path class=\"line") == count(page, "<path class=\"line"));
  CHECK(has(dom, ">step 300: loss 0.626566</div>"));
  CHECK(has(dom, ">epoch 2: accuracy 50.00 %</div>"));

  // The check sees an error when there is one.
  std::string broken = page;
  broken.insert(page.find("</body>"), "<script>no_such_function()</script>");
  CHECK(has(opened(program, folder, broken), "data-script-error"));
}

TEST_CASE("a report fits wide and narrow windows, and breaks no number in two") {
  const std::string program = browser();
  if (program.empty()) LOCKSTEP_SKIP("neither chromium nor google-chrome is in PATH");
  const temporary_folder folder;
  if (!has(opened(program, folder, "<p>a probe</p>"), "<p>a probe</p>"))
    LOCKSTEP_SKIP("the browser cannot open a file of a temporary folder here");

  // Says how wide the window is, what reaches beyond it, and which numbers with their units lie on two lines.
  const std::string measure = R"js(<script>
    const told = { width: innerWidth, beyond: [], broken: [], numbers: 0 };
    document.querySelectorAll("details").forEach(each => { each.open = true; });
    document.querySelectorAll("main *").forEach(each => {
      if (each.getBoundingClientRect().right > innerWidth + 0.5) told.beyond.push(each.tagName + each.className);
    });
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.parentElement.closest("script")) continue;
      for (const match of node.data.matchAll(/[0-9][0-9.,:e+-]*[0-9]([ \u00A0](%|ms|s|min|h|KiB|MiB|B|\u00B5s)(?![a-z]))?|[0-9]/g)) {
        const range = document.createRange();
        range.setStart(node, match.index);
        range.setEnd(node, match.index + match[0].length);
        const lines = new Set(Array.from(range.getClientRects(), box => Math.round(box.top)));
        ++told.numbers;
        if (lines.size > 1) told.broken.push(match[0]);
      }
    }
    parent.document.documentElement.dataset.told = JSON.stringify(told).replaceAll('"', "");
  </script>)js";
  auto good = good_data();
  good.parameters = 1'234'567'890'123;
  good.samples_per_s = 123'456'789;
  good.loader_wait = 0.41;
  good.facts = {{"data", "CIFAR-10 in /home/someone/a/rather/long/folder/with/data/cifar-10-batches-bin"},
                {"optimizer", "sgd, learning rate 0.0123456, momentum 0.98765, weight decay 0.00012345"}};
  auto diverged = good;
  diverged.losses = {2.5, 1e20, no_number};
  diverged.diverged = ls::find_divergence({.losses = diverged.losses, .learning_rate = 1000});
  for (const auto* data : {&good, &diverged})
    for (const int width : {400, 1200}) {
      std::string page = ls::report_html(*data);
      page.insert(page.find("</body>"), measure);
      const std::string dom = opened(program, folder, framed(page, width));
      const auto at = dom.find("data-told=");
      REQUIRE(at != std::string::npos);
      const std::string told = dom.substr(at, dom.find('>', at) - at);
      INFO(told);
      CHECK(has(told, "{width:" + std::to_string(width) + ","));
      CHECK(has(told, "beyond:[],"));
      CHECK(has(told, "broken:[],"));
      CHECK_FALSE(has(told, "numbers:0"));
    }
}

TEST_CASE("a browser fits the text of a drawn network into its boxes, in either of its widths") {
  const std::string program = browser();
  if (program.empty()) LOCKSTEP_SKIP("neither chromium nor google-chrome is in PATH");
  const temporary_folder folder;
  if (!has(opened(program, folder, "<p>a probe</p>"), "<p>a probe</p>"))
    LOCKSTEP_SKIP("the browser cannot open a file of a temporary folder here");

  // Says which texts reach out of their boxes, and how many of each there are on the page and in sight.
  const std::string measure = R"js(<script>
    const told = { out: [], boxes: 0, texts: 0, drawings: 0 };
    document.querySelectorAll(".plan-drawing").forEach(each => {
      if (each.getBoundingClientRect().width > 0) ++told.drawings;
    });
    document.querySelectorAll(".plan-drawing .node, .plan-drawing .input").forEach(each => {
      const box = each.querySelector("rect.box").getBoundingClientRect();
      if (box.width === 0) return;
      ++told.boxes;
      each.querySelectorAll("text").forEach(text => {
        const place = text.getBoundingClientRect();
        ++told.texts;
        if (box.left > place.left || place.right > box.right || box.top > place.top || place.bottom > box.bottom)
          told.out.push(text.textContent);
      });
    });
    parent.document.documentElement.dataset.told = JSON.stringify(told).replaceAll('"', "");
  </script>)js";
  auto data = good_data();
  data.plan.clear();
  for (int i = 0; i < 60; ++i)
    data.plan.push_back({.layer = std::string("a.rather.long.name.").append(std::to_string(i)).append(".WWWWW"),
                         .kind = "WWWWWWWWWWWWWWWWWWWWWWWWW+WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW, frozen",
                         .sample = "1 -> 1",
                         .output = "1024x1024x1024",
                         .parameters = 1'234'567'890,
                         .reads = {i - 1}});
  for (const int width : {400, 1200}) {
    std::string page = ls::report_html(data);
    page.insert(page.find("</body>"), measure);
    const std::string dom = opened(program, folder, framed(page, width));
    const auto at = dom.find("data-told=");
    REQUIRE(at != std::string::npos);
    const std::string told = dom.substr(at, dom.find('>', at) - at);
    INFO(told);
    CHECK(has(told, "out:[],boxes:61,texts:242,drawings:1}"));
  }
}
