// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <lockstep/core/static_for.hpp>
#include <lockstep/model/lowering_layer.hpp>
#include <lockstep/model/type_list.hpp>
#include <lockstep/nn/bind.hpp>
#include <lockstep/nn/concat.hpp>
#include <lockstep/nn/feed.hpp>
#include <lockstep/nn/frozen.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/layer_stack.hpp>
#include <lockstep/nn/outputs.hpp>
#include <lockstep/nn/repeat.hpp>
#include <lockstep/nn/residual.hpp>
#include <lockstep/nn/sequential.hpp>
#include <lockstep/nn/skippable.hpp>
#include <lockstep/nn/sum.hpp>
#include <lockstep/nn/tied.hpp>

/// \file
/// The one walk over a network's type. It takes composites (`sequential`, `residual`, `sum`, `concat`, `named`,
/// `frozen`, ...) apart into layers, and tells a builder which layer or junction reads which value. What follows works
/// on the builder's data: only layers stay types.

namespace lockstep::detail {

template <class L>
inline constexpr bool has_name<skippable<L>> = has_name<L>;

/// `skippable` moves inwards, past names and `frozen`. Around a composite, or a layer that measures the whole batch, it
/// becomes two operations, before and after it.
template <class L>
struct lowering<skippable<L>> {
  using leaves = typename lowering<L>::leaves;
  static constexpr network_size size = lowering<L>::size + network_size{.operations = 2, .operands = 3, .skips = 1};

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return b.end_skip(lowering<L>::run(b, b.begin_skip(in, s), s));
  }
};
template <class L>
inline constexpr bool is_skippable = false;
template <class L>
inline constexpr bool is_skippable<skippable<L>> = true;
/// A layer obeys by itself.
template <class L>
  requires(!is_skippable<L>) && layer<L> && (measures_batch<L> == 0)
struct lowering<skippable<L>> {
  using leaves = type_list<skippable<L>>;
  static constexpr network_size size = lowering<L>::size;

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return b.template leaf<skippable<L>>(in, s);
  }
};
template <named_layer L>
struct lowering<skippable<L>> : lowering<skippable<typename L::named_layer>> {
  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return lowering<skippable<typename L::named_layer>>::run(b, in, s.enter(L::own_name));
  }
};
template <tied_layer L>
struct lowering<skippable<L>> : lowering<skippable<typename L::tied_layer>> {
  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return lowering<skippable<typename L::tied_layer>>::run(b, in, s.tie(L::own_name));
  }
};
template <class L>
struct lowering<skippable<frozen<L>>> : lowering<skippable<L>> {
  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    return lowering<skippable<L>>::run(b, in, s.freeze());
  }
};
template <class L>
struct lowering<skippable<skippable<L>>> : lowering<skippable<L>> {};

/// Replaces a composite that has too few parts, so that one compile error says so.
template <class Composite>
struct too_few_parts {
  using leaves = type_list<too_few_parts>;
  static constexpr network_size size{.leaves = 1, .operations = 1, .operands = 1};
};
template <>
struct lowering<sequential<>> : too_few_parts<sequential<>> {};
template <class... Ls>
  requires(sizeof...(Ls) < 2)
struct lowering<sum<Ls...>> : too_few_parts<sum<Ls...>> {};
template <class... Ls>
  requires(sizeof...(Ls) < 2)
struct lowering<concat<Ls...>> : too_few_parts<concat<Ls...>> {};
template <class... Ls>
  requires(sizeof...(Ls) < 2)
struct lowering<outputs<Ls...>> : too_few_parts<outputs<Ls...>> {};
template <int N, class L>
  requires(N < 1)
struct lowering<repeat<N, L>> : too_few_parts<repeat<N, L>> {};

template <class... Ls>
struct lowering<sequential<Ls...>> {
  using leaves = typename joined<typename lowering<Ls>::leaves...>::type;
  static constexpr network_size size = sum_of({lowering<Ls>::size...});

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    if constexpr (sizeof...(Ls) <= static_for_block) {
      std::size_t position = 0;
      ((in = run_child<Ls>(b, in, s, position++)), ...);
    } else {
      static_for<sizeof...(Ls)>(
          [&]<std::size_t Index>() { in = run_child<typename at<Index, type_list<Ls...>>::type>(b, in, s, Index); });
    }
    return in;
  }
};

template <class... Ls>
struct lowering<layer_stack<Ls...>> {
  using leaves = typename joined<typename lowering<Ls>::leaves...>::type;
  static constexpr network_size size = sum_of({lowering<Ls>::size...});

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, scope<Path> s) {
    ((s.part = s.part + 1, in = lowering<Ls>::run(b, in, s)), ...);
    return in;
  }
};
template <is_layer_stack L>
struct lowering<L> : lowering<typename L::stacked_layers> {};

template <int N, class L>
struct lowering<repeat<N, L>> {
  using leaves =
      typename repeated<typename lowering<L>::leaves, std::make_index_sequence<static_cast<std::size_t>(N)>>::type;
  static constexpr network_size size{.leaves = N * lowering<L>::size.leaves,
                                     .operations = N * lowering<L>::size.operations,
                                     .operands = N * lowering<L>::size.operands,
                                     .measures = N * lowering<L>::size.measures,
                                     .outputs = N * lowering<L>::size.outputs,
                                     .selections = N * lowering<L>::size.selections,
                                     .skips = N * lowering<L>::size.skips,
                                     .tokens = N * lowering<L>::size.tokens,
                                     .bindings = N * lowering<L>::size.bindings};

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    for (std::size_t i = 0; i < N; ++i) in = lowering<L>::run(b, in, s.enter(i));
    return in;
  }
};

template <class Body, class Shortcut>
struct lowering<residual<Body, Shortcut>> {
  using leaves = decltype(typename lowering<Body>::leaves{} + typename lowering<Shortcut>::leaves{});
  static constexpr network_size size =
      lowering<Body>::size + lowering<Shortcut>::size + network_size{.operations = 1, .operands = 2};

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    const int body = lowering<Body>::run(b, in, s);
    const int shortcut = run_child<Shortcut>(b, in, s, std::string_view("shortcut"));
    const int values[]{shortcut, body};
    return b.join(junction::sum, values);
  }
};

/// Lowers branches that read the same value; their outputs go to `out`.
template <class... Ls, class Builder, class Path>
constexpr void run_branches(Builder& b, int in, const scope<Path>& s, int (&out)[sizeof...(Ls)]) {
  std::size_t position = 0;
  ((out[position] = run_child<Ls>(b, in, s, position), ++position), ...);
}

template <class... Ls>
struct lowering<sum<Ls...>> {
  static constexpr std::size_t joins = sizeof...(Ls) - 1;  ///< sums of two values
  using leaves = typename joined<typename lowering<Ls>::leaves...>::type;
  static constexpr network_size size =
      (network_size{.operations = joins, .operands = 2 * joins} + ... + lowering<Ls>::size);

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    int branches[sizeof...(Ls)]{};
    run_branches<Ls...>(b, in, s, branches);
    int total = branches[0];
    for (std::size_t i = 1; i < sizeof...(Ls); ++i) {
      const int values[]{total, branches[i]};
      total = b.join(junction::sum, values);
    }
    return total;
  }
};

template <class... Ls>
struct lowering<concat<Ls...>> {
  using leaves = typename joined<typename lowering<Ls>::leaves...>::type;
  static constexpr network_size size =
      (network_size{.operations = 1, .operands = sizeof...(Ls)} + ... + lowering<Ls>::size);

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    int branches[sizeof...(Ls)]{};
    run_branches<Ls...>(b, in, s, branches);
    return b.join(junction::concat, branches);
  }
};

/// A feed's layer, past the names around it.
template <class L>
struct fed_layer {
  using type = L;

  template <class Path>
  static constexpr scope<Path> enter(const scope<Path>& s) {
    return s;
  }
};
template <named_layer L>
struct fed_layer<L> {
  using inner = fed_layer<typename L::named_layer>;
  using type = typename inner::type;

  template <class Path>
  static constexpr scope<Path> enter(const scope<Path>& s) {
    return inner::enter(s.enter(L::own_name));
  }
};
template <tied_layer L>
struct fed_layer<L> {
  using inner = fed_layer<typename L::tied_layer>;
  using type = typename inner::type;

  template <class Path>
  static constexpr scope<Path> enter(const scope<Path>& s) {
    return inner::enter(s.tie(L::own_name));
  }
};
template <class L>
struct fed_layer<frozen<L>> {
  using inner = fed_layer<L>;
  using type = typename inner::type;

  template <class Path>
  static constexpr scope<Path> enter(const scope<Path>& s) {
    return inner::enter(s.freeze());
  }
};

/// Replaces a feed whose layer does not read as many values as there are branches.
template <class L, std::size_t Branches>
struct not_fed {
  using leaves = type_list<not_fed>;
  static constexpr network_size size{.leaves = 1, .operations = 1, .operands = 1};
};
template <class L, std::size_t Branches>
inline constexpr bool feeds = false;
template <joint_layer L, std::size_t Branches>
inline constexpr bool feeds<L, Branches> = L::traits.operands == static_cast<int>(Branches);

template <class L, class... Ls>
  requires(!feeds<typename fed_layer<L>::type, sizeof...(Ls)>)
struct lowering<feed<L, Ls...>> : not_fed<typename fed_layer<L>::type, sizeof...(Ls)> {};
template <class L, class... Ls>
  requires feeds<typename fed_layer<L>::type, sizeof...(Ls)>
struct lowering<feed<L, Ls...>> {
  using layer = typename fed_layer<L>::type;
  using leaves = typename joined<typename lowering<Ls>::leaves..., type_list<layer>>::type;
  static constexpr network_size size =
      (network_size{.leaves = 1, .operations = 1, .operands = sizeof...(Ls), .tokens = reads_tokens<layer>} + ... +
       lowering<Ls>::size);

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    int branches[sizeof...(Ls)]{};
    run_branches<Ls...>(b, in, s, branches);
    return b.template joint_leaf<layer>(branches, fed_layer<L>::enter(s));
  }
};

template <class L>
concept value_binder = requires {
  typename L::bound_producer;
  typename L::bound_body;
  L::bound_name;
};
template <value_binder L>
struct lowering<L> {
  using producer = typename L::bound_producer;
  using body = typename L::bound_body;
  using leaves = typename joined<typename lowering<producer>::leaves, typename lowering<body>::leaves>::type;
  static constexpr network_size size = lowering<producer>::size + lowering<body>::size + network_size{.bindings = 1};

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    b.bind(L::bound_name, run_child<producer>(b, in, s, std::size_t{0}));
    const int out = run_child<body>(b, in, s, std::size_t{1});
    b.unbind();
    return out;
  }
};

/// The name of a branch of `outputs`; empty when it has none.
template <class L>
inline constexpr std::string_view output_name{};
template <class L>
  requires(named_layer<L> || tied_layer<L>)
inline constexpr std::string_view output_name<L> = L::own_name;
template <class L>
inline constexpr std::string_view output_name<frozen<L>> = output_name<L>;
template <class L>
inline constexpr std::string_view output_name<skippable<L>> = output_name<L>;
template <input_reader L>
inline constexpr std::string_view output_name<L> = output_name<typename L::from_body>;

template <class... Ls>
struct lowering<outputs<Ls...>> {
  using leaves = typename joined<typename lowering<Ls>::leaves...>::type;
  static constexpr network_size size = (network_size{.outputs = sizeof...(Ls)} + ... + lowering<Ls>::size);

  template <class Builder, class Path>
  static constexpr int run(Builder& b, int in, const scope<Path>& s) {
    int branches[sizeof...(Ls)]{};
    run_branches<Ls...>(b, in, s, branches);
    const std::string_view names[]{output_name<Ls>...};
    return b.outputs(branches, names);
  }
};

}  // namespace lockstep::detail
