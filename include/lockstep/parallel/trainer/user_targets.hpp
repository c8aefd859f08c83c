// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/core/shape.hpp>
#include <lockstep/nn/losses.hpp>
#include <lockstep/parallel/split/fields.hpp>
#include <lockstep/parallel/trainer/batch_pass.hpp>
#include <lockstep/parallel/trainer/user_arrays.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>

/// \file
/// What a user passes as the targets of a batch, as the losses of a model take it.

namespace lockstep::detail {

/// The compiler's note names both numbers.
template <std::size_t Given, std::size_t Taken>
consteval bool require_targets() {
  static_assert(Given == Taken,
                "lockstep: targets: the model has several losses (Taken), each of which takes targets of its own; hand "
                "in a std::tuple or a struct that has them (Given) in the order of the network's outputs");
  return Given == Taken;
}

/// The targets of one loss.
template <class Loss, class Value>
class user_targets {
  using of = target_of<Loss, Value>;

 public:
  using spans = std::span<const typename of::type>;
  /// What `step` takes when it is given braces.
  using plain = spans;

  /// The targets for `samples` samples of an output. Throws shape_error, value_error.
  template <class Targets, class Read>
  [[nodiscard]] spans take(std::string_view who, const Targets& targets, std::int64_t samples, const dims& output,
                           const Read& read) {
    const std::int64_t size = Loss::target_size(output);
    check_target_extents(who, targets, samples, size == output.size() ? output : size > 1 ? dims{size} : dims{});
    return take_targets<typename of::type>(who, targets, labels_, read.also(denominator_reads_targets<Loss>), copies_);
  }

 private:
  [[no_unique_address]] typename labels_of<typename of::type>::type labels_;
  std::vector<std::byte> copies_;  ///< of targets in a device's memory
};

/// The targets of several losses: a tuple, a pair, an array or a plain struct of them.
template <joins_losses Joint, class Value>
class user_targets<Joint, Value> {
  template <class Indices>
  struct parts;
  template <std::size_t... K>
  struct parts<std::index_sequence<K...>> {
    using takers = std::tuple<user_targets<typename Joint::template part<K>, Value>...>;
    using plain = std::tuple<typename user_targets<typename Joint::template part<K>, Value>::plain...>;
  };
  using indices = std::make_index_sequence<Joint::count>;

 public:
  using spans =
      typename spans_of<typename Joint::template target_type<Value>, typename Joint::template target_pack<Value>>::type;
  using plain = typename parts<indices>::plain;

  template <class Targets, class Read>
  [[nodiscard]] spans take(std::string_view who, const Targets& targets, std::int64_t samples, const dims&,
                           const Read& read) {
    if constexpr (require_targets<members_in<Targets>, Joint::count>()) {
      const auto members = tie_members(targets);
      return [&]<std::size_t... K>(std::index_sequence<K...>) {
        return spans{{std::get<K>(takers_).take(who, std::get<K>(members), samples, Joint::extents[K], read)...}};
      }(indices{});
    } else {
      return {};
    }
  }

 private:
  typename parts<indices>::takers takers_;
};

}  // namespace lockstep::detail
