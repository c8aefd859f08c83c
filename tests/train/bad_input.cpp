// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <string>

#include "train/program.hpp"

namespace {

using namespace lockstep_test;

/// One line on stderr that names the program and holds `part`, nothing on stdout, exit code 2.
void check_refused(const workplace& place, const std::string& arguments, const std::string& part) {
  const outcome result = place.run(arguments);
  INFO(arguments << "\n" << result.err);
  CHECK(result.code == 2);
  CHECK(result.out.empty());
  CHECK(result.error_lines() == 1);
  CHECK(result.err.rfind("lockstep-train: ", 0) == 0);
  CHECK(result.err.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a flag out of its domain is one line on stderr and exit code 2") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  check_refused(place, "--no-such-flag", "--no-such-flag");
  check_refused(place, "stray", "stray");
  check_refused(place, "--model vgg", "vgg");
  check_refused(place, "--batch 0", "--batch");
  check_refused(place, "--batch -5", "-5");
  check_refused(place, "--batch many", "many");
  check_refused(place, "--batch 99999999999999999999", "--batch");
  check_refused(place, "--epochs 0", "--epochs");
  check_refused(place, "--steps -1", "--steps");
  check_refused(place, "--steps 5 --epochs 1", "--steps");
  check_refused(place, "--replicas 5", "--replicas");
  check_refused(place, "--replicas 0", "--replicas");
  check_refused(place, "--replicas 4294967297", "--replicas");
  check_refused(place, "--learning-rate nan", "--learning-rate");
  check_refused(place, "--learning-rate -1", "--learning-rate");
  check_refused(place, "--momentum inf", "--momentum");
  check_refused(place, "--optimizer adamw --momentum 0.9", "--momentum goes with --optimizer sgd, not with adamw");
  check_refused(place, "--warmup -1", "--warmup");
  check_refused(place, "--warmup 5 --schedule one-cycle", "one-cycle, which rises by itself");
  check_refused(place, "--model linear --steps 5 --warmup 5",
                "--warmup: expected fewer steps than the training's 5, got 5");
  check_refused(place, "--max-norm 0", "--max-norm");
  check_refused(place, "--max-norm inf", "--max-norm");
  check_refused(place, "--reduce reproducible --replicas 3", "1, 2, 4 or 8 --replicas");
  check_refused(place, "--seed -1", "--seed");
  check_refused(place, "--seed 18446744073709551616", "--seed");
  check_refused(place, "--init ''", "--init");
  check_refused(place, "--batch", "--batch");
}

TEST_CASE("what this version does not have is refused like any other unknown value") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  // The last word of each is what the message must name.
  for (const std::string flag : {"--model unet", "--optimizer lion", "--schedule plateau", "--precision fp16",
                                 "--convolution f6", "--reduce fastest"})
    check_refused(place, flag, flag.substr(flag.find(' ') + 1));
  const std::string help = place.run("--help").out;
  for (const std::string word : {"unet", "lion"}) {
    INFO(word);
    CHECK(help.find(word) == std::string::npos);
  }
}

TEST_CASE("a precision that the CPU does not have is refused for it, and not shown where there is no other backend") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  check_refused(place, "--precision tf32", "tf32");
  check_refused(place, "--precision int8 --backend cpu", "int8");
  const bool shown = place.run("--help").out.find("tf32") != std::string::npos;
  CHECK(shown == LOCKSTEP_TRAIN_HAS_CUDA);
}

TEST_CASE("bfloat16 on the CPU and algorithms of convolutions are refused where no network was built for them") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  for (const std::string model : {"linear", "lenet", "vit"})
    check_refused(place, "--precision bf16 --model " + model,
                  "--precision bf16 on the CPU goes with --model cnn, mlp or resnet20, not with " + model);
  check_refused(place, "--precision bf16 --replicas 4",
                "--precision bf16 on the CPU works with 1 or 2 --replicas, not with 4");
  place.make_folder("digits");
  place.write("digits/train-images-idx3-ubyte", "");
  check_refused(place, "--precision bf16 --model mlp --data digits",
                "--precision bf16 on the CPU takes pictures of 3x32x32, as CIFAR-10's, and digits has IDX files");
  for (const std::string other :
       {"--model cnn", "--model resnet20 --precision bf16", "--model resnet20 --reduce reproducible"})
    check_refused(place, other + " --convolution f2",
                  "--convolution f2 goes with --model resnet20 on the CPU, --precision fp32 and --reduce automatic");
  check_refused(place, "--model resnet20 --convolution direct --replicas 4",
                "--convolution direct works with 1 or 2 --replicas, not with 4");
}

TEST_CASE("a backend that is not built in is refused, and what to do about it said") {
  LOCKSTEP_NEED_PROGRAM();
  if (LOCKSTEP_TRAIN_HAS_CUDA) LOCKSTEP_SKIP("this program has the CUDA backend");
  const workplace place;
  check_refused(place, "--backend cuda", "LOCKSTEP_ENABLE_CUDA");
  check_refused(place, "--device 1", "--device");
  CHECK(place.run("--help").out.find("cuda") == std::string::npos);
}

TEST_CASE("folders without data are refused by name") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  check_refused(place, "--data nowhere", "nowhere");
  place.make_folder("empty");
  check_refused(place, "--data empty", "empty");
  place.write("a-file", "text");
  check_refused(place, "--data a-file", "a-file");
  place.make_folder("damaged");
  place.write("damaged/data_batch_1.bin", std::string(3073, '\0'));
  place.write("damaged/test_batch.bin", std::string(3072, '\0'));
  check_refused(place, "--data damaged", "test_batch.bin");
}

TEST_CASE("files that cannot be used are refused before training") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  check_refused(place, "--model linear --init missing.safetensors", "missing.safetensors");
  place.write("broken.safetensors", "this is no safetensors file");
  check_refused(place, "--model linear --init broken.safetensors", "broken.safetensors");
  REQUIRE(place.run("--model linear --steps 1 --save linear.safetensors").code == 0);
  check_refused(place, "--model cnn --init linear.safetensors", "conv1.weight");
  check_refused(place, "--model linear --save no/such/folder/file", "no/such/folder/file");
  place.make_folder("taken");
  check_refused(place, "--model linear --save taken", "taken");
  check_refused(place, "--model linear --trace no/such/folder/file", "no/such/folder/file");
  check_refused(place, "--model linear --report taken", "taken");
  check_refused(place, "--model linear --log no/such/folder/file", "make its folder first");
  check_refused(place, "--model linear --save one --report one", "--save and --report name the same file one");
  check_refused(place, "--model linear --log one --trace one", "--log and --trace name the same file one");
  check_refused(place, "--model linear --save one --report ./one", "--save and --report name the same file ./one");
  CHECK_FALSE(place.has("one"));
}

TEST_CASE("a log that cannot be written ends the run") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  const outcome missing = place.run("--model linear --quiet --log no/such/folder/log");
  CHECK(missing.code == 2);
  CHECK(missing.error_lines() == 1);
  if (std::filesystem::exists("/dev/full")) {
    const outcome full = place.run("--model linear --quiet --log /dev/full");
    CHECK(full.code == 2);
    CHECK(full.error_lines() == 1);
    CHECK(full.err.find("/dev/full") != std::string::npos);
  }
}

TEST_CASE("a network that does not fit the data or the replicas is refused") {
  LOCKSTEP_NEED_PROGRAM();
  const workplace place;
  check_refused(place, "--model resnet20 --replicas 8", "--model resnet20 works with 1, 2 or 4 --replicas, not with 8");
  check_refused(place, "--model resnet20 --reduce reproducible --replicas 8", "1, 2 or 4 --replicas");
  place.make_folder("colour");
  place.write("colour/data_batch_1.bin", std::string(3073, '\0'));
  place.write("colour/test_batch.bin", std::string(3073, '\0'));
  place.make_folder("digits");
  place.write("digits/train-images-idx3-ubyte", "");
  check_refused(place, "--model lenet --data colour", "--model lenet takes pictures of 1x28x28");
  check_refused(place, "--model resnet20 --data digits", "--model resnet20 takes pictures of 3x32x32");
  check_refused(place, "--model resnet20 --data digits --plan", "--model resnet20 takes pictures of 3x32x32");
  check_refused(place, "--model vit --data digits", "--model vit takes pictures of 3x32x32");
  check_refused(place, "--model vit --replicas 8", "--model vit works with 1, 2 or 4 --replicas, not with 8");
  check_refused(place, "--model linear --augment", "--augment changes pictures, and --model linear has none");
  check_refused(place, "--model linear --normalise", "--normalise changes pictures, and --model linear has none");
}
