// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include <lockstep/backend/step_values.hpp>
#include <lockstep/parallel/trainer/staged_samples.hpp>

namespace lockstep::detail {

/// Stands in for the packet where the backend reads the host's memory.
struct no_packet {
  template <class Context>
  no_packet(Context&, std::int64_t) {}
};
template <class B>
struct packet_of {
  using type = no_packet;
};
template <class B>
  requires(!B::host_memory)
struct packet_of<B> {
  using type = typename B::packet;
};

/// The parts of a shard that its packet carries.
struct packed_parts {
  bool images = false;
  bool targets = false;
};

/// The data of a batch that a replica's work reads: its shard, the values of the step for each of `Losses` losses, and
/// `Sums` sums that begin with zero. `Images` and `Targets` are pointers, or the packs of several inputs and losses.
///
/// For a backend with its own memory, `prepare` puts small parts together in one packet, which the work then sends: a
/// step that is replayed makes no call for them. Larger parts, and those that lie in a device's memory, are copied
/// separately, from where they lie.
template <class B, class Images, class Targets, std::size_t Losses, std::size_t Sums>
class shard_stage {
  using context = typename B::context;

 public:
  using values = std::array<step_values, Losses>;

  // The packet has its largest size from the start. To replace it, a replica would have to free memory while others
  // wait for it, and that call may not return before they have gone on.
  explicit shard_stage(context& c) : packet_(c, values_end + 2 * most_packed) {}

  /// For a backend with its own memory: which parts of a shard of at most so many elements (samples, in a pack), with
  /// images and targets at those addresses, the packet carries.
  [[nodiscard]] static packed_parts places(const Images& images, std::int64_t image_values, const Targets& targets,
                                           std::int64_t target_values) {
    return {.images = staged_samples<B, Images>::bytes(image_values) <= most_packed &&
                      staged_samples<B, Images>::host_reads(images),
            .targets = staged_samples<B, Targets>::bytes(target_values) <= most_packed &&
                       staged_samples<B, Targets>::host_reads(targets)};
  }

  /// Before the work: takes over the values of the step, and `images` and `targets` of those lengths, in the host's
  /// memory or a device's. Returns a number that depends on where the work will read them.
  std::uint64_t prepare(context& c, const values& now, [[maybe_unused]] packed_parts which, const Images& images,
                        std::int64_t image_values, const Targets& targets, std::int64_t target_values) {
    if constexpr (B::host_memory) {
      now_ = now;
      images_ = images;
      targets_ = targets;
      return 0;
    } else {
      if (std::exchange(in_use_, true)) B::finish(c);  // work of a failed step may still read the packet
      std::byte* const host = packet_.host();
      const auto pack = [&](std::int64_t at, const void* from, std::int64_t bytes) {
        if (bytes > 0) std::memcpy(host + at, from, static_cast<std::size_t>(bytes));
        return packet_.get() + at;
      };
      pack(0, now.data(), sizeof(now));
      used_ = values_end;
      const auto append = [&](const void* from, std::int64_t bytes) {
        return pack(std::exchange(used_, used_ + packet_bytes(bytes)), from, bytes);
      };
      images_ = which.images ? staged_samples<B, Images>::pack(images, image_values, append)
                             : bring_images(c, images, image_values);
      targets_ = which.targets ? staged_samples<B, Targets>::pack(targets, target_values, append)
                               : bring_targets(c, targets, target_values);
      return static_cast<std::uint64_t>(which.images) << 1U | static_cast<std::uint64_t>(which.targets);
    }
  }

  /// Sends the packet. The work begins with it.
  void send([[maybe_unused]] context& c) {
    if constexpr (!B::host_memory) packet_.send(c, used_);
  }

  /// Tells that the work is done, so that the packet may be filled again.
  void finished() noexcept { in_use_ = false; }

  /// The values of the step for the first loss; those for the others come after it.
  [[nodiscard]] const step_values* now() const {
    if constexpr (B::host_memory)
      return now_.data();
    else
      return reinterpret_cast<const step_values*>(packet_.get());
  }
  /// For a backend with its own memory: zeros, which `send` brings together with the values.
  [[nodiscard]] std::array<double, Sums>* sums() {
    return reinterpret_cast<std::array<double, Sums>*>(packet_.get() + sums_at);
  }
  [[nodiscard]] const Images& images() const { return images_; }
  [[nodiscard]] const Targets& targets() const { return targets_; }

  /// For work that is not replayed: returns where the backend reads n elements that lie at `from`, after copying them
  /// there if need be.
  Images bring_images(context& c, const Images& from, std::int64_t n) { return large_images_.bring(c, from, n); }
  Targets bring_targets(context& c, const Targets& from, std::int64_t n) { return large_targets_.bring(c, from, n); }

 private:
  static constexpr std::int64_t sums_at = (sizeof(values) + sizeof(double) - 1) / sizeof(double) * sizeof(double);
  static constexpr std::int64_t values_end = packet_bytes(sums_at + static_cast<std::int64_t>(Sums * sizeof(double)));
  /// The most bytes of a part in the packet: the host copies so many in about the time of one call to a copy function.
  static constexpr std::int64_t most_packed = std::int64_t{64} << 10U;

  values now_{};
  Images images_{};
  Targets targets_{};
  std::int64_t used_ = values_end;
  bool in_use_ = false;
  [[no_unique_address]] typename packet_of<B>::type packet_;
  staged_samples<B, Images> large_images_;
  staged_samples<B, Targets> large_targets_;
};

}  // namespace lockstep::detail
