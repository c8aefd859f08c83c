// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The networks that read text, from a file to the bytes that they write.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <lockstep/io/safetensors_file.hpp>

#include "train/program.hpp"

namespace text_runs {

using namespace lockstep_test;

/// Words in an order that does not repeat soon.
std::string words(std::size_t size) {
  static const std::vector<std::string> all{"row", "your", "boat", "gently", "down", "the", "stream", "merrily"};
  std::string text;
  for (std::uint32_t i = 0, draw = 1; text.size() < size; ++i, draw = draw * 1664525 + 1013904223)
    text += all[draw >> 29U] + (i % 7 == 6 ? ".\n" : " ");
  text.resize(size);
  return text;
}

/// A folder with a text of 1500 bytes: 1350 to train on, of which samples are 10, and one sample to validate.
struct place_with_text : workplace {
  place_with_text() { write("words.txt", words(1500)); }

  [[nodiscard]] std::string succeed(const std::string& arguments) const {
    const outcome result = run(arguments);
    INFO(arguments << "\n" << result.err);
    REQUIRE(result.code == 0);
    CHECK(result.err.empty());
    return result.out;
  }
  [[nodiscard]] log_lines train(const std::string& arguments) const {
    CHECK(succeed("--data words.txt --quiet --log log.jsonl " + arguments).empty());
    return log_lines(read("log.jsonl"));
  }
  [[nodiscard]] std::string generate(const std::string& arguments) const {
    const outcome result = run(LOCKSTEP_GENERATE_PROGRAM, arguments);
    INFO(arguments << "\n" << result.err);
    REQUIRE(result.code == 0);
    CHECK(result.err.empty());
    return result.out;
  }
};

void check_refused(const outcome& result, const std::string& part) {
  INFO(result.err);
  CHECK(result.code == 2);
  CHECK(result.out.empty());
  CHECK(result.error_lines() == 1);
  CHECK(result.err.find(part) != std::string::npos);
}

/// The sum of some losses, each times the samples of its batch, over all samples.
double mean_of(const std::vector<double>& losses, const std::vector<double>& samples) {
  double sum = 0;
  double count = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    sum += losses[i] * samples[i];
    count += samples[i];
  }
  return sum / count;
}

TEST_CASE("a text trains each network that reads one") {
  LOCKSTEP_NEED_PROGRAM();
  for (const std::string model : {"gpt", "lstm"}) {
    INFO(model);
    const place_with_text place;
    const log_lines log =
        place.train("--model " + model + " --optimizer adamw --learning-rate 0.003 --batch 5 --epochs 4 --seed 1");
    REQUIRE(log.losses.size() == 8);  // two batches an epoch
    REQUIRE(log.test_losses.size() == 4);
    // All bytes are about equally likely before the first step.
    CHECK(std::abs(log.losses[0] - std::log(256.0)) < 0.5);
    CHECK(log.losses.back() < log.losses[0] - 1);
    CHECK(log.test_losses.back() < log.test_losses[0]);
    CHECK(log.accuracies.back() > 1.0 / 256);
  }
}

TEST_CASE("samples of a text lie side by side, and come in order without shuffling") {
  LOCKSTEP_NEED_PROGRAM();
  const place_with_text place;
  const std::string still = "--model gpt --learning-rate 0 --seed 2 ";
  const log_lines parts = place.train(still + "--no-shuffle --batch 4 --epochs 2");
  REQUIRE(parts.losses.size() == 6);
  for (std::size_t i = 0; i < 3; ++i) CHECK(parts.losses[i] == parts.losses[i + 3]);
  CHECK(parts.losses[0] != parts.losses[1]);
  const log_lines whole = place.train(still + "--no-shuffle --batch 10 --epochs 1");
  REQUIRE(whole.losses.size() == 1);
  CHECK(std::abs(whole.losses[0] - mean_of(parts.losses, {4, 4, 2})) < 1e-5);
  const log_lines shuffled = place.train(still + "--batch 4 --epochs 2");
  CHECK(shuffled.losses[0] != shuffled.losses[3]);
  CHECK(std::abs(whole.losses[0] - mean_of(shuffled.losses, {4, 4, 2})) < 1e-5);

  // The bytes behind the last tenth do not matter to the training, and those before it not to the validation.
  std::string text = words(1500);
  text.replace(0, 100, 100, 'x');
  place.write("words.txt", text);
  const log_lines begun = place.train(still + "--no-shuffle --batch 4 --epochs 1");
  CHECK(begun.losses[0] != parts.losses[0]);
  CHECK(begun.losses[1] == parts.losses[1]);
  CHECK(begun.test_losses[0] == parts.test_losses[0]);
  text = words(1500);
  text.replace(1350, 100, 100, 'x');
  place.write("words.txt", text);
  const log_lines ended = place.train(still + "--no-shuffle --batch 4 --epochs 1");
  for (std::size_t i = 0; i < 3; ++i) CHECK(ended.losses[i] == parts.losses[i]);
  CHECK(ended.test_losses[0] != parts.test_losses[0]);
}

TEST_CASE("networks of text are saved, loaded and trained on from there") {
  LOCKSTEP_NEED_PROGRAM();
  for (const std::string model : {"gpt", "lstm"}) {
    INFO(model);
    const place_with_text place;
    const std::string flags = "--model " + model + " --data words.txt --batch 4 ";
    const std::string trained = place.succeed(flags + "--steps 2 --save a");
    const std::string loaded = place.succeed(flags + "--steps 0 --init a --save b --seed 5");
    CHECK((place.read("a") == place.read("b")));
    const auto verdict = [](const std::string& out) { return out.substr(out.rfind("validation loss ")); };
    CHECK(loaded.find("finished: 0 steps ") != std::string::npos);
    CHECK(verdict(trained) == verdict(loaded));
    const auto file = lockstep::safetensors_file::read(place.path("a"));
    if (model == "gpt") {
      CHECK(file.at("transformer.h.3.attn.c_attn.weight").shape == std::vector<std::int64_t>{128, 384});
      CHECK(file.at("transformer.wpe.weight").shape == std::vector<std::int64_t>{128, 128});
    } else {
      CHECK(file.at("embedding.weight").shape == std::vector<std::int64_t>{256, 64});
      CHECK(file.at("lstm.weight_ih_l0").shape == std::vector<std::int64_t>{1024, 64});
      CHECK(file.at("lstm.bias_hh_l1").shape == std::vector<std::int64_t>{1024});
      CHECK(file.at("head.weight").shape == std::vector<std::int64_t>{256, 256});
    }
  }
}

TEST_CASE("a run on a text that stops goes on with the bits of an undisturbed one") {
  LOCKSTEP_NEED_PROGRAM();
  for (const std::string model : {"gpt", "lstm"}) {
    INFO(model);
    const place_with_text place;
    const std::string flags = "--model " + model + " --data words.txt --quiet --batch 4 --optimizer adamw ";
    CHECK(place.succeed(flags + "--steps 5 --save whole").empty());
    CHECK(place.succeed(flags + "--steps 2 --checkpoint run").empty());
    CHECK(place.succeed(flags + "--steps 5 --checkpoint run --resume --save cut").empty());
    CHECK((place.read("whole") == place.read("cut")));
    check_refused(place.run(flags + "--steps 6 --checkpoint run --resume --decay matrices"),
                  "has --decay all, not matrices");
  }
}

TEST_CASE("networks of text train to the same bits on any number of replicas") {
  LOCKSTEP_NEED_PROGRAM();
  for (const std::string model : {"gpt", "lstm"}) {
    INFO(model);
    const place_with_text place;
    const std::string flags = "--model " + model + " --batch 5 --steps 3 --optimizer adamw --reduce reproducible";
    const log_lines one = place.train(flags + " --replicas 1 --save one");
    const log_lines two = place.train(flags + " --replicas 2 --save two");
    CHECK(one.losses == two.losses);
    CHECK((place.read("one") == place.read("two")));
  }
}

TEST_CASE("weight decay leaves vectors alone when it is of matrices") {
  LOCKSTEP_NEED_PROGRAM();
  const place_with_text place;
  const std::string flags = "--model gpt --batch 2 --steps 1 --optimizer adamw --learning-rate 0.01 --weight-decay 5 ";
  static_cast<void>(place.train(flags + "--save all"));
  static_cast<void>(place.train(flags + "--save matrices --decay matrices"));
  const auto all = lockstep::safetensors_file::read(place.path("all"));
  const auto matrices = lockstep::safetensors_file::read(place.path("matrices"));
  for (const std::string name : {"transformer.wte.weight", "transformer.h.1.mlp.c_fc.weight"})
    CHECK(all.values_f32(name) == matrices.values_f32(name));
  // It begins as ones, of which the decay takes the learning rate times its factor.
  const auto with = all.values_f32("transformer.ln_f.weight");
  const auto without = matrices.values_f32("transformer.ln_f.weight");
  for (std::size_t i = 0; i < with.size(); ++i) CHECK(std::abs(without[i] - with[i] - 0.05F) < 1e-6F);
}

TEST_CASE("dropout trains another way from the same parameters") {
  LOCKSTEP_NEED_PROGRAM();
  const place_with_text place;
  const std::string flags = "--model gpt --batch 5 --epochs 1 --no-shuffle --learning-rate 0 --init begin ";
  CHECK(place.succeed("--model gpt --data words.txt --steps 0 --save begin --quiet --seed 3").empty());
  CHECK(place.succeed("--model gpt --data words.txt --steps 0 --save dropping --quiet --seed 3 --dropout 0.1").empty());
  CHECK((place.read("begin") == place.read("dropping")));
  const log_lines plain = place.train(flags);
  const log_lines dropped = place.train(flags + "--dropout 0.1 --seed 3");
  const log_lines others = place.train(flags + "--dropout 0.1 --seed 4");
  const log_lines two = place.train(flags + "--dropout 0.1 --seed 3 --replicas 2");
  CHECK(dropped.losses[0] != plain.losses[0]);
  CHECK(dropped.losses[0] != others.losses[0]);
  // What is dropped depends on the sample, not on its replica.
  for (std::size_t i = 0; i < 2; ++i) CHECK(std::abs(dropped.losses[i] - two.losses[i]) < 1e-5);
  // Nothing is dropped from what is measured.
  CHECK(std::abs(dropped.test_losses[0] - plain.test_losses[0]) < 1e-6);
}

TEST_CASE("a network writes as many bytes as it is asked for, by its seed") {
  LOCKSTEP_NEED_PROGRAM();
  const place_with_text place;
  const std::string trained = place.succeed(
      "--model gpt --data words.txt --batch 5 --steps 2 --optimizer adamw --quiet --save a --seed 7 "
      "--generate 150 --prompt row --temperature 1");
  CHECK(trained.size() == 150);  // more than the context
  const std::string flags = "--temperature 1 --prompt row --seed ";
  const auto train_writes = [&](const std::string& seed) {
    return place.succeed("--model gpt --init a --steps 0 --generate 150 " + flags + seed);
  };
  CHECK((train_writes("7") == trained));
  CHECK((train_writes("8") != trained));
  const std::string generate = "--model gpt --weights a --tokens 150 " + flags;
  CHECK((place.generate(generate + "7") == trained));
  CHECK((place.generate(generate + "7 --top-k 2") != trained));
  // The likeliest byte alone, said in three ways.
  const std::string likeliest = place.generate("--model gpt --weights a --temperature 0");
  CHECK(likeliest.size() == 256);
  CHECK((place.generate("--model gpt --weights a --top-k 1 --seed 3") == likeliest));
  CHECK((place.generate("--model gpt --weights a --top-p 1e-6 --seed 4") == likeliest));
}

TEST_CASE("a network without positions writes on from a prompt of any length") {
  LOCKSTEP_NEED_PROGRAM();
  const place_with_text place;
  const std::string prompt(200, 'x');  // longer than a sample
  CHECK(place.succeed("--model lstm --data words.txt --steps 0 --save a --quiet").empty());
  const outcome result = place.run("--model lstm --init a --steps 0 --generate 60 --seed 2 --prompt " + prompt);
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(result.out.size() == 60);
  CHECK((place.generate("--model lstm --weights a --tokens 60 --seed 2 --prompt " + prompt) == result.out));
  CHECK((place.generate("--model lstm --weights a --tokens 60 --seed 3 --prompt " + prompt) != result.out));
}

TEST_CASE("networks that have learned a pattern write it on") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  std::string text;
  while (text.size() < 2000) text += "abcdef";
  place.write("text", text);
  for (const std::string model : {"gpt", "lstm"}) {
    const outcome result = place.run(
        "--data text --batch 4 --steps 40 --optimizer adamw --learning-rate 0.005 --quiet --generate 15 --prompt "
        "abcdefabcd --temperature 0 --model " +
        model);
    INFO(model << result.err);
    CHECK(result.code == 0);
    CHECK(result.out == "efabcdefabcdefa");
  }
}

TEST_CASE("what does not go with a text is refused in a line") {
  LOCKSTEP_NEED_PROGRAM();
  const place_with_text place;
  place.write("short.txt", words(1289));
  place.make_folder("digits");
  place.write("digits/train-images-idx3-ubyte", "");
  place.write("other", std::string("\x1F\x8B\x08\x00", 4));
  const auto refused = [&](const std::string& arguments, const std::string& part) {
    INFO(arguments);
    check_refused(place.run(arguments), part);
  };
  refused("--model gpt --data digits", "--model gpt reads a text, and digits has pictures");
  refused("--model lstm --data digits", "--model lstm reads a text, and digits has pictures");
  refused("--model gpt", "--model gpt reads a text; name its file with --data");
  refused("--model gpt --data none.txt", "none.txt");
  refused("--model gpt --data other", "expected a text file");
  refused("--model gpt --data short.txt", "--data: expected a text of 1290 bytes or more");
  refused("--model cnn --data words.txt", "--model cnn takes pictures, and words.txt is a text");
  refused("--model gpt --data words.txt --replicas 8", "--model gpt works with 1, 2 or 4 --replicas, not with 8");
  refused("--model gpt --data words.txt --dropout 0.2", "--dropout: expected 0, or 0.1 with --model gpt");
  refused("--model lstm --data words.txt --dropout 0.1", "--dropout: expected 0, or 0.1 with --model gpt");
  refused("--model gpt --data words.txt --dropout 0.1 --replicas 4",
          "--dropout works with 1 or 2 --replicas, not with 4");
  refused("--model gpt --data words.txt --augment", "--augment changes pictures, and --model gpt has none");
  refused("--model lstm --data words.txt --precision bf16", "goes with --model cnn, mlp or resnet20, not with lstm");
  refused("--model cnn --decay matrices", "--decay goes with --model gpt or lstm, not with cnn");
  refused("--model cnn --generate 5", "--generate goes with --model gpt or lstm, which write text, not with cnn");
  refused("--model gpt --data words.txt --prompt row", "--generate");
  refused("--model gpt --steps 0 --generate 5 --prompt ''", "--prompt: expected a text of one byte or more");
  refused("--model gpt --steps 0 --generate 5 --prompt " + std::string(129, 'x'),
          "--prompt: expected at most 128 bytes, which --model gpt remembers, got 129");
  refused("--model gpt --steps 0 --generate 0", "--generate");
  refused("--model gpt --steps 0 --generate 5 --temperature -1", "--temperature");
  refused("--model gpt --steps 0 --generate 5 --init none", "none");
  CHECK(place.run("--model gpt --steps 0 --generate 5 --prompt " + std::string(128, 'x')).out.size() == 5);

  const auto generate_refuses = [&](const std::string& arguments, const std::string& part) {
    INFO(arguments);
    const outcome result = place.run(LOCKSTEP_GENERATE_PROGRAM, arguments);
    check_refused(result, part);
    CHECK(result.err.starts_with("lockstep-generate: "));
  };
  generate_refuses("--weights a", "--model is required");
  generate_refuses("--model cnn --weights a", "--model");
  generate_refuses("--model gpt", "--weights is required");
  generate_refuses("--model gpt --weights none", "none: cannot open");
  generate_refuses("--model gpt --weights words.txt", "words.txt: expected a safetensors header");
  generate_refuses("--model gpt --weights none --prompt ''", "--prompt: expected a text of one byte or more");
  generate_refuses("--model gpt --weights none --prompt " + std::string(129, 'x'), "expected at most 128 bytes");
  generate_refuses("--model gpt --weights none --tokens -1", "--tokens: expected a whole number from 0");
  generate_refuses("--model gpt --weights none --temperature nan", "--temperature: expected a finite number");
  generate_refuses("--model gpt --weights none --top-k -1", "--top-k: expected a whole number from 0");
  generate_refuses("--model gpt --weights none --top-p 0", "--top-p: expected a number above 0 and at most 1");
}

TEST_CASE("the plan of a network of text needs no text") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome result = place.run("--model gpt --plan --replicas 2");
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(result.out.find("transformer.h.3.mlp.c_proj") != std::string::npos);
}

}  // namespace text_runs
