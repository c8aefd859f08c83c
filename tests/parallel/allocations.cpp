// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// alone: it replaces the functions that allocate.
//
// Counts every allocation of the process while a flag is up, by replacing the allocation functions of C and C++ in
// this program. Only then do the replacements do anything but pass a request on, so other tests do not notice. The
// sanitizers replace the same functions, so this file is empty under them.

#include "support/sanitized.hpp"

#if __has_include(<gnu/libc-version.h>)
#define LOCKSTEP_TEST_GLIBC 1
#endif

#if !LOCKSTEP_TEST_SANITIZED() && defined(LOCKSTEP_TEST_GLIBC)

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <sys/mman.h>

#include <lockstep/backend/cpu/bf16/cpu_bf16.hpp>
#include <lockstep/comm/threads.hpp>

#include "parallel/parallel_support.hpp"
#include "support/page_faults.hpp"
#include "support/replaced_allocation.hpp"

namespace ls = lockstep;
using namespace lockstep_test;

namespace {

struct allocation_counts {
  std::size_t library = 0;  ///< called from oneDNN, or from the OpenMP runtime that it works with
  std::size_t others = 0;
  std::string first_other;
};

/// The allocations of all threads while `action` runs.
template <class Action>
allocation_counts count_allocations(const Action& action) {
  requests.store(0);
  counting.store(true);
  action();
  counting.store(false);
  allocation_counts counts;
  const std::size_t noted = std::min(requests.load(), callers.size());
  for (std::size_t i = 0; i < noted; ++i) {
    Dl_info info{};
    const bool known = dladdr(callers[i].load(), &info) != 0 && info.dli_fname != nullptr;
    const std::string_view file = known ? info.dli_fname : "an unknown file";
    const auto named = [&](std::string_view name) { return file.find(name) != std::string_view::npos; };
    if (named("libdnnl") || named("libgomp") || named("libomp") || named("libtbb")) {
      ++counts.library;
    } else {
      if (counts.others++ == 0) {
        counts.first_other = file;
        if (known && info.dli_sname != nullptr) counts.first_other.append(": ").append(info.dli_sname);
      }
    }
  }
  counts.others += requests.load() - noted;
  return counts;
}

using linear_model = ls::model<ls::sequential<ls::linear<10, 10>>, ls::input<10>, ls::mean_squared_error>;
using cnn = ls::model<ls::sequential<ls::conv2d<16, 3, ls::padding<1>>, ls::relu, ls::max_pool2d<2>, ls::conv2d<8, 3>,
                                     ls::relu, ls::flatten, ls::dropout<>, ls::linear<10>>,
                      ls::input<3, 16, 16>, ls::cross_entropy>;
using mlp = ls::model<ls::sequential<ls::linear<64>, ls::relu, ls::linear<32>, ls::relu, ls::linear<10>>,
                      ls::input<100>, ls::cross_entropy>;

// Two segments more than the others: what is kept and what is measured has its memory too.
using normalised = ls::model<ls::sequential<ls::conv2d<16, 3, ls::padding<1>>, ls::batch_norm2d<>, ls::relu,
                                            ls::group_norm<4>, ls::conv2d<5, 3>, ls::batch_norm2d<ls::cumulative>,
                                            ls::relu, ls::max_pool2d<2>, ls::flatten, ls::layer_norm<>, ls::linear<10>>,
                             ls::input<3, 12, 12>, ls::cross_entropy>;

// Layers that give pictures and signals other extents.
using resized = ls::model<
    ls::sequential<ls::conv2d<8, 3, ls::stride<2>>, ls::relu, ls::conv_transpose2d<6, 2, ls::stride<2>>, ls::relu,
                   ls::upsample<2, ls::bilinear>, ls::adaptive_avg_pool2d<3>, ls::flatten, ls::linear<10>>,
    ls::input<3, 12, 12>, ls::cross_entropy>;
using signals = ls::model<ls::sequential<ls::conv1d<8, 3>, ls::relu, ls::max_pool1d<2>, ls::flatten, ls::linear<10>>,
                          ls::input<3, 20>, ls::cross_entropy>;

// What a recurrent layer keeps of all steps, and its scratch.
using sequences = ls::model<ls::sequential<ls::lstm<24, ls::layers<2>, ls::bidirectional, ls::dropout<0.25>>,
                                           ls::gru<9, ls::last_state>, ls::linear<10>>,
                            ls::input<7, 6>, ls::cross_entropy>;

using carried = ls::model<ls::sequential<ls::gru<9, ls::carry_state, ls::last_state>, ls::linear<10>>, ls::input<7, 6>,
                          ls::cross_entropy>;

template <class Model, int N, class Optimizer = ls::sgd, class Targets>
void check_steady_steps(const Targets& targets, const Optimizer& optimizer = {},
                        const ls::trainer_options& options = {}) {
  INFO(N << " replicas");
  constexpr std::int64_t samples = 33;
  ls::data_parallel<Model, N, Optimizer> trainer(optimizer, {}, options);
  const auto x = draws<float>(1, samples * Model::input_dims.size());
  for (int i = 0; i < 3; ++i) static_cast<void>(trainer.step(batch<Model>(x), targets));
  double loss = 0;
  const auto steps = [&] {
    for (int i = 0; i < 20; ++i) loss += trainer.step(batch<Model>(x), targets);
  };
  const auto counts = count_allocations(steps);
  INFO("called from oneDNN: " << counts.library << "; the first other one is called from " << counts.first_other);
  CHECK(counts.others == 0);
  CHECK(steady_page_faults(steps) == 0);
  CHECK(loss > 0);
}

/// Steps of all sizes up to the largest, which comes first.
template <class Model, int N, class... Policies>
void check_changing_sizes() {
  INFO(N << " replicas");
  using trainer_type = ls::data_parallel<Model, N, Policies...>;
  using target = typename trainer_type::target_type;
  constexpr std::int64_t most = 70;
  constexpr std::int64_t per_sample = Model::loss_type::target_size(Model::output_dims);
  trainer_type trainer;
  const auto x = draws<float>(1, most * Model::input_dims.size());
  std::vector<target> targets;
  for (const std::int64_t t : class_draws(2, most * per_sample, 10)) targets.push_back(static_cast<target>(t));
  const auto step = [&](std::int64_t samples) {
    const typename trainer_type::input_view images(x.data(), samples);
    return trainer.step(images, std::span(targets).first(static_cast<std::size_t>(samples * per_sample)));
  };
  double loss = step(most);
  // Where micro-shards are added in a fixed order, the first batch with empty ones makes a buffer for them.
  if constexpr (trainer_type::leaves > N) loss += step(1);
  const auto counts = count_allocations([&] {
    for (std::int64_t k = 0; k < most; ++k) loss += step(1 + k * 37 % most);
  });
  INFO("called from oneDNN: " << counts.library << "; the first other one is called from " << counts.first_other);
  CHECK(counts.others == 0);
  CHECK(loss > 0);
}

/// The same with tokens of a type that has to be converted.
template <int N>
void check_steps_on_tokens() {
  using text = ls::model<ls::sequential<ls::tied<"wte", ls::embedding<40, 16>>, ls::learned_positions<6>,
                                        ls::tied<"wte", ls::linear_without_bias<40>>>,
                         ls::tokens<6>, ls::cross_entropy>;
  ls::data_parallel<text, N> trainer;
  constexpr std::int64_t most = 20;
  const auto tokens = class_draws(1, most * 6, 40);
  const auto step = [&](std::int64_t samples) {
    const auto part = std::span(tokens).first(static_cast<std::size_t>(samples * 6));
    return trainer.step(part, part);
  };
  double loss = step(most);
  const auto counts = count_allocations([&] {
    for (std::int64_t k = 0; k < most; ++k) loss += step(1 + k * 7 % most);
  });
  INFO(N << " replicas; the first one is called from " << counts.first_other);
  CHECK(counts.others == 0);
  CHECK(loss > 0);
}

template <class Trainer>
void check_steady_steps_of_rank() {
  ls::comm::threads hub(1);
  Trainer trainer({.learning_rate = 0.1F, .momentum = 0.9F}, hub.take(0), {}, {.max_norm = 1});
  ls::timeline times(Trainer::replicas + 1, 10'000);
  trainer.record(&times);
  const auto x = draws<float>(1, 33 * 100);
  const auto targets = class_draws(2, 33, 10);
  for (int i = 0; i < 3; ++i) static_cast<void>(trainer.step(batch<mlp>(x), targets));
  const auto steps = [&] {
    for (int i = 0; i < 20; ++i) static_cast<void>(trainer.step(batch<mlp>(x), targets));
  };
  const auto counts = count_allocations(steps);
  INFO("the first one is called from " << counts.first_other);
  CHECK(counts.others == 0);
  CHECK(steady_page_faults(steps) == 0);
}

}  // namespace

TEST_CASE("the counter sees every kind of allocation, and only while it counts", "[allocations]") {
  const auto counts = count_allocations([] {
    // Kept in a volatile pointer, or the compiler would leave the pairs out.
    void* volatile kept = std::malloc(10);
    std::free(kept);
    kept = std::calloc(2, 10);
    std::free(kept);
    kept = std::aligned_alloc(64, 128);
    std::free(kept);
    void* aligned = nullptr;
    if (posix_memalign(&aligned, 64, 128) == 0) kept = aligned;
    std::free(kept);
    kept = ::operator new(10);
    ::operator delete(kept);
    kept = ::operator new(10, std::align_val_t{64});
    ::operator delete(kept, std::align_val_t{64});
    kept = new (std::nothrow) char[10];
    delete[] static_cast<char*>(kept);
  });
  CHECK(counts.others == 7);
  CHECK(counts.library == 0);
  void* volatile unseen = std::malloc(10);
  std::free(unseen);
  CHECK(count_allocations([] {}).others == 0);

  // And it sees a step that does allocate: the first one of a batch size.
  ls::data_parallel<mlp, 2> trainer;
  const auto x = draws<float>(1, 4 * 100);
  const auto targets = class_draws(2, 4, 10);
  CHECK(count_allocations([&] { static_cast<void>(trainer.step(batch<mlp>(x), targets)); }).others > 0);
}

TEST_CASE("the count of page faults sees pages that are used for the first time", "[allocations]") {
  CHECK(steady_page_faults([] {
          constexpr std::size_t size = std::size_t{1} << 20U;
          // Straight from the kernel: an allocator might keep what is freed.
          void* const fresh = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          if (fresh == MAP_FAILED) return;
          *static_cast<volatile char*>(fresh) = 1;
          munmap(fresh, size);
        }) > 0);
}

TEST_CASE("in bfloat16 on the CPU, steps of any size up to the largest allocate nothing", "[allocations][bf16]") {
  if (!ls::cpu_backend::bf16::is_supported()) LOCKSTEP_SKIP("this machine has no AVX512_BF16");
  check_changing_sizes<cnn, 1, ls::precision::bf16>();
  check_changing_sizes<cnn, 2, ls::precision::bf16>();
  check_changing_sizes<normalised, 2, ls::precision::bf16>();
  check_changing_sizes<resized, 2, ls::precision::bf16>();
}

TEST_CASE("steps on tokens allocate nothing", "[allocations][tokens]") {
  check_steps_on_tokens<1>();
  check_steps_on_tokens<2>();
}

TEST_CASE("a steady step allocates nothing and touches no new page", "[allocations]") {
  const auto classes = class_draws(2, 33, 10);
  const auto values = draws<float>(3, 33 * 10);
  SECTION("linear") {
    check_steady_steps<linear_model, 1>(values);
    check_steady_steps<linear_model, 2>(values);
  }
  SECTION("cnn") {
    check_steady_steps<cnn, 1>(classes);
    check_steady_steps<cnn, 2>(classes, {.momentum = 0.9F, .weight_decay = 1e-4F});
  }
  SECTION("mlp") {
    check_steady_steps<mlp, 1>(classes);
    check_steady_steps<mlp, 2>(classes);
  }
  SECTION("batch normalisation") {
    check_steady_steps<normalised, 1>(classes);
    check_steady_steps<normalised, 3>(classes, {.momentum = 0.9F}, {.max_norm = 1});
  }
  SECTION("pictures and signals of other extents") {
    check_steady_steps<resized, 2>(classes);
    check_steady_steps<signals, 1>(classes);
  }
  SECTION("sequences") { check_steady_steps<sequences, 2>(classes); }
  SECTION("carried states") { check_steady_steps<carried, 2>(classes); }
  SECTION("a schedule, and gradients clipped by value") {
    const ls::scheduled optimizer{ls::nadam{}, ls::schedule::warm_up{9, ls::schedule::one_cycle{.steps = 90}}};
    check_steady_steps<mlp, 2>(classes, optimizer, {.max_value = 0.01});
    const ls::scheduled in_steps{ls::adamw{}, ls::schedule::multi_step{.milestones = {5, 10}}};
    check_steady_steps<mlp, 1>(classes, in_steps);
  }
  SECTION("a rank of a communicator, recorded") {
    using rank = ls::comm::thread_rank;
    check_steady_steps_of_rank<ls::data_parallel<mlp, 2, rank, ls::bucket_bytes<4096>>>();
    check_steady_steps_of_rank<ls::data_parallel<mlp, 2, rank, ls::bf16_hook, ls::reduce::reproducible>>();
  }
}

TEST_CASE("batches of any size allocate nothing once the largest has been met", "[allocations]") {
  SECTION("linear") {
    check_changing_sizes<linear_model, 1>();
    check_changing_sizes<linear_model, 2>();
  }
  SECTION("cnn") {
    check_changing_sizes<cnn, 1>();
    check_changing_sizes<cnn, 2>();
  }
  SECTION("batch normalisation") {
    check_changing_sizes<normalised, 2>();
    check_changing_sizes<normalised, 2, ls::reduce::reproducible>();
  }
  SECTION("sequences") { check_changing_sizes<sequences, 2>(); }
  SECTION("mlp") {
    check_changing_sizes<mlp, 1>();
    check_changing_sizes<mlp, 2>();
    check_changing_sizes<mlp, 2, ls::reduce::reproducible>();
  }
}

#endif
