// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include <lockstep/lockstep.hpp>

#include "support/user_layer.hpp"

/// \file
/// A model that fails on demand.

namespace lockstep_test {

namespace ls = lockstep;

enum class pass_kind { forward, backward };

/// A user's layer: the identity, which throws in one of its passes when it meets a value above 500.
template <pass_kind Where>
struct trap : same_extents {
  static constexpr std::string_view kind = "trap";

  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}

    void forward(context&, const ls::pass&, const value* x, const value*, value* y) {
      if (Where == pass_kind::forward) look(x);
      std::copy_n(x, count_, y);
    }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      if (Where == pass_kind::backward) look(a.x);
      std::copy_n(a.dy, count_, a.dx);
    }

   private:
    void look(const value* x) const {
      if (std::any_of(x, x + count_, [](value v) { return v > value{500}; }))
        throw std::out_of_range("a value above 500");
    }

    std::int64_t count_;
  };
};

template <pass_kind Where>
using trapped = ls::model<ls::sequential<ls::linear<4>, trap<Where>, ls::linear<3>>, ls::input<5>, ls::cross_entropy>;

/// A value that the first linear layer turns into one above 500, whatever its weights.
inline constexpr float marker = 1e7F;

/// Gives the first layer weights of one sign, so that the marker cannot come out negative.
template <class Trainer>
void make_trap_certain(Trainer& trainer) {
  auto weight = trainer.parameters().at("0.weight");
  auto values = weight.values();
  for (float& v : values) v = std::abs(v) + 0.01F;
  weight.assign(values);
}

}  // namespace lockstep_test
