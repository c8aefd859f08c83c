// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/step_values.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/core/fixed_string.hpp>
#include <lockstep/core/sample_pack.hpp>
#include <lockstep/core/shape.hpp>
#include <lockstep/nn/loss/members.hpp>
#include <lockstep/nn/real.hpp>

namespace lockstep {

/// A loss whose mean counts `Weight` times in a sum of losses: `weighted<0.5, named<"box", mean_squared_error>>`.
template <real Weight, class Loss>
struct weighted {
  using weighted_loss = Loss;
  static constexpr double own_weight = Weight.value();
};

namespace detail {

/// Takes a part of `losses` apart: the loss, its name (none: empty) and its weight.
template <class Part>
struct loss_part {
  using loss = Part;
  static constexpr std::string_view name{};
  static constexpr double weight = 1;
};
template <class Part>
  requires requires { typename Part::weighted_loss; }
struct loss_part<Part> : loss_part<typename Part::weighted_loss> {
  static constexpr double weight = Part::own_weight * loss_part<typename Part::weighted_loss>::weight;
};
template <class Part>
  requires requires {
    typename Part::named_layer;
    Part::own_name;
  }
struct loss_part<Part> : loss_part<typename Part::named_layer> {
  static constexpr std::string_view name = Part::own_name;
};

/// The position of a name among names, or their number.
template <std::size_t Count>
[[nodiscard]] constexpr std::size_t position_of(std::string_view name,
                                                const std::array<std::string_view, Count>& names) {
  std::size_t k = 0;
  while (k < Count && names[k] != name) ++k;
  return k;
}

}  // namespace detail

/// The losses of a network that ends with `outputs`, one for each output. The loss of a step is the sum of their means,
/// each times its weight. Each mean has the denominator that its loss has alone.
///
/// Losses that are `named` belong to the outputs of their names, in any order; without names they belong to the outputs
/// in their order. A weight is 1 unless `weighted` gives another, and may be changed before a trainer takes the object:
///
///     losses<named<"class", cross_entropy>, weighted<0.5, named<"box", mean_squared_error>>> loss;
///     loss.get<"class">().label_smoothing = 0.1F;
///     loss.weight<"box">() = 0.25;
template <class... Parts>
class losses {
 public:
  static constexpr std::string_view kind = "losses";
  static constexpr std::size_t count = sizeof...(Parts);
  static constexpr std::array<std::string_view, count> names{detail::loss_part<Parts>::name...};

  template <std::size_t K>
  using loss = std::tuple_element_t<K, std::tuple<typename detail::loss_part<Parts>::loss...>>;

  losses() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): braces around the losses are enough.
  losses(typename detail::loss_part<Parts>::loss... each)
    requires(count > 0)
      : each_(std::move(each)...) {}

  /// A loss by its position or by its name.
  template <std::size_t K>
  [[nodiscard]] auto& get() noexcept {
    return std::get<K>(each_);
  }
  template <std::size_t K>
  [[nodiscard]] const auto& get() const noexcept {
    return std::get<K>(each_);
  }
  template <fixed_string Name>
  [[nodiscard]] auto& get() noexcept {
    return std::get<position<Name>()>(each_);
  }
  template <fixed_string Name>
  [[nodiscard]] const auto& get() const noexcept {
    return std::get<position<Name>()>(each_);
  }

  /// The weight of a loss.
  template <std::size_t K>
  [[nodiscard]] double& weight() noexcept {
    return std::get<K>(weights_);
  }
  template <std::size_t K>
  [[nodiscard]] double weight() const noexcept {
    return std::get<K>(weights_);
  }
  template <fixed_string Name>
  [[nodiscard]] double& weight() noexcept {
    return std::get<position<Name>()>(weights_);
  }
  template <fixed_string Name>
  [[nodiscard]] double weight() const noexcept {
    return std::get<position<Name>()>(weights_);
  }

 private:
  template <fixed_string Name>
  static consteval std::size_t position() {
    constexpr std::size_t k = detail::position_of(Name.view(), names);
    static_assert(k < count, "lockstep: losses: none of them has this name (Name)");
    return k < count ? k : 0;
  }

  std::tuple<typename detail::loss_part<Parts>::loss...> each_;
  std::array<double, count> weights_{detail::loss_part<Parts>::weight...};
};

namespace detail {

template <class Loss>
inline constexpr bool are_losses = false;
template <class... Parts>
inline constexpr bool are_losses<losses<Parts...>> = true;

template <std::size_t K, class Op>
struct loss_slot {
  Op op;

  template <class Context, class Loss>
  loss_slot(Context& c, const Loss& loss) : op(c, loss) {}
};

/// The targets of the losses of a joint_loss.
template <class Joint, class T, class Indices>
struct joint_targets;
template <class Joint, class T, std::size_t... K>
struct joint_targets<Joint, T, std::index_sequence<K...>> {
  using types = std::tuple<typename Joint::template part<K>::template target_type<T>...>;
  using pack = sample_pack<element_counts<Joint::template part<K>::target_size(Joint::extents[K])...>,
                           const typename Joint::template part<K>::template target_type<T>...>;
};

/// The losses of a model: `Losses`, brought into the order of the outputs. `Extents` are those of the outputs, and
/// output k has loss `Order[k]`. Everything that counts losses here counts outputs.
template <class Losses, std::array Extents, std::array Order>
class joint_loss : public Losses {
  using indices = std::make_index_sequence<Extents.size()>;

 public:
  static constexpr std::size_t count = Extents.size();
  /// Tells these losses from one.
  static constexpr std::size_t joint_count = count;
  static constexpr auto extents = Extents;

  /// The loss of output K.
  template <std::size_t K>
  using part = typename Losses::template loss<Order[K]>;
  template <std::size_t K>
  [[nodiscard]] const part<K>& of() const noexcept {
    const Losses& all = *this;
    return all.template get<Order[K]>();
  }
  /// The weights, in the order of the outputs.
  [[nodiscard]] std::array<double, count> weights() const noexcept {
    const Losses& all = *this;
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return std::array<double, count>{all.template weight<Order[K]>()...};
    });
  }

 private:
  template <class F>
  static constexpr auto each(const F& f) {
    return f(indices{});
  }

 public:
  joint_loss() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): the user's object is meant to convert.
  joint_loss(Losses from) : Losses(std::move(from)) {}

  template <class B>
  static constexpr bool runs_on =
      each([]<std::size_t... K>(std::index_sequence<K...>) { return (detail::runs_on<part<K>, B> && ...); });

  /// The types of the targets of each loss.
  template <class T>
  using target_type = typename joint_targets<joint_loss, T, indices>::types;
  /// Where the targets of samples begin.
  template <class T>
  using target_pack = typename joint_targets<joint_loss, T, indices>::pack;
  /// A pack moves by samples.
  [[nodiscard]] static constexpr std::int64_t target_size(const dims&) { return 1; }

  template <dims, std::size_t K = 0>
  static consteval void check() {
    if constexpr (requires { part<K>::template check<Extents[K]>(); }) part<K>::template check<Extents[K]>();
    if constexpr (K + 1 < count) check<Extents[K], K + 1>();
  }

  /// Throws value_error when an option of a loss is out of its domain, or a weight is not finite.
  void check_options(const dims&) const {
    each([&]<std::size_t... K>(std::index_sequence<K...>) {
      (check_options_of(this->template of<K>(), Extents[K]), ...);
    });
    for (const double weight : weights())
      if (!std::isfinite(weight)) throw value_error("losses", "weights that are finite", std::to_string(weight));
  }

  /// The denominator of each loss over `samples` samples. Throws value_error for targets that a loss does not take.
  template <class Pack>
  [[nodiscard]] std::array<double, count> denominators(const Pack& targets, std::int64_t samples) const {
    return each([&]<std::size_t... K>(std::index_sequence<K...>) {
      return std::array<double, count>{
          this->template of<K>().denominator(targets.template get<K>(), samples * Pack::sizes[K], Extents[K])...};
    });
  }

  /// The losses on one replica of a backend.
  template <class B>
  class op {
    template <class Indices>
    struct slots;
    template <std::size_t... K>
    struct slots<std::index_sequence<K...>> : loss_slot<K, typename part<K>::template op<B>>... {
      slots(typename B::context& c, const joint_loss& loss)
          : loss_slot<K, typename part<K>::template op<B>>(c, loss.template of<K>())... {}
    };

   public:
    op(typename B::context& c, const joint_loss& loss) : ops_(c, loss) {}

    /// Runs loss K on output K as that loss' own op does, with the values now[K], and adds to sums[K].
    template <std::size_t K, class Pack>
    void forward_backward(typename B::context& c, std::int64_t samples, const typename B::activation_type* y,
                          const Pack& targets, typename B::activation_type* dy, const step_values* now,
                          double* sums) const {
      static_cast<const loss_slot<K, typename part<K>::template op<B>>&>(ops_).op.forward_backward(
          c, samples, Extents[K], y, targets.template get<K>(), dy, now == nullptr ? nullptr : now + K, sums + K);
    }

   private:
    slots<indices> ops_;
  };
};

/// True for a joint_loss.
template <class Loss>
concept joins_losses = requires { Loss::joint_count; };

/// Number of losses whose sums and denominators a model keeps apart.
template <class Loss>
inline constexpr std::size_t loss_count = 1;
template <joins_losses Loss>
inline constexpr std::size_t loss_count<Loss> = Loss::joint_count;

/// What the gradient of each loss is multiplied by: its weight / its denominator; nothing when the denominator is zero.
template <class Loss>
[[nodiscard]] std::array<double, loss_count<Loss>> loss_scales(
    [[maybe_unused]] const Loss& loss, const std::array<double, loss_count<Loss>>& denominators) {
  std::array<double, loss_count<Loss>> scales{};
  scales.fill(1.0);
  if constexpr (loss_count<Loss> > 1) scales = loss.weights();
  for (std::size_t k = 0; k < scales.size(); ++k) scales[k] = denominators[k] > 0 ? scales[k] / denominators[k] : 0.0;
  return scales;
}

/// The loss of a batch: the weighted sum of the losses' means.
template <class Loss>
[[nodiscard]] double weighted_sum([[maybe_unused]] const Loss& loss,
                                  const std::array<double, loss_count<Loss>>& means) {
  if constexpr (loss_count<Loss> == 1) {
    return means[0];
  } else {
    const auto weights = loss.weights();
    double total = 0;
    for (std::size_t k = 0; k < means.size(); ++k) total += weights[k] * means[k];
    return total;
  }
}

}  // namespace detail

}  // namespace lockstep
