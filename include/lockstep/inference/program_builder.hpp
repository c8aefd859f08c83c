// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <lockstep/inference/convolution_shape.hpp>
#include <lockstep/inference/layer_form.hpp>
#include <lockstep/inference/place_values.hpp>
#include <lockstep/inference/program.hpp>
#include <lockstep/inference/recurrent_kernel.hpp>
#include <lockstep/inference/value_layout.hpp>
#include <lockstep/model/network.hpp>

namespace lockstep::detail::infer {

/// Builds the steps of a network: chooses kernels and layouts, folds batch normalisations into what comes before them,
/// and makes relus and sums part of it.
template <network_size Size, std::size_t Leaves>
class program_builder {
 public:
  constexpr program_builder(const network_data<Size>& network, const std::array<layer_form, Leaves>& forms,
                            std::int64_t vector)
      : network_(network), forms_(forms), vector_(vector) {}

  [[nodiscard]] constexpr program<Size> build() {
    input_ = add_value(plain_layout(network_.inputs[0].extents));
    p_.value_at(input_).where = place::input;
    for (std::size_t i = 0; i < Size.operations; ++i) value_of_[i] = add(network_.operations[i]);
    end_with(value_for(network_.outputs[0].value));
    return p_;
  }

 private:
  constexpr int add_value(const value_layout& layout) {
    p_.value_at(p_.value_count) = {.layout = layout, .root = p_.value_count};
    return p_.value_count++;
  }
  /// Another name for the elements of v.
  constexpr int add_name(int v, const value_layout& layout) {
    const int name = add_value(layout);
    p_.value_at(name).root = p_.value_at(v).root;
    return name;
  }
  [[nodiscard]] constexpr const value_layout& layout(int v) const { return p_.layout(v); }
  [[nodiscard]] constexpr int value_for(int v) const { return v < 0 ? input_ : value_of_[static_cast<std::size_t>(v)]; }
  [[nodiscard]] constexpr int operand_value(const operation& o, int k) const {
    return network_.operands[static_cast<std::size_t>(o.first_operand + k)];
  }
  [[nodiscard]] constexpr const layer_form& form(int leaf) const { return forms_[static_cast<std::size_t>(leaf)]; }

  constexpr void add_operand(int v) { p_.operands[static_cast<std::size_t>(p_.operand_count++)] = v; }
  /// Takes room for packed weights, at whole cache lines.
  constexpr std::int64_t take_packed(std::int64_t size) {
    const std::int64_t begin = p_.packed_size;
    p_.packed_size = round_up(begin + size, 16);
    return begin;
  }
  constexpr int push(step s, int operand, const value_layout& out) {
    s.first_operand = p_.operand_count;
    s.operands = 1;
    add_operand(operand);
    return finish(s, out);
  }
  constexpr int finish(step s, const value_layout& out) {
    s.out = add_value(out);
    p_.at(p_.step_count++) = s;
    return s.out;
  }

  /// The value in memory of ours, which kernels may read in whole vectors.
  constexpr int in_arena(int v) {
    if (p_.value_at(v).root != input_) return v;
    return push({.kind = step_kind::copy}, v, plain_layout(layout(v).extents, vector_));
  }
  /// The value in PyTorch's order.
  constexpr int in_plain_order(int v) {
    if (layout(v).is_plain()) return v;
    return push({.kind = step_kind::copy}, v, plain_layout(layout(v).extents, vector_));
  }
  /// The value with the channels of its extents: flattened, a picture loses them.
  constexpr int as_channels(int v) { return layout(v).is_flattened() ? in_plain_order(v) : v; }

  constexpr int add(const operation& o) {
    const int first = value_for(operand_value(o, 0));
    if (o.leaf < 0) {
      if (o.joins == junction::sum) return add_sum(o);
      if (o.joins == junction::concat) return add_concat(o);
      return first;  // nothing is skipped
    }
    const layer_form& f = form(o.leaf);
    switch (f.kind) {
      case form_kind::identity:
        return first;
      case form_kind::flatten:
        return add_name(first, flattened(layout(first)));
      case form_kind::relu:
        if (step* before = step_to_extend(operand_value(o, 0))) {
          before->relu = true;
          return first;
        }
        return add_elementwise({.kind = step_kind::relu, .leaf = o.leaf}, first);
      case form_kind::map:
        return add_elementwise({.kind = step_kind::map, .leaf = o.leaf}, first);
      case form_kind::linear:
        return add_linear(o, f, first);
      case form_kind::convolution:
        return add_convolution(o, f.convolution, first);
      case form_kind::batch_norm:
        return add_batch_norm(o, first);
      case form_kind::pooling:
        return add_pooling(o, f.pooling, first);
      case form_kind::resampling: {
        const int in = as_channels(first);
        return push({.kind = step_kind::resampling, .leaf = o.leaf}, in, like(layout(in), o.out));
      }
      case form_kind::sample_norm:
      case form_kind::softmax: {
        const int in = as_channels(first);
        const step_kind kind = f.kind == form_kind::softmax ? step_kind::softmax : step_kind::sample_norm;
        value_layout out = layout(in);
        out.size = round_up(out.size, vector_);
        const std::int64_t weights = network_.leaves[static_cast<std::size_t>(o.leaf)].parameters.size();
        const step s{.kind = kind, .leaf = o.leaf, .packed = take_packed(1 + weights)};
        return push(s, in, out);
      }
      case form_kind::recurrent:
        return add_recurrent(o, f.recurrent, first);
      case form_kind::unsupported:
        break;
    }
    if (p_.unsupported < 0) p_.unsupported = o.leaf;
    return push({.kind = step_kind::copy}, first, plain_layout(o.out, vector_));  // one error is enough
  }

  /// A layout of other extents in the order of `l`.
  [[nodiscard]] constexpr value_layout like(const value_layout& l, const dims& extents) const {
    return l.is_channels_last() && l.height * l.width > 1 ? channels_last_layout(extents, vector_)
                                                          : plain_layout(extents, vector_);
  }
  constexpr int add_elementwise(const step& s, int in) {
    in = in_arena(in);
    return push(s, in, layout(in));
  }

  /// True when one operation alone reads the value that a step computes.
  [[nodiscard]] constexpr bool is_read_once(int v) const {
    if (v < 0) return false;
    const operation& o = network_.operations[static_cast<std::size_t>(v)];
    if (o.readers != 1) return false;
    const int from = operand_value(o, 0);  // of which this may be another name
    return value_for(v) != value_for(from) || is_read_once(from);
  }
  /// The last step, if it computes this value for one reader alone, and can have a relu.
  constexpr step* step_to_extend(int v) {
    if (p_.step_count == 0 || !is_read_once(v)) return nullptr;
    step& last = p_.at(p_.step_count - 1);
    const int computed = value_for(v);
    const bool extends = last.kind != step_kind::pooling && last.kind != step_kind::resampling &&
                         last.kind != step_kind::softmax && last.kind != step_kind::recurrent &&
                         last.kind != step_kind::map && last.kind != step_kind::concat && last.kind != step_kind::copy;
    return extends && !last.relu && last.out == computed ? &last : nullptr;
  }
  [[nodiscard]] static constexpr bool has_weights(const step& s) {
    return s.kind == step_kind::linear || s.kind == step_kind::dot || s.kind == step_kind::convolution ||
           s.kind == step_kind::pixel_convolution || s.kind == step_kind::loop_convolution;
  }

  constexpr int add_linear(const operation& o, const layer_form& f, int in) {
    const value_layout& x = layout(in);
    step s{.kind = step_kind::linear, .leaf = o.leaf};
    const bool whole_vectors =
        x.is_plain() && x.elements() % vector_ == 0 && x.elements() >= 2 * vector_ && x.extents.rank == 1;
    if (f.outputs <= 2 && whole_vectors) s.kind = step_kind::dot;
    const std::int64_t inputs = x.extents.rank == 2 ? x.width : x.elements();
    s.packed = take_packed(round_up(f.outputs, vector_) * (inputs + 1));
    return push(s, in, rows_layout(o.out, vector_));
  }

  constexpr int add_convolution(const operation& o, const convolution_geometry& g, int in) {
    in = as_channels(in);
    step s{.kind = step_kind::convolution, .leaf = o.leaf};
    const bool along_rows = goes_along_rows(g, vector_);
    if (along_rows) s.kind = step_kind::pixel_convolution;
    if (g.groups > 1) s.kind = step_kind::loop_convolution;
    if (along_rows || g.padding != extent2{0}) s.scratch = add_value(frame_layout(g, layout(in), along_rows, vector_));
    const std::int64_t taps = g.kernel.height * g.kernel.width * (g.in_channels / g.groups);
    const std::int64_t outputs = g.groups > 1 ? g.out_channels : round_up(g.out_channels, vector_);
    s.packed = take_packed(outputs * (taps + 1));
    return push(s, in, along_rows ? pixel_layout(g, o.out, vector_) : channels_last_layout(o.out, vector_));
  }

  constexpr int add_batch_norm(const operation& o, int in) {
    const int v = operand_value(o, 0);
    if (step* before = step_to_extend(v); before != nullptr && has_weights(*before) && before->addend < 0 &&
                                          before->folded < 0 && !layout(in).is_flattened()) {
      before->folded = o.leaf;
      return in;
    }
    in = in_arena(as_channels(in));
    const std::int64_t packed = take_packed(3 * round_up(layout(in).channels, vector_));
    return push({.kind = step_kind::scale, .leaf = o.leaf, .packed = packed}, in, layout(in));
  }

  constexpr int add_pooling(const operation& o, const pooling_geometry&, int in) {
    in = as_channels(in);
    value_layout out = like(layout(in), o.out);
    if (!out.is_channels_last()) out.size += 2 * vector_;  // its kernel writes beyond the last row
    return push({.kind = step_kind::pooling, .leaf = o.leaf}, in, out);
  }

  constexpr int add_recurrent(const operation& o, const recurrent_geometry& g, int in) {
    if (layout(in).pixel_step != 1) in = in_plain_order(in);
    step s{.kind = step_kind::recurrent, .leaf = o.leaf};
    s.scratch = add_value(plain_layout(dims{3 * round_up(g.hidden, vector_)}, vector_));
    s.packed = take_packed(g.directions * packed_direction(g, vector_));
    s.carried = p_.carried_size;
    p_.carried_size += carried_size(g);
    p_.reads_back = p_.reads_back || g.directions > 1;
    return push(s, in, rows_layout(o.out, vector_));
  }

  constexpr int add_sum(const operation& o) {
    int in[2]{value_for(operand_value(o, 0)), value_for(operand_value(o, 1))};
    for (int k = 1; k >= 0; --k) {
      step* last = step_to_extend(operand_value(o, k));
      const int other = in[1 - k];
      if (last == nullptr || last->addend >= 0 || !(has_weights(*last) || last->kind == step_kind::scale) ||
          last->kind == step_kind::dot || p_.value_at(other).root == input_ || last->out == other ||
          !layout(other).lies_as(layout(in[k])) || layout(in[k]).is_flattened() != layout(other).is_flattened())
        continue;
      last->addend = other;
      return in[k];
    }
    for (int& v : in) v = in_arena(v);
    if (!layout(in[0]).lies_as(layout(in[1])))
      for (int& v : in) v = in_plain_order(v);
    // Plain values may end in gaps of different sizes.
    if (!layout(in[0]).lies_as(layout(in[1])))
      for (int& v : in)
        if (layout(v).size != round_up(layout(v).elements(), vector_))
          v = push({.kind = step_kind::copy}, v, plain_layout(layout(v).extents, vector_));
    step s{.kind = step_kind::sum, .first_operand = p_.operand_count, .operands = 2};
    for (const int v : in) add_operand(v);
    value_layout out = layout(in[0]);
    out.extents = o.out;
    return finish(s, out);
  }

  constexpr int add_concat(const operation& o) {
    bool channels_last = false;
    std::array<int, Size.operands> in{};
    for (int k = 0; k < o.operands; ++k) {
      const int v = as_channels(value_for(operand_value(o, k)));
      in[static_cast<std::size_t>(k)] = v;
      channels_last = channels_last || (layout(v).is_channels_last() && layout(v).height * layout(v).width > 1);
    }
    step s{.kind = step_kind::concat, .first_operand = p_.operand_count, .operands = o.operands};
    for (int k = 0; k < o.operands; ++k) add_operand(in[static_cast<std::size_t>(k)]);
    return finish(s, channels_last ? channels_last_layout(o.out, vector_) : plain_layout(o.out, vector_));
  }

  /// The user's memory takes exactly the elements of a sample, in PyTorch's order.
  constexpr void end_with(int v) {
    value& last = p_.value_at(p_.value_at(v).root);
    if (last.where == place::arena && layout(v).is_plain() && last.layout.size == layout(v).elements()) {
      last.where = place::output;
      return;
    }
    const int out = push({.kind = step_kind::copy}, v, plain_layout(layout(v).extents));
    p_.value_at(out).where = place::output;
  }

  const network_data<Size>& network_;
  const std::array<layer_form, Leaves>& forms_;
  std::int64_t vector_;
  program<Size> p_{};
  int input_ = 0;
  std::array<int, Size.operations> value_of_{};
};

/// The program of a model for vectors of so many floats. Building and placing are constants of their own, since
/// compilers limit the steps of one.
template <class Model, std::int64_t Vector>
inline constexpr auto unplaced_program_of = [] {
  program_builder<lowering<typename Model::network>::size, Model::leaf_count> builder(Model::graph, layer_forms<Model>,
                                                                                      Vector);
  return builder.build();
}();
template <class Model, std::int64_t Vector>
inline constexpr auto program_of = place_values(unplaced_program_of<Model, Vector>);

}  // namespace lockstep::detail::infer
