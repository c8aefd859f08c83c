// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <lockstep/backend/tree_sum.hpp>
#include <lockstep/core/error.hpp>
#include <lockstep/model/parameter_layout.hpp>

namespace lockstep {

/// A copy of all parameters in a backend's memory, and the context that reaches it.
template <class B>
struct parameter_copy {
  typename B::value_type* data;
  typename B::context* context;
};

/// Which tensors of a model a range of named values has.
enum class tensors : std::uint8_t {
  parameters,  ///< those that learn and frozen ones
  learning,    ///< parameters that are not frozen
  buffers,     ///< what no optimizer changes, such as running means
  state,       ///< parameters and buffers
};

/// One named tensor of a trained model: a parameter, its gradient, or a buffer. Values are in PyTorch's order.
/// Buffers is 1 for parameters. Gradients have one buffer a replica, null when the replica adds nothing; their value is
/// the sum of the buffers.
template <class Model, class B, std::size_t Buffers, bool Writable>
class named_values {
 public:
  using value_type = typename B::value_type;
  using pointer = std::conditional_t<Writable, value_type*, const value_type*>;

  /// Memory that the host cannot read is copied through `context`. `assign` also writes the copies in `others`.
  named_values(int index, const std::array<pointer, Buffers>& buffers, typename B::context* context = nullptr,
               std::span<const parameter_copy<B>> others = {})
      : index_(index),
        buffers_(buffers),
        context_(context),
        others_(others),
        name_(Model::template parameter_name<B>(spec())) {}

  /// PyTorch's name: `conv1.weight`, `0.bias`.
  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  [[nodiscard]] dims shape() const noexcept { return spec().shape; }
  [[nodiscard]] std::int64_t size() const noexcept { return spec().shape.size(); }
  /// True for a tensor of whole numbers, such as `num_batches_tracked`, which files keep as I64.
  [[nodiscard]] bool counts() const noexcept { return spec().counts; }

  /// Returns a copy of the elements. Cost: one pass over them.
  [[nodiscard]] std::vector<value_type> values() const {
    std::vector<value_type> all(static_cast<std::size_t>(size()));
    copy_to(all);
    return all;
  }

  /// The same into the caller's memory, which has room for size() elements.
  void copy_to(std::span<value_type> all) const {
    std::array<std::vector<value_type>, B::host_memory ? 0 : Buffers> copies;
    std::array<const value_type*, Buffers> readable{};
    for (std::size_t k = 0; k < Buffers; ++k) {
      if (buffers_[k] == nullptr) continue;
      readable[k] = buffers_[k] + spec().offset;
      if constexpr (!B::host_memory) readable[k] = copy_out(buffers_[k], copies[k]);
    }
    detail::each_element<Model, B>(index_, [&](std::int64_t i, std::int64_t offset) {
      all[static_cast<std::size_t>(i)] = tree_sum<0, Buffers>(
          [&](std::size_t k) { return readable[k] == nullptr ? value_type{0} : readable[k][offset - spec().offset]; });
    });
  }

  /// Overwrites all elements. Throws shape_error, and changes nothing, when their number differs.
  void assign(std::span<const value_type> values) const
    requires(Writable)
  {
    if (static_cast<std::int64_t>(values.size()) != size())
      throw shape_error(name_, std::to_string(size()) + " values (" + to_string(shape()) + ")",
                        std::to_string(values.size()));
    value_type* to = buffers_[0] + spec().offset;
    std::vector<value_type> copy;
    if constexpr (!B::host_memory) to = copy_out(buffers_[0], copy);
    detail::each_element<Model, B>(index_, [&](std::int64_t i, std::int64_t offset) {
      to[offset - spec().offset] = values[static_cast<std::size_t>(i)];
    });
    if constexpr (!B::host_memory) {
      const auto write = [&](value_type* home, typename B::context& c) {
        B::copy_in(c, size(), to, home + spec().offset);
        B::finish(c);
      };
      write(buffers_[0], *context_);
      for (const parameter_copy<B>& other : others_) write(other.data, *other.context);
    }
  }

  /// What the plan says of it.
  [[nodiscard]] const plan_parameter& spec() const noexcept {
    return Model::template plan<B>.parameters[static_cast<std::size_t>(index_)];
  }

 private:
  /// This tensor's range of a buffer, copied to the host.
  value_type* copy_out(const value_type* from, std::vector<value_type>& to) const {
    to.resize(static_cast<std::size_t>(size()));
    B::copy_out(*context_, size(), from + spec().offset, to.data());
    B::finish(*context_);
    return to.data();
  }

  int index_;
  std::array<pointer, Buffers> buffers_;
  typename B::context* context_;
  std::span<const parameter_copy<B>> others_;
  std::string name_;
};

/// A range of named tensors in the model's order, without those that `Chosen` leaves out. Borrows the trainer's
/// buffers.
template <class Model, class B, std::size_t Buffers, bool Writable, tensors Chosen = tensors::parameters>
class named_values_range {
  static constexpr const auto& plan = Model::template plan<B>;

  /// True when tensor p belongs to an earlier layer than tensor q.
  static constexpr bool comes_before(int p, int q) {
    const auto leaf = [](int of) { return plan.node(plan.parameters[static_cast<std::size_t>(of)].node).leaf; };
    return leaf(p) < leaf(q);
  }
  /// The numbers of the tensors in the range.
  static constexpr auto chosen = [] {
    struct {
      std::array<int, static_cast<std::size_t>(plan.parameter_tensors)> all{};
      int count = 0;
    } list;
    for (int p = 0; p < plan.parameter_tensors; ++p) {
      const plan_parameter& parameter = plan.parameters[static_cast<std::size_t>(p)];
      if (Chosen == tensors::learning && !parameter.learns) continue;
      if (Chosen != tensors::state && parameter.buffer != (Chosen == tensors::buffers)) continue;
      // The plan has them in the order of its nodes, in which branches of a network may alternate.
      int at = list.count++;
      for (; at > 0 && comes_before(p, list.all[static_cast<std::size_t>(at - 1)]); --at)
        list.all[static_cast<std::size_t>(at)] = list.all[static_cast<std::size_t>(at - 1)];
      list.all[static_cast<std::size_t>(at)] = p;
    }
    return list;
  }();

 public:
  using element = named_values<Model, B, Buffers, Writable>;
  using pointer = typename element::pointer;

  class iterator {
   public:
    using value_type = element;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    iterator() = default;
    iterator(int index, const std::array<pointer, Buffers>& buffers, typename B::context* context,
             std::span<const parameter_copy<B>> others)
        : index_(index), buffers_(buffers), context_(context), others_(others) {}
    element operator*() const { return {chosen.all[static_cast<std::size_t>(index_)], buffers_, context_, others_}; }
    iterator& operator++() {
      ++index_;
      return *this;
    }
    iterator operator++(int) {
      auto before = *this;
      ++index_;
      return before;
    }
    friend bool operator==(const iterator& a, const iterator& b) { return a.index_ == b.index_; }

   private:
    int index_ = 0;
    std::array<pointer, Buffers> buffers_{};
    typename B::context* context_ = nullptr;
    std::span<const parameter_copy<B>> others_{};
  };

  explicit named_values_range(const std::array<pointer, Buffers>& buffers, typename B::context* context = nullptr,
                              std::span<const parameter_copy<B>> others = {})
      : buffers_(buffers), context_(context), others_(others) {}

  [[nodiscard]] iterator begin() const { return {0, buffers_, context_, others_}; }
  [[nodiscard]] iterator end() const { return {chosen.count, buffers_, context_, others_}; }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(chosen.count); }

  /// Returns the tensor of that name. Throws value_error, naming those that exist.
  [[nodiscard]] element at(std::string_view name) const {
    std::string known;
    for (const auto& each : *this) {
      if (each.name() == name) return each;
      known.append(known.empty() ? "" : ", ").append(each.name());
    }
    constexpr bool left_out = plan.parameter_count > plan.trainable_count && Chosen == tensors::learning;
    throw value_error(Chosen == tensors::buffers ? "buffers" : "parameters",
                      known.empty() ? "no name, since there are none" : "one of " + known, std::string(name),
                      left_out ? "frozen parameters have no gradients" : "");
  }

 private:
  std::array<pointer, Buffers> buffers_;
  typename B::context* context_;
  std::span<const parameter_copy<B>> others_;
};

}  // namespace lockstep
