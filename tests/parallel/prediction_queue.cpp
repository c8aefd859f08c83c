// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <lockstep/parallel/serve/predictor_queue.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
using ls::detail::prediction;
using ls::detail::prediction_part;
using ls::detail::prediction_queue;

constexpr std::chrono::hours never{20};
constexpr std::chrono::microseconds at_once{0};

/// A request of `samples` samples, which has to stay where it is.
struct request : prediction {
  explicit request(std::int64_t n) {
    samples = n;
    on_answer = [](prediction& self) noexcept { ++static_cast<request&>(self).answers; };
  }
  int answers = 0;
};

/// A part as the test expects it.
struct expected_part {
  const prediction* request;
  std::int64_t first, count;
};

void check_parts(const std::vector<prediction_part>& given, std::initializer_list<expected_part> expected) {
  REQUIRE(given.size() == expected.size());
  auto part = given.begin();
  for (const expected_part& want : expected) {
    CHECK(part->request == want.request);
    CHECK(part->first == want.first);
    CHECK(part->count == want.count);
    CHECK_FALSE(part->error);
    ++part;
  }
}

/// Takes a batch that is due, and looks at it.
std::vector<prediction_part> take(prediction_queue& queue, std::initializer_list<expected_part> expected) {
  std::vector<prediction_part> parts{{}, {}};  // what was in it is no part of the batch
  REQUIRE(queue.take(parts));
  check_parts(parts, expected);
  return parts;
}

}  // namespace

TEST_CASE("requests are joined in order of arrival up to a batch, and the last one is cut", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 8, .latency = at_once}, 2);
  request a(3), b(2), c(5), d(6);
  for (request* each : {&a, &b, &c, &d}) queue.push(*each);
  CHECK(queue.statistics().waiting == 16);
  auto first = take(queue, {{&a, 0, 3}, {&b, 0, 2}, {&c, 0, 3}});
  CHECK(queue.statistics().waiting == 8);
  auto second = take(queue, {{&c, 3, 2}, {&d, 0, 6}});
  CHECK(queue.statistics().waiting == 0);

  queue.finish(second);
  CHECK(c.answers == 0);  // its first part is under way
  CHECK(d.answers == 1);
  queue.finish(first);
  for (const request* each : {&a, &b, &c, &d}) CHECK(each->answers == 1);
  const auto all = queue.statistics();
  CHECK(all.requests == 4);
  CHECK(all.batches == 2);
  CHECK(all.samples == 16);
  CHECK(all.largest_batch == 8);
  CHECK(all.refused == 0);
}

TEST_CASE("a request larger than a batch goes to all replicas in parts that differ by one at most",
          "[prediction_queue]") {
  prediction_queue queue({.max_batch = 32, .latency = never}, 3);
  request exactly(32), more(37);
  queue.push(exactly);
  auto whole = take(queue, {{&exactly, 0, 32}});  // fits one
  queue.finish(whole);
  queue.push(more);
  auto first = take(queue, {{&more, 0, 13}});
  auto second = take(queue, {{&more, 13, 13}});
  auto third = take(queue, {{&more, 26, 11}});
  CHECK(queue.statistics().waiting == 0);
  queue.finish(first);
  queue.finish(third);
  CHECK(more.answers == 0);
  queue.finish(second);
  CHECK(more.answers == 1);
}

TEST_CASE("a part is never larger than a batch, however few replicas there are", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 4, .latency = never}, 2);
  request large(9);
  queue.push(large);
  for (const expected_part& part : {expected_part{&large, 0, 4}, {&large, 4, 4}, {&large, 8, 1}}) {
    auto parts = take(queue, {part});
    queue.finish(parts);
  }
  CHECK(large.answers == 1);
  CHECK(queue.statistics().batches == 3);
}

TEST_CASE("the largest batch stays the largest", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 8, .latency = at_once}, 1);
  for (const std::int64_t samples : {2, 7, 3}) {
    request one(samples);
    queue.push(one);
    auto parts = take(queue, {{&one, 0, samples}});
    queue.finish(parts);
  }
  CHECK(queue.statistics().largest_batch == 7);
  CHECK(queue.statistics().samples == 12);
}

TEST_CASE("a request is refused from the moment that max_pending samples wait", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 1, .latency = at_once, .max_pending = 3}, 1);
  request a(2), b(1), late(1);
  queue.push(a);
  queue.push(b);
  CHECK_THROWS_WITH(queue.push(late), Catch::Contains("fewer than 3 samples that wait") && Catch::Contains("got 3"));
  CHECK(queue.statistics().refused == 1);
  CHECK(queue.statistics().waiting == 3);
  auto parts = take(queue, {{&a, 0, 1}});
  CHECK_NOTHROW(queue.push(late));  // two wait, and one is under way
  CHECK(queue.statistics().refused == 1);
  queue.finish(parts);
}

TEST_CASE("a batch is due once it is full or its oldest request has waited as long as it may", "[prediction_queue]") {
  constexpr std::chrono::milliseconds latency{30};
  prediction_queue queue({.max_batch = 4, .latency = latency}, 1);
  request full(4), rest(1), other(1);
  const auto begin = prediction::clock::now();
  queue.push(full);
  queue.push(rest);
  auto parts = take(queue, {{&full, 0, 4}});
  CHECK(prediction::clock::now() - begin < latency);
  parts = take(queue, {{&rest, 0, 1}});
  CHECK(prediction::clock::now() - begin >= latency);
  const auto again = prediction::clock::now();
  queue.push(other);
  parts = take(queue, {{&other, 0, 1}});
  CHECK(prediction::clock::now() - again >= latency);
}

TEST_CASE("the mean latency is that of the requests, each from its own arrival", "[prediction_queue]") {
  using clock = prediction::clock;
  constexpr std::chrono::milliseconds apart{40};
  const auto seconds = [](clock::duration d) { return std::chrono::duration<double>(d).count(); };
  prediction_queue queue({.max_batch = 4, .latency = at_once}, 1);
  request early(1), late(1);
  const auto before_early = clock::now();
  queue.push(early);
  std::this_thread::sleep_for(apart);
  const auto before_late = clock::now();
  queue.push(late);
  auto parts = take(queue, {{&early, 0, 1}, {&late, 0, 1}});
  queue.finish(parts);
  const auto after = clock::now();
  CHECK(queue.statistics().mean_latency >= seconds(apart) / 2);
  CHECK(queue.statistics().mean_latency <= (seconds(after - before_early) + seconds(after - before_late)) / 2);
}

TEST_CASE("an error of one part is the request's, the first one if there are several", "[prediction_queue]") {
  const auto message = [](const prediction& of) {
    try {
      if (of.error) std::rethrow_exception(of.error);
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  prediction_queue queue({.max_batch = 2, .latency = never}, 1);
  request cut(5), next(1);
  queue.push(cut);
  queue.push(next);
  auto first = take(queue, {{&cut, 0, 2}});
  auto second = take(queue, {{&cut, 2, 2}});
  auto third = take(queue, {{&cut, 4, 1}, {&next, 0, 1}});
  second[0].error = std::make_exception_ptr(std::runtime_error("one"));
  third[0].error = std::make_exception_ptr(std::runtime_error("another"));
  for (auto* parts : {&first, &second, &third}) queue.finish(*parts);
  CHECK(message(cut) == "one");
  CHECK(message(next).empty());
  CHECK(cut.answers == 1);
  CHECK(next.answers == 1);
  CHECK_FALSE(second[0].error);  // the request is its only owner
}

TEST_CASE("a closed queue answers what waits at once, and refuses what comes", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 4, .latency = never}, 1);
  request waits(3), late(1);
  queue.push(waits);
  queue.close();
  CHECK_THROWS_WITH(queue.push(late), Catch::Contains("while it is being destroyed"));
  CHECK(queue.statistics().refused == 0);
  auto parts = take(queue, {{&waits, 0, 3}});
  CHECK_FALSE(queue.take(parts));
  CHECK(parts.empty());
}

TEST_CASE("a pause begins once all that was begun is finished", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 4, .latency = at_once}, 1);
  request cut(8), held(1);
  queue.push(cut);
  queue.push(held);
  auto first = take(queue, {{&cut, 0, 4}});
  bool cut_was_done = false;
  std::thread pauser([&] {
    const prediction_queue::pause quiet(queue);
    cut_was_done = queue.statistics().requests == 1;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  queue.finish(first);  // no replica works, but the request is not done
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  auto rest = take(queue, {{&cut, 4, 4}});
  queue.finish(rest);
  pauser.join();
  CHECK(cut_was_done);
  CHECK(held.answers == 0);
}

TEST_CASE("a pause holds requests back, and lets them go at its end", "[prediction_queue]") {
  prediction_queue queue({.max_batch = 4, .latency = at_once}, 1);
  request held(1);
  std::vector<prediction_part> parts;
  std::atomic<bool> taken = false;
  std::thread replica;
  {
    const prediction_queue::pause quiet(queue);
    queue.push(held);
    replica = std::thread([&] { taken = queue.take(parts); });
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    CHECK_FALSE(taken);
  }
  replica.join();
  CHECK(taken);
  check_parts(parts, {{&held, 0, 1}});
  queue.finish(parts);
  CHECK(held.answers == 1);
}
