// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/nn/batch_norm.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parallel/failing_backend.hpp"
#include "parallel/normalised.hpp"
#include "parallel/rank_support.hpp"

/// \file
/// Batch normalisation over ranks against one device.

namespace ls = lockstep;
using namespace lockstep_test;
using namespace lockstep_test::normalised;
using ls::comm::thread_rank;

namespace {

/// Where the part of rank r begins in a batch of which 2 ranks have parts of unequal sizes, or, of a small one, rank 0
/// all.
std::int64_t cut_of(std::int64_t samples, int r) { return r == 0 ? 0 : r == 2 ? samples : samples * 2 / 3 + 2; }

/// Trains on 2 ranks of N replicas each; the results of each rank.
template <class B, int N, class... Policies>
std::array<trained, 2> train_on_ranks() {
  std::array<trained, 2> results;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    // So small that buckets leave in every segment.
    ls::data_parallel<classifier, N, B, thread_rank, ls::bucket_bytes<64>, Policies...> trainer(
        optimizer, std::move(rank), {}, {.pin = false, .verify_every = 1});
    results[static_cast<std::size_t>(r)] = train_on(
        trainer, batches, [&](std::int64_t samples) { return std::pair(cut_of(samples, r), cut_of(samples, r + 1)); });
    trainer.verify();
  }));
  return results;
}

}  // namespace

TEST_CASE("batches are normalised over ranks as on one device", "[batch_norm][ranks]") {
  static_assert(batches[1] == 5);  // of which rank 1 has nothing
  REQUIRE(cut_of(5, 1) == 5);
  ls::data_parallel<classifier, 1, ls::reference<double>> one(optimizer);
  const trained expected = train(one);
  const auto check = [&](const std::array<trained, 2>& given) {
    for (const trained& each : given) check_equal(each, expected);
    CHECK(same_bits(given[0].parameters, given[1].parameters));
    CHECK(same_bits(given[0].buffers, given[1].buffers));
  };
  SECTION("reference, 2 replicas each") { check(train_on_ranks<ls::reference<float>, 2>()); }
  SECTION("cpu, 1 replica each") { check(train_on_ranks<ls::cpu, 1>()); }
  SECTION("cpu, 3 replicas each, several leaves each") {
    check(train_on_ranks<ls::cpu, 2, ls::reduce::reproducible, ls::micro_shards<4>>());
  }
}

TEST_CASE("ranks normalise batches to the bits of one process", "[batch_norm][ranks]") {
  constexpr std::array<std::int64_t, 2> sizes{32, 16};  // each leaf has the same samples either way
  using backend = ls::reference<float>;
  ls::data_parallel<classifier, 4, backend, ls::reduce::reproducible, ls::micro_shards<8>> one(optimizer, {},
                                                                                               {.pin = false});
  const trained expected =
      train_on(one, sizes, [](std::int64_t samples) { return std::pair<std::int64_t, std::int64_t>(0, samples); });
  std::array<trained, 2> given;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<classifier, 2, backend, thread_rank, ls::reduce::reproducible, ls::micro_shards<4>> trainer(
        optimizer, std::move(rank), {}, {.pin = false});
    given[static_cast<std::size_t>(r)] = train_on(
        trainer, sizes, [&](std::int64_t samples) { return std::pair(samples / 2 * r, samples / 2 * (r + 1)); });
  }));
  for (const trained& each : given) {
    CHECK(same_bits(each.losses, expected.losses));
    CHECK(same_bits(each.parameters, expected.parameters));
    CHECK(same_bits(each.buffers, expected.buffers));
  }
}

TEST_CASE("ranks accumulate normalised batches, and a rank without more joins", "[batch_norm][ranks]") {
  using model = ls::model<ls::sequential<conv3<4>, ls::batch_norm2d<>, ls::relu, ls::flatten, ls::linear<3>,
                                         ls::batch_norm1d<ls::cumulative>>,
                          ls::input<2, 6, 6>, ls::cross_entropy>;
  constexpr std::array<std::int64_t, 3> sizes{13, 6, 9};
  const auto x_of = [&](std::size_t i, std::int64_t first, std::int64_t last) {
    const auto all = draws<float>(20 + i, sizes[i] * 72);
    return std::vector<float>(all.begin() + first * 72, all.begin() + last * 72);
  };
  const auto targets_of = [&](std::size_t i, std::int64_t first, std::int64_t last) {
    const auto all = class_draws(30 + i, sizes[i], 3);
    return std::vector<std::int64_t>(all.begin() + first, all.begin() + last);
  };
  ls::data_parallel<model, 1, ls::reference<double>> one(optimizer);
  const auto wide = [](const std::vector<float>& values) { return std::vector<double>(values.begin(), values.end()); };
  start_alike(one);
  static_cast<void>(one.accumulate(batch<model>(wide(x_of(0, 0, 13))), targets_of(0, 0, 13)));
  static_cast<void>(one.step(batch<model>(wide(x_of(1, 0, 6))), targets_of(1, 0, 6)));
  static_cast<void>(one.step(batch<model>(wide(x_of(2, 0, 9))), targets_of(2, 0, 9)));
  const auto expected = as_doubles(one.state());
  std::array<std::vector<std::vector<double>>, 2> given;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 2, ls::reference<float>, thread_rank> trainer(optimizer, std::move(rank), {},
                                                                           {.pin = false});
    trainer.initialize(ls::seed{3});
    const auto before = as_doubles(trainer.buffers());
    const auto own = [&](std::size_t i) {
      const std::int64_t cut = sizes[i] / 3;
      return r == 0 ? std::pair<std::int64_t, std::int64_t>(0, cut) : std::pair(cut, sizes[i]);
    };
    const auto [a, b] = own(0);
    static_cast<void>(trainer.accumulate(batch<model>(x_of(0, a, b)), targets_of(0, a, b)));
    expect(as_doubles(trainer.buffers()) == before, "buffers wait for the step");
    const auto [c, d] = own(1);
    static_cast<void>(trainer.step(batch<model>(x_of(1, c, d)), targets_of(1, c, d)));
    if (r == 0) static_cast<void>(trainer.step(batch<model>(x_of(2, 0, 9)), targets_of(2, 0, 9)));
    trainer.join();
    given[static_cast<std::size_t>(r)] = as_doubles(trainer.state());
  }));
  for (const auto& each : given) {
    REQUIRE(each.size() == expected.size());
    for (std::size_t p = 0; p < each.size(); ++p) {
      INFO("tensor " << p);
      CHECK(largest_difference(each[p], expected[p]) <= 1e-6 * (1 + largest_magnitude(expected[p])));
    }
  }
}

TEST_CASE("what ranks had accumulated before a step that failed leaves no statistics", "[batch_norm][ranks]") {
  using model =
      ls::model<ls::sequential<ls::linear<6>, ls::batch_norm1d<>, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
  const auto x = draws<float>(1, 16 * 3);
  const auto targets = draws<float>(2, 16 * 2);
  std::array<std::vector<std::vector<double>>, 2> buffers;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 2, failing, thread_rank> trainer({}, std::move(rank), {},
                                                              {.pin = false, .devices = {1 + r}});
    static_cast<void>(trainer.accumulate(batch<model>(x), targets));
    if (r == 1) failing::traps[2].set(3);
    bool thrown = false;
    try {
      static_cast<void>(trainer.step(batch<model>(x), targets));
    } catch (const ls::error&) {
      thrown = true;
    }
    failing::traps[r == 0 ? 1 : 2].disarm();
    expect(thrown);
    static_cast<void>(trainer.step(batch<model>(x), targets));
    expect(trainer.buffers().at("1.num_batches_tracked").values() == std::vector<float>{1}, "one batch counts");
    buffers[static_cast<std::size_t>(r)] = as_doubles(trainer.buffers());
  }));
  CHECK(buffers[0] == buffers[1]);
}

TEST_CASE("local statistics on ranks: the running ones are those of the first replica of all", "[batch_norm][ranks]") {
  using model = ls::model<ls::sequential<ls::batch_norm1d<ls::local_statistics, ls::no_affine>, ls::linear<2>>,
                          ls::input<3>, ls::mean_squared_error>;
  constexpr std::int64_t samples = 8;
  const auto x = draws<float>(1, samples * 3);
  const auto targets = draws<float>(2, samples * 2);
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 2, ls::reference<float>, thread_rank> trainer({}, std::move(rank), {}, {.pin = false});
    const std::vector<float> own_x(x.begin() + 12 * r, x.begin() + 12 * (r + 1));
    const std::vector<float> own_targets(targets.begin() + 8 * r, targets.begin() + 8 * (r + 1));
    static_cast<void>(trainer.step(batch<model>(own_x), own_targets));
    trainer.verify();
    const auto means = trainer.buffers().at("0.running_mean").values();
    for (std::size_t c = 0; c < 3; ++c) {
      const double mean = (double{x[c]} + double{x[3 + c]}) / 2;  // the first replica has two samples
      expect(std::abs(double{means[c]} - 0.1 * mean) <= 1e-7, "running mean");
    }
    // A replica with one sample has no variance: its rank refuses the batch, and so do all.
    const std::vector<float> short_x(x.begin(), x.begin() + (r == 0 ? 9 : 12));
    const std::vector<float> short_targets(targets.begin(), targets.begin() + (r == 0 ? 6 : 8));
    std::string message;
    try {
      static_cast<void>(trainer.step(batch<model>(short_x), short_targets));
    } catch (const ls::error& e) {
      message = e.what();
    }
    expect_contains(message, r == 0 ? "one, in a shard of 1 sample" : "rank 0 refused its own");
    static_cast<void>(trainer.step(batch<model>(own_x), own_targets));
    trainer.verify();
  }));
}

TEST_CASE("one sample over all ranks is refused by all alike", "[batch_norm][ranks]") {
  using model =
      ls::model<ls::sequential<ls::linear<4>, ls::batch_norm1d<>, ls::linear<2>>, ls::input<3>, ls::mean_squared_error>;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 1, ls::reference<float>, thread_rank> trainer({}, std::move(rank), {}, {.pin = false});
    const auto step = [&](std::int64_t samples) {
      return trainer.step(batch<model>(draws<float>(1, samples * 3)), draws<float>(2, samples * 2));
    };
    std::string message;
    try {
      static_cast<void>(step(r));
    } catch (const ls::value_error& e) {
      message = e.what();
    }
    expect_contains(message, "one, in a batch of 1 sample");
    static_cast<void>(step(2));
    trainer.verify();
  }));
}

TEST_CASE("a replica that fails anywhere in a normalised pass ends the step of all ranks", "[batch_norm][ranks]") {
  using model = ls::model<ls::sequential<ls::linear<6>, ls::batch_norm1d<>, ls::relu, ls::linear<6>, ls::relu,
                                         ls::batch_norm1d<>, ls::linear<2>>,
                          ls::input<3>, ls::mean_squared_error>;
  const auto x = draws<float>(1, 16 * 3);
  const auto targets = draws<float>(2, 16 * 2);
  std::array<int, 2> failures{};
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    const int device = r == 0 ? 1 : 2;
    ls::data_parallel<model, 2, failing, thread_rank, ls::bucket_bytes<16>> trainer(
        {}, std::move(rank), {}, {.pin = false, .devices = {device}});
    const auto before = as_doubles(trainer.state());
    for (int call = 0; call < 80; ++call) {
      const bool accumulates = call % 2 == 1;
      auto& trap = failing::traps[static_cast<std::size_t>(device)];
      if (r == 1) trap.set(call / 2);
      bool thrown = false;
      try {
        if (accumulates)
          static_cast<void>(trainer.accumulate(batch<model>(x), targets));
        else
          static_cast<void>(trainer.step(batch<model>(x), targets));
      } catch (const ls::error&) {
        thrown = true;
      }
      trap.disarm();
      if (thrown) ++failures[static_cast<std::size_t>(r)];
      const bool updates = r == 1 && trap.failed.load() == failed_call::update;
      if (accumulates) {
        // The other rank learns of it in the next call.
        bool dropped = false;
        try {
          static_cast<void>(trainer.step(batch<model>(x), targets));
        } catch (const ls::communicator_error&) {
          dropped = true;
        }
        if (r == 1) expect(dropped == thrown);
      } else if (thrown && !updates) {
        expect(trainer.buffers().at("1.num_batches_tracked").values() == std::vector<float>{0}, "no batch counts");
      }
      trainer.initialize(ls::seed{0});
      expect(as_doubles(trainer.state()) == before);
    }
    static_cast<void>(trainer.step(batch<model>(x), targets));
    trainer.verify();
  }));
  CHECK(failures[1] > 20);
  CHECK(failures[0] > 10);
}
