// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/core/tensor.hpp>
#include <lockstep/core/token.hpp>
#include <lockstep/generate/row_model.hpp>
#include <lockstep/generate/sampling.hpp>
#include <lockstep/model/executor.hpp>
#include <lockstep/parallel/parameters.hpp>
#include <lockstep/parallel/serve/predictor_parameters.hpp>
#include <lockstep/parallel/serve/state_copy.hpp>

#if LOCKSTEP_HAS_ONEDNN()
#include <lockstep/backend/cpu/cpu.hpp>
#else
#include <lockstep/backend/cpu/no_cpu.hpp>
#endif

/// \file
/// Writes text with a trained model. Not part of lockstep.hpp.

namespace lockstep {

struct generator_options {
  std::int64_t batch = 1;    ///< sequences at once, at most
  std::int64_t context = 0;  ///< tokens that a sequence remembers, at most; 0: as many as a sample of the model has
  /// Tokens that are forgotten when there are as many as the context: the others are read once more. 0: half of them.
  std::int64_t forget = 0;
};

/// Runs a model of tokens<T> whose outputs are logits of the next token, (T, Vocabulary), one token at a time, from
/// what its layers keep of the tokens before: keys and values, or states. Each token gives what a forward pass over all
/// tokens so far gives, up to rounding, and costs a row of it. Every layer computes rows apart from each other, or in
/// order: attention must be causal.
///
/// Copies the parameters of a trainer, predictor or file. One thread at a time. Prompts of one call may differ in
/// length.
///
///     generator<language_model> writer(trainer);
///     const auto text = writer.generate(prompt, 300, {.temperature = 0.8, .top_k = 40});
template <class Model, class Backend = cpu>
class generator {
  static_assert(detail::check_generated<Model>());
  using row_model = detail::row_model<Model>;
  using value_type = typename Backend::value_type;
  using activation = typename Backend::activation_type;
  static_assert(Backend::host_memory, "lockstep: generator: the backend's memory is not the host's; name cpu");

 public:
  static constexpr std::int64_t vocabulary = Model::output_dims[1];

  /// The parameters are those that a trainer begins with, until others are loaded. Throws value_error for options out
  /// of their domain.
  explicit generator(generator_options options = {})
      : batch_(options.batch),
        context_(options.context == 0 ? Model::input_dims[0] : options.context),
        forget_(options.forget == 0 ? (context_ + 1) / 2 : options.forget),
        parameters_({0}) {
    constexpr std::int64_t most = detail::most_rows<Model>();
    if (batch_ < 1 || batch_ > micro_shard<row_model, Backend>)
      throw value_error("generator", "a batch of 1 to " + std::to_string(micro_shard<row_model, Backend>),
                        std::to_string(batch_));
    if (context_ < 1 || context_ > most)
      throw value_error("generator", "a context of 1 to " + std::to_string(most) + " tokens", std::to_string(context_),
                        "a layer of the model knows no further position");
    if (forget_ < 1 || forget_ > context_)
      throw value_error("generator", "1 to " + std::to_string(context_) + " tokens to forget", std::to_string(forget_));
    for (std::size_t leaf = 0; leaf < kept_.size(); ++leaf) {
      const std::int64_t size = detail::kept_values<row_model>(leaf, context_) * batch_;
      if (size == 0) continue;
      memory_.emplace_back(size);
      kept_[leaf] = memory_.back().data();
    }
    place_ = {.before = 0, .most = context_, .kept = kept_.data()};
    executor_.place_row(&place_);
  }
  /// The same with the parameters of a trainer or predictor. Also throws as `update_from`.
  template <class Trainer>
    requires detail::parameter_holder<Trainer, value_type>
  explicit generator(const Trainer& trainer, generator_options options = {}) : generator(options) {
    update_from(trainer);
  }
  generator(const generator&) = delete;
  generator& operator=(const generator&) = delete;

  /// Replaces the parameters by those of a trainer, and forgets all sequences. Throws value_error or shape_error, and
  /// changes nothing, when they have other names or shapes.
  template <class Trainer>
    requires detail::parameter_holder<Trainer, value_type>
  void update_from(const Trainer& trainer) {
    const auto values = detail::copy_state<value_type>("generator::update_from", std::as_const(*this).state(), trainer);
    std::size_t next = 0;
    for (const auto& tensor : state()) tensor.assign(values[next++]);
    reset();
  }
  /// Parameters and buffers by PyTorch's names, which load_safetensors assigns to. `reset` comes after it.
  [[nodiscard]] auto state() { return values_of<true>(*this); }
  [[nodiscard]] auto state() const { return values_of<false>(*this); }
  [[nodiscard]] auto parameters() { return state(); }
  [[nodiscard]] auto parameters() const { return state(); }

  /// Forgets all sequences.
  void reset() {
    place_.before = 0;
    for (auto& each : memory_) std::fill_n(each.data(), each.size(), activation{0});
    loaded_ = nullptr;
  }
  /// Tokens that each sequence remembers.
  [[nodiscard]] std::int64_t position() const noexcept { return place_.before; }

  /// Appends a token to each of as many sequences as there are tokens, and returns the logits of the tokens that come
  /// after them, (sequences, vocabulary), valid until the next call. Between two `reset`s their number is one. Throws
  /// value_error for a token outside of the vocabulary, for more sequences than the batch, and when the context is
  /// full.
  std::span<const float> append(std::span<const token_id> tokens) {
    const auto count = static_cast<std::int64_t>(tokens.size());
    if (count < 1 || count > batch_)
      throw value_error("generator", "tokens of 1 to " + std::to_string(batch_) + " sequences", std::to_string(count),
                        "name a larger batch in the options");
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (tokens[i] < 0 || tokens[i] >= row_model::graph.inputs[0].vocabulary)
        throw value_error("generator", "tokens in 0.." + std::to_string(row_model::graph.inputs[0].vocabulary - 1),
                          std::to_string(tokens[i]) + " at position " + std::to_string(place_.before) + " of prompt " +
                              std::to_string(i),
                          "encode the text with the vocabulary of the model");
    if (place_.before == context_)
      throw value_error("generator", "at most " + std::to_string(context_) + " tokens in a sequence", "one more",
                        "call reset, or generate, which forgets the oldest");
    if (loaded_ == nullptr) loaded_ = executor_.load(parameters_.data());
    logits_.resize(static_cast<std::size_t>(count * vocabulary));
    executor_.infer(loaded_, tokens.data(), count, [&](std::int64_t, std::int64_t, const activation* y) {
      for (std::size_t i = 0; i < logits_.size(); ++i) logits_[i] = static_cast<float>(y[i]);
    });
    ++place_.before;
    return logits_;
  }

  /// The `count` tokens that the model writes after each prompt. Throws value_error for options out of their domain,
  /// for a prompt without a token or longer than the context, and as `append`. When a sequence is as long as the
  /// context, it forgets its oldest tokens.
  [[nodiscard]] std::vector<std::vector<token_id>> generate(std::span<const std::vector<token_id>> prompts,
                                                            std::int64_t count, const sampling& how = {}) {
    how.check();
    if (count < 0) throw value_error("generator", "a number of tokens of zero or more", std::to_string(count));
    std::size_t longest = 0;
    for (const auto& prompt : prompts) {
      longest = (std::max)(longest, prompt.size());
      if (prompt.empty() || static_cast<std::int64_t>(prompt.size()) > context_)
        throw value_error("generator", "prompts of 1 to " + std::to_string(context_) + " tokens, the context",
                          std::to_string(prompt.size()), "leave the beginning of the prompt out");
    }
    std::vector<std::vector<token_id>> written(prompts.begin(), prompts.end());
    if (!prompts.empty() && count > 0) {
      reset();
      std::vector<token_id> next(prompts.size());
      std::size_t begin = 0;  // of what the sequences remember
      const std::size_t end = longest + static_cast<std::size_t>(count) - 1;
      for (std::size_t t = 0; t < end; ++t) {
        if (place_.before == context_) {
          begin += static_cast<std::size_t>(forget_);
          read_again(written, begin, t, next);
        }
        for (std::size_t i = 0; i < next.size(); ++i) next[i] = t < written[i].size() ? written[i][t] : token_id{0};
        const auto logits = append(next);
        for (std::size_t i = 0; i < next.size(); ++i)
          if (t + 1 == written[i].size() && t + 1 < prompts[i].size() + static_cast<std::size_t>(count))
            written[i].push_back(choose(logits, i, t, how));
      }
    }
    for (std::size_t i = 0; i < written.size(); ++i)
      written[i].erase(written[i].begin(), written[i].begin() + static_cast<std::ptrdiff_t>(prompts[i].size()));
    return written;
  }
  /// The same for one prompt.
  [[nodiscard]] std::vector<token_id> generate(const std::vector<token_id>& prompt, std::int64_t count,
                                               const sampling& how = {}) {
    return std::move(generate(std::span(&prompt, 1), count, how)[0]);
  }

 private:
  template <bool Writable, class Self>
  [[nodiscard]] static auto values_of(Self& self) {
    if constexpr (Writable)
      return named_values_range<row_model, Backend, 1, true, tensors::state>(
          {self.parameters_.data()}, self.parameters_.front(), self.parameters_.copies());
    else
      return named_values_range<row_model, Backend, 1, false, tensors::state>({self.parameters_.data()},
                                                                              self.parameters_.front());
  }

  /// Forgets what comes before token `begin`, and reads the tokens from there to `end`.
  void read_again(const std::vector<std::vector<token_id>>& written, std::size_t begin, std::size_t end,
                  std::vector<token_id>& next) {
    reset();
    for (std::size_t t = begin; t < end; ++t) {
      for (std::size_t i = 0; i < next.size(); ++i) next[i] = t < written[i].size() ? written[i][t] : token_id{0};
      static_cast<void>(append(next));
    }
  }

  [[nodiscard]] token_id choose(std::span<const float> logits, std::size_t prompt, std::size_t position,
                                const sampling& how) {
    const random_stream draws(how.seed, random_purpose::generation, prompt);
    return sampler_.choose(
        logits.subspan(prompt * static_cast<std::size_t>(vocabulary), static_cast<std::size_t>(vocabulary)), how,
        draws.uniform(position));
  }

  std::int64_t batch_;
  std::int64_t context_;
  std::int64_t forget_;
  detail::predictor_parameters<row_model, Backend> parameters_;
  executor<row_model, Backend> executor_;
  const activation* loaded_ = nullptr;
  std::vector<aligned_buffer<activation>> memory_;
  std::array<activation*, row_model::leaf_count> kept_{};
  row_place<activation> place_{};
  std::vector<float> logits_;
  detail::token_sampler sampler_;
};

}  // namespace lockstep
