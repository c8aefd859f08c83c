// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <lockstep/backend/capabilities.hpp>
#include <lockstep/backend/channel_layout.hpp>
#include <lockstep/nn/layer.hpp>
#include <lockstep/nn/norm_options.hpp>
#include <lockstep/nn/real.hpp>

namespace lockstep {

/// Options of batch_norm1d and batch_norm2d, beside epsilon<> (1e-5 by default) and no_affine. The weight of a batch in
/// the running statistics, 0.1 by default.
template <real Momentum>
struct momentum {};
/// Running statistics are the means over all batches, as with momentum=None in PyTorch.
struct cumulative {};
/// Each replica normalises its shard by the shard's own statistics, as torch.nn.DataParallel does; the first replica's
/// go into the running statistics. Results then depend on the number of replicas.
struct local_statistics {};

namespace detail {

/// The options of a batch normalisation.
struct batch_norm_options {
  double epsilon_value = 1e-5;
  double momentum_value = 0.1;
  bool cumulative_average = false;
  bool affine = true;
  bool local = false;
  bool known = true;

  template <real E>
  constexpr void take(epsilon<E>) {
    epsilon_value = E.value();
  }
  template <real M>
  constexpr void take(momentum<M>) {
    momentum_value = M.value();
  }
  constexpr void take(cumulative) { cumulative_average = true; }
  constexpr void take(no_affine) { affine = false; }
  constexpr void take(local_statistics) { local = true; }
  template <class Other>
  constexpr void take(Other) {
    known = false;
  }

  template <class... Options>
  static consteval batch_norm_options of() {
    batch_norm_options all;
    (all.take(Options{}), ...);
    return all;
  }
};

/// What batch_norm1d and batch_norm2d have in common. Rank is that of a sample.
///
/// While training, the layer has two nodes in the plan: one measures what arrives, for the whole batch over all
/// micro-shards and replicas; this op then normalises with what came out. Backward likewise: `gradients` takes sums
/// over the batch, and `backward_input` computes the gradient of the input from them.
template <int Rank, class... Options>
struct batch_norm {
  static constexpr std::string_view kind = Rank == 3 ? "batch_norm2d" : "batch_norm1d";
  static constexpr layer_traits traits{.needs_picture_order = Rank == 3,
                                       .takes_any_order = false,
                                       .measures_batch = true,
                                       .fuses_relu = true,
                                       .fuses_addition = true,
                                       .backward_keeps_gradient = true};
  static constexpr batch_norm_options options = batch_norm_options::of<Options...>();
  template <class B>
  static constexpr bool runs_on = normalises_batches<B>;

  template <dims Arriving>
  static consteval void check() {
    static_assert(options.known,
                  "lockstep: batch_norm: takes epsilon<>, momentum<>, cumulative, no_affine and local_statistics");
    static_assert(options.epsilon_value >= 0 && options.momentum_value >= 0 && options.momentum_value <= 1,
                  "lockstep: batch_norm: epsilon is not negative, and momentum lies between 0 and 1");
    static_assert(Rank != 3 || Arriving.rank == 3,
                  "lockstep: batch_norm2d: the sample that arrives (Arriving) is not a picture of channels x height x "
                  "width; use batch_norm1d after flatten");
    static_assert(Rank != 1 || Arriving.rank == 1,
                  "lockstep: batch_norm1d: the sample that arrives (Arriving) is not a row of features; use "
                  "batch_norm2d for pictures");
  }

  [[nodiscard]] static constexpr dims output(const dims& in) { return in; }
  [[nodiscard]] static constexpr parameter_list parameters(const dims& in) {
    const dims channels{in[0]};
    parameter_list list;
    if (options.affine) {
      list.add_constant("weight", channels, 1);
      list.add_constant("bias", channels, 0);
    }
    list.add_buffer("running_mean", channels, 0);
    list.add_buffer("running_var", channels, 1);
    list.add_counter("num_batches_tracked");
    return list;
  }
  [[nodiscard]] static constexpr std::int64_t flops(const dims& in) { return 4 * in.size(); }

  template <class B, node_traits T>
  class op {
    using value = typename B::value_type;
    using activation = typename B::activation_type;
    using context = typename B::context;
    static constexpr std::int64_t channels = T.in[0];

   public:
    /// Elements of a sample are those of `channels` channels.
    static constexpr channel_layout layout{
        .channels = channels, .pixels = T.in.size() / channels, .channels_last = T.picture.rank == 3};

    op(context& c, std::int64_t samples)
        : samples_(samples),
          mean_(B::template allocate<value>(c, channels)),
          scale_(B::template allocate<value>(c, channels)),
          shift_(B::template allocate<value>(c, channels)),
          constant_(B::template allocate<value>(c, channels)) {}
    void set_samples(std::int64_t samples) noexcept { samples_ = samples; }

    /// Normalises by the running statistics, which lie in `buffers`. `addend`, unless null, is added, before the relu.
    void infer(context& c, const activation* x, const activation* parameters, const activation* buffers,
               const activation* addend, activation* y) {
      for (std::int64_t k = 0; k < channels; ++k) {
        mean_.data()[k] = static_cast<value>(buffers[k]);
        scale_.data()[k] =
            static_cast<value>(1 / std::sqrt(static_cast<double>(buffers[channels + k]) + options.epsilon_value));
      }
      set_affine(parameters);
      write(c, x, mean_.data(), addend, y);
    }

    /// Normalises by the statistics of the batch: the mean, and 1 / the standard deviation. `addend` as above.
    template <class Statistics>
    void forward(context& c, const activation* x, const activation* parameters, const Statistics& batch,
                 const activation* addend, activation* y) {
      for (std::int64_t k = 0; k < channels; ++k) scale_.data()[k] = batch.inverse[k];
      set_affine(parameters);
      for (std::int64_t k = 0; k < channels; ++k)
        shift_.data()[k] = static_cast<value>(static_cast<double>(shift_.data()[k]) -
                                              static_cast<double>(scale_.data()[k]) * batch.rest[k]);
      write(c, x, batch.mean, addend, y);
    }

    /// Applies the mask of the relu to dy, which then also is the gradient of what forward added, writes the sums of dy
    /// and of dy times the normalised input, by channel, and from them the gradients of weight and bias.
    template <class Statistics>
    void gradients(context& c, const backward_arguments<B>& a, const Statistics& batch, double* sums,
                   double* products) {
      constexpr bool masks = T.relu && !T.output_gradient_masked;
      if constexpr (normalises_batches<B>)
        B::normalise_gradients(c, samples_, layout, a.x, masks ? a.y : nullptr, a.dy, batch.mean, batch.inverse, sums,
                               products);
      for (std::int64_t k = 0; k < channels; ++k)
        products[k] -= sums[k] * batch.rest[k] * static_cast<double>(batch.inverse[k]);
      if constexpr (options.affine && T.parameter_gradient)
        for (std::int64_t k = 0; k < channels; ++k) {
          value& weight = a.gradients[k];
          value& bias = a.gradients[channels + k];
          weight = static_cast<value>(products[k]) + (a.accumulate ? weight : value{0});
          bias = static_cast<value>(sums[k]) + (a.accumulate ? bias : value{0});
        }
    }

    /// dx from the sums over the `count` elements of a channel in the whole batch. dx may be dy.
    template <class Statistics>
    void backward_input(context& c, const activation* x, const activation* dy, const activation* parameters,
                        const Statistics& batch, const double* sums, const double* products, double count,
                        activation* dx) {
      for (std::int64_t k = 0; k < channels; ++k) {
        const auto inverse = static_cast<double>(batch.inverse[k]);
        const double factor = (options.affine ? static_cast<double>(parameters[k]) : 1.0) * inverse;
        const double of_x = -factor * inverse * products[k] / count;
        scale_.data()[k] = static_cast<value>(factor);
        shift_.data()[k] = static_cast<value>(of_x);
        constant_.data()[k] = static_cast<value>(-factor * sums[k] / count - of_x * batch.rest[k]);
      }
      if constexpr (normalises_batches<B>)
        B::normalise_backward(c, samples_, layout, x, dy, batch.mean, scale_.data(), shift_.data(), constant_.data(),
                              dx);
    }

   private:
    void write(context& c, const activation* x, const value* mean, [[maybe_unused]] const activation* addend,
               activation* y) {
      if constexpr (adds_to_normalised<B>)
        if (addend != nullptr)
          return B::normalise_and_add(c, samples_, layout, x, mean, scale_.data(), shift_.data(), addend, T.relu, y);
      if constexpr (normalises_batches<B>)  // the executor does not compile without
        B::normalise(c, samples_, layout, x, mean, scale_.data(), shift_.data(), T.relu, y);
    }

    void set_affine(const activation* parameters) {
      for (std::int64_t k = 0; k < channels; ++k) {
        if constexpr (options.affine) scale_.data()[k] *= static_cast<value>(parameters[k]);
        shift_.data()[k] = options.affine ? static_cast<value>(parameters[channels + k]) : value{0};
      }
    }

    std::int64_t samples_;
    typename B::template buffer<value> mean_;
    typename B::template buffer<value> scale_;
    typename B::template buffer<value> shift_;
    typename B::template buffer<value> constant_;
  };
};

}  // namespace detail

/// Normalises each channel of C x H x W samples by mean and variance over the batch, as torch.nn.BatchNorm2d: by those
/// of the whole batch over all replicas, so that the number of replicas changes nothing (torch.nn.SyncBatchNorm),
/// unless `local_statistics` is given. Inference uses the running statistics. Parameters `weight`, `bias` (C) unless
/// no_affine; buffers `running_mean`, `running_var` (C), `num_batches_tracked`. Options: epsilon<>, momentum<>,
/// cumulative, no_affine, local_statistics. A relu after it becomes part of it, and so does the sum of a `residual` or
/// a `sum` that reads its output, on backends that can (`adds_to_normalised`).
template <class... Options>
struct batch_norm2d : detail::batch_norm<3, Options...> {};

/// The same for samples of C features, as torch.nn.BatchNorm1d.
template <class... Options>
struct batch_norm1d : detail::batch_norm<1, Options...> {};

}  // namespace lockstep
