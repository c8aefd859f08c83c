// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <lockstep/backend/element_math.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/optim/adamw.hpp>
#include <lockstep/optim/check_option.hpp>
#include <lockstep/optim/matrix_rule.hpp>
#include <lockstep/optim/newton_schulz.hpp>

namespace lockstep {

/// Parameters of two extents: the weights of linear layers, not those of convolutions.
struct matrices {
  [[nodiscard]] static constexpr bool takes(std::string_view, const dims& shape) { return shape.rank == 2; }
};

/// The same, and the kernels of convolutions, as matrices of (outputs, all the rest).
struct matrices_and_kernels {
  [[nodiscard]] static constexpr bool takes(std::string_view, const dims& shape) { return shape.rank >= 2; }
};

/// What `Which` takes, without what one of `Others` takes: `all_but<matrices, like<"head.*">, like<"embedding.*">>`.
template <class Which, class... Others>
struct all_but {
  [[nodiscard]] static constexpr bool takes(std::string_view name, const dims& shape) {
    return Which::takes(name, shape) && !(Others::takes(name, shape) || ...);
  }
};

/// How muon's learning rate follows the shape (rows, columns) of a matrix.
enum class muon_rate : std::uint8_t {
  original,            ///< times sqrt(max(1, rows / columns))
  match_rms_adamw,     ///< times 0.2 sqrt(max(rows, columns)): the learning rates and decays of adamw fit
  spectral_unclamped,  ///< times sqrt(rows / columns)
};

namespace detail {

/// m += take * (g - m);  u = Nesterov ? g + mu * (m - g) : m.
template <class T, bool Nesterov>
struct muon_gather_rule {
  T take;  ///< 1 - momentum
  T mu;

  static constexpr bool takes_vectors = true;

  template <class V>
  LOCKSTEP_ALWAYS_INLINE constexpr void operator()(const V& g, V& u, V& m) const {
    LOCKSTEP_UNCONTRACTED
    m += take * (g - m);
    if constexpr (Nesterov)
      u = g + mu * (m - g);
    else
      u = m;
  }
};

}  // namespace detail

/// Muon (Jordan et al., 2024), as torch.optim.Muon, for the matrices that `Which` takes; `rest` updates all other
/// parameters. For a matrix W and its gradient G:
///   M = momentum * M + (1 - momentum) * G;  U = nesterov ? momentum * M + (1 - momentum) * G : M;
///   O = U with all singular values brought near 1, by `iterations` steps of Newton and Schulz;
///   W -= learning_rate * weight_decay * W;  W -= learning_rate * (a factor of W's shape, see `adjust`) * O.
/// PyTorch's rounds O to bfloat16 in every step; here it has the precision of the parameters. Each matrix is updated by
/// one replica. Needs a backend that multiplies_matrices: cpu.
template <class Which>
struct muon_for {
  double learning_rate = 1e-3;
  double weight_decay = 0.1;
  double momentum = 0.95;
  bool nesterov = true;
  std::array<double, 3> coefficients{3.4445, -4.7750, 2.0315};
  double eps = 1e-7;   ///< least norm that a matrix is divided by
  int iterations = 5;  ///< `ns_steps` of PyTorch
  muon_rate adjust = muon_rate::original;
  adamw rest{};  ///< for all other parameters

  static constexpr std::size_t max_states = adamw::max_states;
  static constexpr const char* kind = "muon";

  /// Calls f(name, value) for each option; those of `rest` have its name in front.
  template <class F>
  void each_option(const F& f) const {
    f("learning_rate", learning_rate);
    f("weight_decay", weight_decay);
    f("momentum", momentum);
    f("nesterov", nesterov);
    f("coefficients", coefficients);
    f("eps", eps);
    f("iterations", iterations);
    f("adjust", static_cast<int>(adjust));
    rest.each_option([&](std::string_view name, const auto& value) { f(std::string("rest.").append(name), value); });
  }

  [[nodiscard]] static constexpr bool takes_matrix(std::string_view name, const dims& shape) {
    return shape.rank >= 2 && Which::takes(name, shape);
  }

  /// Throws value_error for options that PyTorch refuses too.
  void check_options() const {
    detail::check_rate_and_decay("muon", learning_rate, weight_decay);
    detail::check_option(momentum >= 0, "muon", "a momentum of zero or more", momentum);
    detail::check_epsilon("muon", eps);
    detail::check_option(iterations >= 0 && iterations < 100, "muon", "from 0 to 99 iterations", iterations);
    rest.check_options();
  }

  /// State buffers in use: those of `rest`; a matrix has its momentum in the first.
  [[nodiscard]] std::size_t states() const noexcept { return rest.states(); }

  /// Multiplies the learning rates and the weight decays of both optimizers.
  void scale(double rate, double decay) {
    learning_rate *= rate;
    weight_decay *= decay;
    rest.learning_rate *= rate;
    rest.weight_decay *= decay;
  }

  /// The rule of `rest`.
  template <class T, class With>
  void rule(std::int64_t step, const With& with) const {
    rest.template rule<T>(step, with);
  }

  /// Calls with(matrix_rules) for a matrix of these extents; `rate` and `decay` multiply the learning rate and the
  /// weight decay.
  template <class T, class With>
  void matrix_rule(std::int64_t, double rate, double decay, std::int64_t rows, std::int64_t columns,
                   const With& with) const {
    const double now = learning_rate * rate;
    const detail::newton_schulz iteration{coefficients, eps, iterations};
    const detail::combine_rule<T> update{static_cast<T>(1 - now * weight_decay * decay),
                                         static_cast<T>(-now * factor(rows, columns))};
    const auto give = [&]<bool Nesterov>() {
      const detail::muon_gather_rule<T, Nesterov> gather{static_cast<T>(1 - momentum), static_cast<T>(momentum)};
      with(detail::matrix_rules<detail::muon_gather_rule<T, Nesterov>, detail::combine_rule<T>>{gather, 0, iteration,
                                                                                                update});
    };
    if (nesterov)
      give.template operator()<true>();
    else
      give.template operator()<false>();
  }

 private:
  [[nodiscard]] double factor(std::int64_t rows, std::int64_t columns) const {
    const auto a = static_cast<double>(rows);
    const auto b = static_cast<double>(columns);
    switch (adjust) {
      case muon_rate::match_rms_adamw:
        return 0.2 * std::sqrt((std::max)(a, b));
      case muon_rate::spectral_unclamped:
        return std::sqrt(a / b);
      case muon_rate::original:
        break;
    }
    return std::sqrt((std::max)(1.0, a / b));
  }
};

/// Muon for all parameters of two extents. Of most networks it should leave out the last layer and embeddings:
/// `muon_for<all_but<matrices, like<"head.*">>>`.
using muon = muon_for<matrices>;

}  // namespace lockstep
