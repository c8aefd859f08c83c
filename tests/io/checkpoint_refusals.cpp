// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checkpoints of other runs, and damaged ones: all are refused in one sentence, and nothing changes.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lockstep/data/augment.hpp>
#include <lockstep/data/sampler.hpp>

#include "io/checkpoint_support.hpp"
#include "support/message_of.hpp"

namespace ls = lockstep;
using namespace lockstep_test;
using namespace lockstep_test::small_run;

namespace {

/// A file of a run, and a trainer and a loader that refuse it.
struct refusal {
  temporary_folder folder;
  std::string path = folder / "run.safetensors";

  /// Writes what a run with this rule and loader leaves after 8 steps.
  template <class Optimizer, class... Sampler>
  void save(const Optimizer& rule, const samples& from, const ls::data::loader_options& options,
            const Sampler&... sampler) const {
    trainer_of<Optimizer> trainer(rule);
    loader batches(from, options, sampler...);
    go_on(trainer, batches, 8);
    ls::save_checkpoint(trainer, batches, path);
  }

  template <class Optimizer, class... Sampler>
  [[nodiscard]] std::string message(const Optimizer& rule, const ls::data::loader_options& options = how,
                                    const Sampler&... sampler) const {
    trainer_of<Optimizer> trainer(rule);
    loader batches(data, options, sampler...);
    go_on(trainer, batches, 3);
    const std::string before = all_of(trainer, batches);
    std::string text = message_of<ls::io_error>([&] { ls::load_checkpoint(trainer, batches, path); });
    CHECK((all_of(trainer, batches) == before));
    CHECK(text.find('\n') == std::string::npos);
    CHECK_THAT(text, Catch::Contains(path));
    return text;
  }
};

}  // namespace

TEST_CASE("a checkpoint of another optimizer is refused, naming both", "[checkpoint]") {
  const refusal at;
  at.save(ls::adamw{}, data, how);
  CHECK_THAT(at.message(ls::sgd{}), Catch::Contains("expected a run of sgd, got one of adamw; give the trainer"));
  CHECK_THAT(at.message(ls::averaged{ls::adamw{}}), Catch::Contains("expected a run with averages"));
  CHECK_THAT(at.message(ls::adamw{.amsgrad = true}),
             Catch::Contains("expected a run of adamw with amsgrad true, got one with amsgrad false"));
  using plateau = ls::schedule::reduce_on_plateau;
  CHECK_THAT(at.message(ls::scheduled{ls::adamw{}, plateau{}}),
             Catch::Contains("expected a schedule with 4 numbers of state, got one with 0"));
  at.save(ls::scheduled{ls::adamw{}, plateau{}}, data, how);
  CHECK_THAT(at.message(ls::adamw{}), Catch::Contains("expected a schedule with 0 numbers of state, got one with 4"));
}

TEST_CASE("a checkpoint of another model says what differs first", "[checkpoint]") {
  const refusal at;
  const auto save = [&]<class Net> {
    ls::data_parallel<ls::model<Net, ls::input<5>, ls::cross_entropy>, 1, ls::sgd> other;
    loader batches(data, how);
    ls::save_checkpoint(other, batches, at.path);
    return at.message(ls::sgd{});
  };
  using namespace ls;  // NOLINT(google-build-using-namespace)
  CHECK_THAT(
      (save.operator()<
          sequential<linear<9>, relu, dropout<0.2>, named<"b", skippable<linear<9>>>, frozen<linear<7>>, linear<4>>>()),
      Catch::Contains("tensor '4.weight': expected shape [6, 9], got [7, 9]; nothing was loaded"));
  CHECK_THAT(
      (save.operator()<
          sequential<linear<9>, relu, dropout<0.2>, named<"c", skippable<linear<9>>>, frozen<linear<6>>, linear<4>>>()),
      Catch::Contains("expected a tensor 'b.weight' of shape [9, 9], got none of that name"));
  CHECK_THAT((save.operator()<sequential<linear<9>, relu, dropout<0.2>, named<"b", skippable<linear<9>>>,
                                         frozen<linear<6>>, linear<4>, linear<4>>>()),
             Catch::Contains("expected no tensor '6.bias', which the model does not have"));
  CHECK_THAT(
      (save.
       operator()<sequential<linear<9>, relu, dropout<0.2>, named<"b", linear<9>>, frozen<linear<6>>, linear<4>>>()),
      Catch::Contains("expected 6 counts of steps, got 1") && Catch::Contains("another model"));
}

TEST_CASE("a checkpoint of a run on other batches is refused", "[checkpoint]") {
  const refusal at;
  at.save(ls::sgd{}, data, how);
  CHECK_THAT(at.message(ls::sgd{}, {.batch = 5, .shuffle = true, .seed = {3}}),
             Catch::Contains("expected a run whose loader has batch 5, got one with batch 4"));
  CHECK_THAT(at.message(ls::sgd{}, {.batch = 4, .shuffle = true, .seed = {4}}),
             Catch::Contains("expected a run whose loader has seed 4, got one with seed 3"));
  CHECK_THAT(at.message(ls::sgd{}, {.batch = 4}),
             Catch::Contains("expected a run whose loader has order in sequence, got one with order shuffled"));
  CHECK_THAT(at.message(ls::sgd{}, {.batch = 4, .shuffle = true, .seed = {3}, .drop_last = true}),
             Catch::Contains("expected a run whose loader has drop_last true, got one with drop_last false"));
  at.save(ls::sgd{}, make_samples(2), how);
  CHECK_THAT(at.message(ls::sgd{}), Catch::Contains("expected a run on the loader's data, got one on other data"));
  at.save(ls::sgd{}, data, {.batch = 4}, ls::data::random_sampler{22, {.seed = {1}}});
  CHECK_THAT(at.message(ls::sgd{}, {.batch = 4}, ls::data::random_sampler{22, {.seed = {2}}}),
             Catch::Contains("expected a run on the loader's sampler, got one on other draws"));
}

TEST_CASE("every change of a checkpoint's bytes is noticed", "[checkpoint]") {
  const refusal at;
  at.save(ls::adamw{}, data, how);
  const std::string whole = slurp(at.path);
  CHECK_NOTHROW(ls::inspect_checkpoint(at.path));
  std::mt19937 chance(7);
  const auto below = [&](std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(chance);
  };
  // Half of them in the header, which is the smaller part.
  std::uint64_t length = 0;
  std::memcpy(&length, whole.data(), sizeof length);
  const std::size_t header = sizeof length + length;
  for (int i = 0; i < 400; ++i) {
    std::string damaged = whole;
    const std::size_t place = below(i % 2 == 0 ? whole.size() : header);
    damaged[place] = static_cast<char>(static_cast<unsigned char>(damaged[place]) ^ (1U << below(8)));
    put(at.path, damaged);
    INFO("byte " << place);
    CHECK_THROWS_AS(ls::inspect_checkpoint(at.path), ls::io_error);
  }
  // Pieces that were written elsewhere, or never.
  for (int i = 0; i < 100; ++i) {
    std::string damaged = whole;
    const std::size_t count = 1 + below(600);
    const std::size_t to = below(whole.size() - count);
    if (i % 2 == 0)
      damaged.replace(to, count, whole, below(whole.size() - count), count);
    else
      damaged.replace(to, count, count, '\0');
    if (damaged == whole) continue;
    put(at.path, damaged);
    INFO(count << " bytes at " << to);
    CHECK_THROWS_AS(ls::inspect_checkpoint(at.path), ls::io_error);
  }
  put(at.path, whole);
  CHECK_NOTHROW(ls::inspect_checkpoint(at.path));
}

TEST_CASE("a damaged checkpoint is refused with what is wrong", "[checkpoint]") {
  const refusal at;
  at.save(ls::sgd{}, data, how);
  const std::string whole = slurp(at.path);
  const auto with = [&](const std::string& bytes) {
    put(at.path, bytes);
    return at.message(ls::sgd{});
  };
  const auto replaced = [&](std::string_view old, std::string_view by) {
    std::string bytes = whole;
    const std::size_t place = bytes.find(old);
    REQUIRE(place != std::string::npos);
    return with(bytes.replace(place, old.size(), by));
  };
  CHECK_THAT(with(""), Catch::Contains("expected a safetensors file of 8 bytes or more, got 0"));
  CHECK_THAT(with(whole.substr(0, 100)), Catch::Contains("expected a safetensors header"));
  CHECK_THAT(with(whole.substr(0, whole.size() - 1)), Catch::Contains("end by") || Catch::Contains("bytes after"));
  CHECK_THAT(with(whole + '\0'), Catch::Contains("bytes after the header"));
  std::string flipped = whole;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  CHECK_THAT(with(flipped), Catch::Contains("expected bytes of the checksum ") &&
                                Catch::Contains("the file is damaged, or another program has changed it"));
  CHECK_THAT(replaced("lockstep.steps\":\"8", "lockstep.steps\":\"9"), Catch::Contains("checksum"));
  CHECK_THAT(replaced("lockstep.checksum", "lockstep.checksun"),
             Catch::Contains("expected a checksum in its metadata"));
  CHECK_THAT(replaced("lockstep.version", "lockstep.versiom"), Catch::Contains("the file is damaged"));
  put(at.path, whole);
  CHECK_NOTHROW(ls::inspect_checkpoint(at.path));

  std::filesystem::remove(at.path);
  CHECK_THAT(at.message(ls::sgd{}), Catch::Contains("cannot open for reading"));
  std::filesystem::create_directory(at.path);
  CHECK_THAT(at.message(ls::sgd{}), Catch::Contains("expected a file, got a directory"));
}

TEST_CASE("a checkpoint of a later version of the library is refused", "[checkpoint]") {
  const refusal at;
  ls::write_safetensors(at.path, {}, {{"lockstep.version", "3"}});
  CHECK_THAT(at.message(ls::sgd{}), Catch::Contains("expected a checksum in its metadata"));
  // With the right checksum, which has zeros in its own place.
  const auto text = [&](const std::string& checksum) {
    ls::write_safetensors(at.path, {}, {{"lockstep.version", "3"}, {"lockstep.checksum", checksum}});
    return slurp(at.path);
  };
  ls::crc32c sum;
  const std::string zeros = text("00000000");
  sum.add(std::as_bytes(std::span(zeros.data(), zeros.size())));
  static_cast<void>(text(sum.text()));
  CHECK_THAT(at.message(ls::sgd{}), Catch::Contains("expected a checkpoint of version 2 or earlier, got version 3"));
}

TEST_CASE("a checkpoint that cannot be written is an error, and the old one stays", "[checkpoint]") {
  const refusal at;
  at.save(ls::sgd{}, data, how);
  const std::string before = slurp(at.path);
  trainer_of<ls::sgd> trainer;
  loader batches(data, how);
  go_on(trainer, batches, 2);
  {
    const file_size_limit limit(1000);
    CHECK_THROWS_WITH(ls::save_checkpoint(trainer, batches, at.path), Catch::Contains("ulimit -f"));
  }
  CHECK((slurp(at.path) == before));
  CHECK(at.folder.file_count() == 1);
  if (std::filesystem::exists("/dev/full"))
    CHECK_THROWS_WITH(ls::save_checkpoint(trainer, batches, "/dev/full"), Catch::Contains("free some space"));
  CHECK_THROWS_WITH(ls::save_checkpoint(trainer, batches, at.folder / "no/run"), Catch::Contains("make its folder"));
  CHECK_THROWS_WITH(ls::save_checkpoint(trainer, batches, at.folder.path().string()),
                    Catch::Contains("expected a file, got a directory"));
}

TEST_CASE("a checkpoint of a run whose pictures change is refused by one whose do not", "[checkpoint]") {
  const refusal at;
  using model = ls::model<ls::sequential<ls::flatten, ls::linear<3>>, ls::input<1, 1, 2>, ls::cross_entropy>;
  const ls::data::dataset<ls::shape<1, 1, 2>> pictures(std::vector<std::uint8_t>(24), std::vector<std::int64_t>(12, 0),
                                                       3);
  ls::data_parallel<model, 1> trainer;
  ls::data::loader changing{pictures, how, ls::data::augment{ls::data::flip<>{}}};
  ls::data::loader plain{pictures, how};
  ls::save_checkpoint(trainer, changing, at.path);
  CHECK(message_of<ls::io_error>([&] {
          static_cast<void>(ls::load_checkpoint(trainer, plain, at.path));
        }).find("expected a run whose loader has no augmentation, got one with augmentation flip(0.5)") !=
        std::string::npos);
  ls::save_checkpoint(trainer, plain, at.path);
  CHECK(message_of<ls::io_error>([&] {
          static_cast<void>(ls::load_checkpoint(trainer, changing, at.path));
        }).find("got one with transforms none") != std::string::npos);
}

TEST_CASE("a checkpoint of a run whose pictures change is refused by one that changes them otherwise", "[checkpoint]") {
  const refusal at;
  using model = ls::model<ls::sequential<ls::flatten, ls::linear<3>>, ls::input<1, 4, 2>, ls::cross_entropy>;
  using extents = ls::shape<1, 4, 2>;
  const ls::data::dataset<extents> pictures(std::vector<std::uint8_t>(96), std::vector<std::int64_t>(12, 0), 3);
  ls::data_parallel<model, 1> trainer;
  const auto refused = [&](auto saved, auto read) {
    ls::data::loader from{pictures, how, saved};
    ls::data::loader to{pictures, how, read};
    ls::save_checkpoint(trainer, from, at.path);
    return message_of<ls::io_error>([&] { static_cast<void>(ls::load_checkpoint(trainer, to, at.path)); });
  };
  using ls::data::augment;
  const augment flip{ls::data::flip<>{}};
  CHECK_THAT(refused(flip, augment{ls::data::flip<0.25>{}}),
             Catch::Contains("expected a run whose loader has augmentation flip(0.25), got one with augmentation "
                             "flip(0.5); give it the options of the run that was saved"));
  CHECK_THAT(refused(flip, augment{ls::data::cutout<2>{}}),
             Catch::Contains("cutout(2), got one with augmentation flip"));
  CHECK_THAT(refused(augment{ls::data::pad_and_crop<1>{}, ls::data::flip<>{}},
                     augment{ls::data::flip<>{}, ls::data::pad_and_crop<1>{}}),
             Catch::Contains("flip(0.5) pad_and_crop(1), got one with augmentation pad_and_crop(1) flip(0.5)"));
  CHECK_THAT(refused(augment{ls::data::random_erasing{}}, augment{ls::data::random_erasing{.value = {0.5F}}}),
             Catch::Contains("random_erasing(0.5,0.02,0.33,0.3,3.3,0.5), got one"));
  const auto normalised = [](float mean) {
    return augment{ls::data::normalise{ls::data::normalisation<extents>(std::vector{mean}, std::vector{2.F})}};
  };
  CHECK_THAT(refused(normalised(1.F), normalised(3.F)), Catch::Contains("augmentation normalise("));
  CHECK(refused(normalised(1.F), normalised(1.F)) == "nothing was thrown");
  CHECK(refused(flip, flip) == "nothing was thrown");
  // Functions say nothing of themselves.
  const augment darker{[](auto view, ls::data::random_draws&) { view(0, 0, 0) = 0; }};
  CHECK(refused(darker, darker) == "nothing was thrown");
  CHECK_THAT(refused(darker, flip), Catch::Contains("got one with augmentation a function"));
}
