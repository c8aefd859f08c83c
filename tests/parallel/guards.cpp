// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "parallel/rank_support.hpp"
#include "support/user_layer.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using ls::comm::thread_rank;

namespace {

std::atomic<bool> slow_begun{false};

/// The identity, whose backward takes nearly a second when it meets a value above 500.
struct slow : same_extents {
  static constexpr std::string_view kind = "slow";

  template <class B, ls::node_traits T>
  class op {
    using value = typename B::value_type;
    using context = typename B::context;

   public:
    op(context&, std::int64_t samples) : count_(samples * T.in.size()) {}
    void forward(context&, const ls::pass&, const value* x, const value*, value* y) { std::copy_n(x, count_, y); }
    void backward(context&, const ls::pass&, const ls::backward_arguments<B>& a) {
      if (std::any_of(a.x, a.x + count_, [](value v) { return std::abs(v) > value{500}; })) {
        slow_begun.store(true);
        slow_begun.notify_all();
        std::this_thread::sleep_for(std::chrono::milliseconds(900));
      }
      std::copy_n(a.dy, count_, a.dx);
    }

   private:
    std::int64_t count_;
  };
};

using net =
    ls::sequential<ls::named<"first", ls::linear<4>>, ls::named<"brake", slow>, ls::named<"last", ls::linear<3>>>;
using model = ls::model<net, ls::input<5>, ls::mean_squared_error>;

struct regression_batch {
  std::vector<float> x = draws<float>(1, 8 * 5), targets = draws<float>(2, 8 * 3);
};

/// What on_stall has been told.
struct stalls {
  std::mutex mutex;
  std::vector<ls::stall_report> reports;

  auto callback() {
    return [this](const ls::stall_report& report) {
      const std::lock_guard lock(mutex);
      reports.push_back(report);
    };
  }
  std::vector<ls::stall_report> all() {
    const std::lock_guard lock(mutex);
    return reports;
  }
};

}  // namespace

TEST_CASE("a step that exceeds its time limit is reported once, with replica and layer", "[guards]") {
  stalls told;
  regression_batch quick, braked;
  braked.x[7 * 5] = 1e7F;  // the last sample: on replica 1
  ls::data_parallel<model, 2> trainer({.learning_rate = 0}, {}, {.time_limit = 0.3, .on_stall = told.callback()});
  static_cast<void>(trainer.step(batch<model>(quick.x), quick.targets));
  REQUIRE(told.all().empty());
  static_cast<void>(trainer.step(batch<model>(braked.x), braked.targets));
  REQUIRE(told.all().size() == 1);
  CHECK(told.all()[0].step == 1);
  CHECK(told.all()[0].replica == 1);
  CHECK(told.all()[0].doing == "backward of brake");
  CHECK(told.all()[0].seconds >= 0.3);
  CHECK(told.all()[0].bucket == -1);
  CHECK(contains(told.all()[0].text(), "replica 1 is in backward of brake"));
  CHECK(trainer.steps() == 2);  // the step itself has gone on
}

TEST_CASE("a rank that is late shows which bucket waits for it", "[guards]") {
  regression_batch quick, braked;
  std::fill(braked.x.begin(), braked.x.end(), 1e7F);
  std::vector<stalls> told(2);
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const auto r = static_cast<std::size_t>(rank.rank());
    ls::data_parallel<model, 1, thread_rank, ls::bucket_bytes<4, 4>> trainer(
        {.learning_rate = 0}, std::move(rank), {}, {.time_limit = 0.3, .on_stall = told[r].callback()});
    const regression_batch& own = r == 1 ? braked : quick;
    static_cast<void>(trainer.step(batch<model>(own.x), own.targets));
  }));
  REQUIRE(told[0].all().size() == 1);
  CHECK(told[0].all()[0].replica == -1);  // its own replica has long been done
  CHECK(contains(told[0].all()[0].text(), "all replicas wait for the communicator"));
  CHECK(told[0].all()[0].bucket == 1);  // that of `last` has come
  REQUIRE(told[1].all().size() == 1);
  CHECK(told[1].all()[0].doing == "backward of brake");
  CHECK(told[1].all()[0].bucket == 1);
}

TEST_CASE("guards refuse settings without a meaning", "[guards]") {
  using trainer = ls::data_parallel<model, 1>;
  CHECK_THROWS_WITH(trainer({}, {}, {.time_limit = 1}), Catch::Contains("on_stall beside a time_limit"));
  CHECK_THROWS_AS(trainer({}, {}, {.time_limit = -1}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {}, {.time_limit = NAN}), ls::value_error);
  CHECK_THROWS_AS(trainer({}, {}, {.verify_every = -1}), ls::value_error);
}

TEST_CASE("destruction waits for a step that another thread is in", "[guards]") {
  regression_batch braked;
  std::fill(braked.x.begin(), braked.x.end(), 1e7F);
  slow_begun.store(false);
  auto trainer = std::make_unique<ls::data_parallel<model, 2>>();
  double loss = -1;
  std::thread other([&, inside = trainer.get()] { loss = inside->step(batch<model>(braked.x), braked.targets); });
  slow_begun.wait(false);
  trainer.reset();
  other.join();
  CHECK(loss > 0);
}

TEST_CASE("verify names the parameter and the rank that differ, and broadcast mends it", "[guards]") {
  const regression_batch b;
  std::array<std::vector<std::vector<float>>, 3> values;
  check_no_failure(run_ranks(3, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 2, thread_rank> trainer({.learning_rate = 0.1F, .momentum = 0.9F}, std::move(rank));
    trainer.initialize(ls::seed{r == 1 ? 0xFFFFFFFF00000003U : 3U});
    if (r == 1) trainer.step(batch<model>(b.x), b.targets), trainer.join();
    if (r != 1) trainer.join();
    // Only rank 1 had another seed.
    const std::string message = message_of<ls::communicator_error>([&] { trainer.verify(); });
    expect_contains(message, "first.weight of rank 1 differs from that of rank 0");
    trainer.broadcast(1);
    trainer.verify();
    trainer.step(batch<model>(b.x), b.targets);
    trainer.verify();
    values[static_cast<std::size_t>(r)] = all_values(trainer.parameters());

    if (r == 2) trainer.parameters().at("last.bias").assign(std::vector<float>{1, 2, 3});
    expect_contains(message_of<ls::communicator_error>([&] { trainer.verify(); }), "last.bias of rank 2");
  }));
  CHECK(same_bits(values[1], values[0]));
  CHECK(same_bits(values[2], values[0]));
}

TEMPLATE_TEST_CASE("a checksum tells values apart that differ in one or two bits, or in their order", "[guards]", float,
                   double) {
  using word = std::conditional_t<sizeof(TestType) == 4, std::uint32_t, std::uint64_t>;
  constexpr std::size_t bits = 8 * sizeof(TestType);
  const auto values = draws<TestType>(5, 4);
  const auto sum = [](const std::vector<TestType>& of) { return ls::detail::checksum(of.data(), std::ssize(of)); };
  const auto flip = [&](std::vector<TestType>& of, std::size_t bit) {
    word w = 0;
    std::memcpy(&w, &of[bit / bits], sizeof(w));
    w ^= word{1} << bit % bits;
    std::memcpy(&of[bit / bits], &w, sizeof(w));
  };
  const std::uint32_t own = sum(values);
  int alike = 0;
  for (std::size_t first = 0; first < 4 * bits; ++first)
    for (std::size_t second = first; second < 4 * bits; ++second) {
      auto other = values;
      flip(other, first);
      if (second != first) flip(other, second);
      alike += sum(other) == own ? 1 : 0;
    }
  CHECK(alike == 0);
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      auto other = values;
      std::swap(other[i], other[j]);
      CHECK(sum(other) != own);
    }
  CHECK(sum({values.begin(), values.end() - 1}) != own);
}

TEST_CASE("verify_every finds a difference by itself", "[guards]") {
  const regression_batch b;
  check_no_failure(run_ranks(2, [&](thread_rank& rank) {
    const int r = rank.rank();
    ls::data_parallel<model, 1, thread_rank> trainer({}, std::move(rank), {}, {.verify_every = 3});
    const auto step = [&] { static_cast<void>(trainer.step(batch<model>(b.x), b.targets)); };
    step();
    if (r == 1) trainer.parameters().at("last.bias").assign(std::vector<float>{1, 2, 3});
    step();
    const auto before = all_values(trainer.parameters());
    expect_contains(message_of<ls::communicator_error>(step), "last.bias of rank 1");
    expect(trainer.steps() == 2);
    expect(same_bits(all_values(trainer.parameters()), before));
  }));
}
