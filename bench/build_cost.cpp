// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What a user pays for building: wall time, processor time and peak memory of the compiler for the programs in
// build_cost/, with -O2; where dlib's headers are found, beside the same network in dlib. The compiler, its flags and
// the folder come from the build (LOCKSTEP_BENCH_COMPILE, LOCKSTEP_BENCH_SOURCE_DIR, LOCKSTEP_BENCH_HAS_DLIB).

#include <benchmark/benchmark.h>

#include <string>

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

namespace {

double seconds(const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); }

void compile(benchmark::State& state, const char* source) {
  const std::string command = std::string("exec ") + LOCKSTEP_BENCH_COMPILE + " -O2 -c -o /dev/null " +
                              LOCKSTEP_BENCH_SOURCE_DIR + "/build_cost/" + source;
  long peak_kilobytes = 0;
  double processor_seconds = 0;
  for (auto _ : state) {
    std::string shell = "/bin/sh";
    std::string flag = "-c";
    std::string text = command;
    char* arguments[] = {shell.data(), flag.data(), text.data(), nullptr};
    pid_t child = 0;
    int status = -1;
    rusage usage{};
    if (posix_spawn(&child, "/bin/sh", nullptr, nullptr, arguments, environ) != 0 ||
        wait4(child, &status, 0, &usage) != child || status != 0) {
      state.SkipWithError("the compiler failed");
      return;
    }
    peak_kilobytes = std::max(peak_kilobytes, usage.ru_maxrss);
    processor_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  state.counters["cpu_s"] = processor_seconds;
  state.counters["peak_MB"] = static_cast<double>(peak_kilobytes) / 1024;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const auto add = [](const char* name, const char* source) {
    benchmark::RegisterBenchmark(name, compile, source)
        ->Unit(benchmark::kSecond)
        ->UseRealTime()
        ->Iterations(1)
        ->Repetitions(3);
  };
  add("compile/cnn", "cnn.cpp");
  add("compile/resnet20", "resnet20.cpp");
  add("compile/unet_small", "unet_small.cpp");
  add("compile/gpt", "gpt.cpp");
  add("compile/lstm", "lstm.cpp");
  add("compile/hundred_layers", "hundred_layers.cpp");
  add("compile/equal_layers", "equal_layers.cpp");
  add("compile/different_layers", "different_layers.cpp");
  if (LOCKSTEP_BENCH_HAS_DLIB) add("compile/dlib_cnn", "dlib_cnn.cpp");
  benchmark::RunSpecifiedBenchmarks();
}
