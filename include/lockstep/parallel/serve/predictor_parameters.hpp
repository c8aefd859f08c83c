// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <lockstep/backend/replica_place.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/model/initialize.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/trainer/replica.hpp>

namespace lockstep::detail {

/// The parameters of a predictor: one copy on each of its devices, or one in all for a backend of the host. All
/// replicas on a device read the same copy. The copies are equal and are written through their own contexts.
template <class Model, class B>
class predictor_parameters {
  static constexpr const auto& plan = Model::template plan<B>;

 public:
  using value = typename B::value_type;
  using context = typename B::context;

  /// Allocates the copies and fills them with the parameters that a trainer begins with. `devices` must not be empty
  /// and may name a device more than once.
  explicit predictor_parameters(const std::vector<int>& devices) {
    aligned_buffer<value> fresh(B::host_memory ? 0 : plan.value_count);
    for (const int device : devices) {
      if (find(device) != homes_.end()) continue;
      homes_.push_back(std::make_unique<home>(device));
      home& own = *homes_.back();
      [[maybe_unused]] const auto entered = device_of<B>(own.through);
      own.values = B::template allocate<value>(own.through, plan.value_count);
      if constexpr (B::host_memory) {
        initialize_parameters<Model, B>(own.values.data(), seed{0});
      } else {
        if (homes_.size() == 1) initialize_parameters<Model, B>(fresh.data(), seed{0});
        B::template copy_in<value>(own.through, fresh.size(), fresh.data(), own.values.data());
        B::finish(own.through);
      }
      if (homes_.size() > 1) copies_.push_back({own.values.data(), &own.through});
    }
  }

  /// The copy that the replicas on a device read.
  [[nodiscard]] const value* on(int device) const { return (*find(device))->values.data(); }
  /// The first copy, and (`front`) the context that reaches it.
  [[nodiscard]] value* data() const { return homes_.front()->values.data(); }
  [[nodiscard]] context* front() const { return &homes_.front()->through; }
  /// The other copies.
  [[nodiscard]] std::span<const parameter_copy<B>> copies() const { return copies_; }

 private:
  struct home {
    explicit home(int on) : device(on), through(replica_place{.device = on}) {}

    int device;
    context through;
    typename B::template buffer<value> values;
  };

  [[nodiscard]] auto find(int device) const {
    return std::find_if(homes_.begin(), homes_.end(),
                        [&](const auto& each) { return B::host_memory || each->device == device; });
  }

  std::vector<std::unique_ptr<home>> homes_;
  std::vector<parameter_copy<B>> copies_;
};

}  // namespace lockstep::detail
