// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <exception>
#include <optional>

#include <lockstep/model/input_pack.hpp>
#include <lockstep/parallel/trainer/user_batch.hpp>
#include <lockstep/parallel/trainer/user_inputs.hpp>
#include <lockstep/parallel/trainer/user_targets.hpp>

namespace lockstep::detail {

/// Makes batches of what a user hands to a trainer's calls. Owns what has to be copied of them until the next call.
template <class Model, class Value, bool HasRanks>
class user_values {
  using inputs_type = user_inputs<Model, Value>;
  using targets_type = user_targets<typename Model::loss_type, Value>;
  using losses_type = std::array<double, Model::loss_count>;

 public:
  using target_span = typename targets_type::plain;
  using batch_type = user_batch<input_pack<Model, const Value>, typename targets_type::spans>;

  /// A batch, or why what was handed in does not make one.
  struct taken_batch {
    batch_type own;
    std::exception_ptr refused;
  };

  template <class Images>
  [[nodiscard]] static auto as_images(const Images& images, token_copies<Model>& copies) {
    return inputs_type::take("data_parallel", images, copies);
  }

  /// Without ranks, throws for what does not fit. With ranks, keeps the exception, since the other ranks wait to hear
  /// of it.
  /// `read` brings to the host what it has to look at.
  template <class Images, class Targets, class Read>
  [[nodiscard]] taken_batch take(const Images& images, const Targets& targets, const Read& read) {
    taken_batch taken;
    try {
      const auto x = inputs_type::take("data_parallel", images, tokens_);
      taken.own = {x.first, targets_.take("data_parallel", targets, x.count, Model::output_dims, read), x.count};
    } catch (...) {
      if constexpr (!HasRanks) throw;
      taken.refused = std::current_exception();
    }
    return taken;
  }

  /// A batch for a call that no other rank waits for.
  template <class Images, class Targets, class Read>
  [[nodiscard]] batch_type as_batch(const Images& images, const Targets& targets, const Read& read) {
    const taken_batch taken = take(images, targets, read);
    if (taken.refused) std::rethrow_exception(taken.refused);
    return taken.own;
  }

  /// The denominators that a call names, of one loss or of several.
  template <class Denominator>
  [[nodiscard]] static std::optional<losses_type> as_array(const std::optional<Denominator>& denominator) {
    if (!denominator) return {};
    return losses_type{*denominator};
  }

 private:
  [[no_unique_address]] targets_type targets_;
  token_copies<Model> tokens_;
};

}  // namespace lockstep::detail
