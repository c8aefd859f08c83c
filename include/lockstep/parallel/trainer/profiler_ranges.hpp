// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <type_traits>

#include <lockstep/parallel/trainer/naming.hpp>

namespace lockstep::detail {

/// A backend that shows a profiler what its calls belong to: a `range` covers this thread's time from its construction,
/// with a text that it copies, to its destruction. Ranges nest and do not throw.
template <class B>
concept shows_ranges =
    requires { typename B::range; } && std::is_nothrow_constructible_v<typename B::range, const char*>;

/// A text of at most 127 characters, made without allocation; a longer one is cut.
class label {
 public:
  constexpr label& append(std::string_view more) {
    const std::size_t count = (std::min)(more.size(), text_.size() - 1 - size_);
    for (std::size_t i = 0; i < count; ++i) text_[size_++] = more[i];
    return *this;
  }
  constexpr label& append(std::size_t number) {
    if (number >= 10) append(number / 10);
    const char digit = static_cast<char>('0' + number % 10);
    return append(std::string_view(&digit, 1));
  }
  [[nodiscard]] constexpr const char* c_str() const { return text_.data(); }

 private:
  std::array<char, 128> text_{};
  std::size_t size_ = 0;
};

/// The words of `doing` as a table: rows are forward, the loss and backward; the first column is for no node, the
/// others are for the plan's nodes.
template <class Model, class B>
inline constexpr auto labels = [] {
  constexpr auto nodes = static_cast<std::size_t>(Model::template plan<B>.node_count);
  std::array<std::array<label, nodes + 1>, 3> all{};
  for (std::size_t what = 0; what < all.size(); ++what)
    for (std::size_t node = 0; node <= nodes; ++node) {
      all[what][node].append(words_for(static_cast<activity>(what)));
      if (node > 0) all[what][node].append(" of ").append(words_for_node<Model, B>(static_cast<int>(node) - 1));
    }
  return all;
}();

template <class Model, class B>
[[nodiscard]] constexpr const label& label_of(activity what, int node) {
  return labels<Model, B>[static_cast<std::size_t>(what)][static_cast<std::size_t>(node + 1)];
}

/// A range that may be open, on backends that show ranges; on others it does nothing.
template <class B>
class shown_range {
 public:
  shown_range() = default;
  explicit shown_range(const char*) noexcept {}
  void end() noexcept {}
};

template <shows_ranges B>
class shown_range<B> {
 public:
  shown_range() = default;
  explicit shown_range(const char* text) noexcept { begin(text); }
  void begin(const char* text) noexcept { open_.emplace(text); }
  void end() noexcept { open_.reset(); }

 private:
  std::optional<typename B::range> open_;
};

/// The range in which the gradients of bucket b leave.
template <class B>
[[nodiscard]] shown_range<B> bucket_range([[maybe_unused]] std::size_t b) {
  if constexpr (shows_ranges<B>)
    return shown_range<B>(label().append("gradients of bucket ").append(b).c_str());
  else
    return {};
}

}  // namespace lockstep::detail
