// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/data/augment/describe.hpp>
#include <lockstep/data/augment/random_draws.hpp>
#include <lockstep/data/field.hpp>
#include <lockstep/data/sample_changes.hpp>
#include <lockstep/data/walk.hpp>

namespace lockstep::data {

namespace detail {

/// A transform that reads a second sample, as mixup.
template <class T>
inline constexpr bool mixes_samples = requires { requires bool(T::mixes_samples); };

}  // namespace detail

/// Changes each sample on its way into a batch, on the loader's thread:
/// `loader{train, {.batch = 128, .shuffle = true}, augment{pad_and_crop<4>{}, flip<>{}, normalise{norm}}}`.
/// The transforms act on the first field, which holds floats, in the order in which they stand.
///
/// What they draw is keyed by the loader's `.seed`, the epoch and the sample's place in the epoch of all ranks. So a
/// sample changes alike whatever the number of replicas, of ranks and of samples in a batch, whatever `.prefetch` is,
/// and after a resume; and a sample that comes twice in an epoch changes differently each time.
///
/// A transform is any callable that takes the sample as `tensor_view<float, shape<Extents...>>`, which it changes in
/// place, and `random_draws&`: `augment{[](auto picture, random_draws& draws) { ... }}`. It keeps nothing of a sample.
/// Its member `template <class View> void check() const`, if it has one, is called when a loader is built, and throws
/// for options that make no sense. Its `describe()`, if it has one, returns its kind and options as text. A checkpoint
/// keeps this text, and only a loader with the same text goes on from it.
template <class... Transforms>
class augment {
 public:
  /// Whether a transform reads a second sample of the epoch.
  static constexpr bool mixes = (detail::mixes_samples<Transforms> || ...);

  augment()
    requires(std::default_initializable<Transforms> && ...)
  = default;
  constexpr explicit augment(Transforms... transforms)
    requires(sizeof...(Transforms) > 0)
      : transforms_(std::move(transforms)...) {}

  template <std::size_t Index>
  [[nodiscard]] constexpr const auto& get() const noexcept {
    return std::get<Index>(transforms_);
  }

 private:
  std::tuple<Transforms...> transforms_;
};

namespace detail {

/// The pipeline itself, for samples of given fields.
template <class First, class... Rest>
struct sample_transforms {
  using View = tensor_view<typename First::value_type, typename First::shape_type>;
  using pointers = typename field_list<First, Rest...>::pointers;

  static_assert(std::same_as<typename First::value_type, float>,
                "lockstep: augment: the first field, which transforms change, holds floats");

  /// Throws what the transforms' checks throw.
  template <class... Transforms>
  static void check(const augment<Transforms...>& by) {
    static_assert(((mixes_samples<Transforms> || std::invocable<const Transforms&, View, random_draws&>)&&...),
                  "lockstep: augment: a transform takes a tensor_view<float, shape<...>> and a random_draws&");
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (check_one(by.template get<Index>()), ...);
    }(std::index_sequence_for<Transforms...>{});
  }

  [[nodiscard]] static pointers at(const pointers& first, std::int64_t sample) {
    return [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      return pointers(std::get<0>(first) + sample * First::size, std::get<Index + 1>(first) + sample * Rest::size...);
    }(std::index_sequence_for<Rest...>{});
  }

  template <class Transform>
  static void change(const Transform& by, const pointers& sample, random_draws& draws) {
    if constexpr (std::invocable<const Transform&, View, random_draws&>) by(View(std::get<0>(sample)), draws);
  }

  template <class Transform>
  static void mix(const Transform& by, const pointers& sample, const pointers& other, random_draws& draws) {
    by.template mix<First, Rest...>(sample, other, draws);
  }

 private:
  template <class Transform>
  static void check_one(const Transform& of) {
    if constexpr (requires { of.template check<View>(); }) of.template check<View>();
  }
};

/// All transforms in words.
template <class... Transforms>
[[nodiscard]] std::string described(const augment<Transforms...>& by) {
  std::string text;
  [&]<std::size_t... Index>(std::index_sequence<Index...>) {
    (text.append(Index == 0 ? "" : " ").append(described(by.template get<Index>())), ...);
  }(std::index_sequence_for<Transforms...>{});
  return text;
}

template <class Fields>
struct transforms_of;
template <class... Fields>
struct transforms_of<field_list<Fields...>> {
  using type = sample_transforms<Fields...>;
};

template <class... Transforms, class... Fields>
class augmented_samples<augment<Transforms...>, Fields...> final : public sample_changes<Fields...> {
  using field_types = typename batch_fields<Fields...>::type;
  using sample = typename transforms_of<field_types>::type;
  using pointers = typename sample_changes<Fields...>::pointers;
  using samples = epoch_samples<Fields...>;

 public:
  explicit augmented_samples(augment<Transforms...> by) : by_(std::move(by)) {
    sample::check(by_);
    (add_room<mixes_samples<Transforms>>(), ...);
  }

  void fill(const samples& from, const batch_part& part, const pointers& to) override {
    for (std::int64_t i = 0; i < part.size; ++i)
      make<sizeof...(Transforms)>(from, part.first + i, part.first_index + i, sample::at(to, i));
  }

  [[nodiscard]] std::int64_t transforms() const noexcept override { return std::int64_t{sizeof...(Transforms)}; }
  [[nodiscard]] std::string describe() const override { return described(by_); }

 private:
  template <bool ForSecondSample>
  void add_room() {
    if constexpr (ForSecondSample) others_.emplace_back(field_types{}, 1);
  }

  /// Writes what the first `Count` transforms make of an entry of the order, which has that place in the epoch.
  template <std::size_t Count>
  void make(const samples& from, std::int64_t entry, std::int64_t place, const pointers& to) {
    from.copy(entry, 0, to);
    const random_stream stream(from.seed, random_purpose::augmentation, from.epoch, static_cast<std::uint64_t>(place));
    [&]<std::size_t... Index>(std::index_sequence<Index...>) {
      (apply<Index>(from, stream, to), ...);
    }(std::make_index_sequence<Count>{});
  }

  template <std::size_t Index>
  void apply(const samples& from, const random_stream& stream, const pointers& to) {
    random_draws draws(stream, Index);
    const auto& transform = by_.template get<Index>();
    if constexpr (mixes_samples<std::remove_cvref_t<decltype(transform)>>) {
      const std::int64_t place = draws.below(from.size());
      const pointers other = others_[mixing_before(Index)].pointers();
      make<Index>(from, place, place, other);
      sample::mix(transform, to, other, draws);
    } else {
      sample::change(transform, to, draws);
    }
  }

  /// How many of the first `count` transforms mix.
  [[nodiscard]] static constexpr std::size_t mixing_before(std::size_t count) {
    constexpr std::array<bool, sizeof...(Transforms)> mixing{mixes_samples<Transforms>...};
    std::size_t result = 0;
    for (std::size_t i = 0; i < count; ++i) result += mixing[i] ? 1U : 0U;
    return result;
  }

  augment<Transforms...> by_;
  std::vector<decltype(batch_slot(field_types{}, 0))> others_;  // room for a second sample, one a transform that mixes
};

template <class... Transforms, class... Fields>
class changed_stream<augment<Transforms...>, Fields...> final : public stream_changes<Fields...> {
  using sample = sample_transforms<Fields...>;
  using pointers = typename stream_changes<Fields...>::pointers;

 public:
  explicit changed_stream(augment<Transforms...> by) : by_(std::move(by)) { sample::check(by_); }

  void change(const pointers& at, std::int64_t samples, const stream_place& place) override {
    for (std::int64_t i = 0; i < samples; ++i) {
      const random_stream stream(place.seed, random_purpose::augmentation, place.epoch,
                                 static_cast<std::uint64_t>(place.first + i));
      const pointers one = sample::at(at, i);
      [&]<std::size_t... Index>(std::index_sequence<Index...>) {
        (change_by<Index>(stream, one), ...);
      }(std::index_sequence_for<Transforms...>{});
    }
  }

  [[nodiscard]] std::int64_t transforms() const noexcept override { return std::int64_t{sizeof...(Transforms)}; }
  [[nodiscard]] std::string describe() const override { return described(by_); }

 private:
  template <std::size_t Index>
  void change_by(const random_stream& stream, const pointers& to) const {
    random_draws draws(stream, Index);
    sample::change(by_.template get<Index>(), to, draws);
  }

  augment<Transforms...> by_;
};

}  // namespace detail
}  // namespace lockstep::data
