// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <string>
#include <vector>

/// \file
/// A plan as boxes, lines and frames, in pixels.

namespace lockstep::detail {

struct plan_point {
  double x = 0;
  double y = 0;
};

/// A node, or an input of the user's.
struct plan_box {
  int node = 0;  ///< below zero for an input
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

/// A value that node `to` reads from node `from`: a line with right angles.
struct plan_edge {
  int from = 0;
  int to = 0;
  std::vector<plan_point> points{};
};

/// Where the pass waits for the statistics of the whole batch.
struct plan_cut {
  int segment = 0;  ///< the one that begins here
  plan_point left{};
  double right = 0;
};

/// Neighbouring nodes of one block.
struct plan_frame {
  std::string name{};
  plan_box box{};
};

struct plan_drawing {
  double width = 0;
  double height = 0;
  std::vector<plan_box> boxes{};
  std::vector<plan_edge> edges{};
  std::vector<plan_cut> cuts{};
  std::vector<plan_frame> frames{};
};

}  // namespace lockstep::detail
