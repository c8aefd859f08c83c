// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What a user pays for building: wall time and peak memory of the compiler for the programs in build_cost/, with -O2.
// The compiler, its flags and the folder come from the build (LOCKSTEP_BENCH_COMPILE, LOCKSTEP_BENCH_SOURCE_DIR).

#include <benchmark/benchmark.h>

#include <string>

#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

namespace {

void compile(benchmark::State& state, const char* source) {
  const std::string command = std::string("exec ") + LOCKSTEP_BENCH_COMPILE + " -O2 -c -o /dev/null " +
                              LOCKSTEP_BENCH_SOURCE_DIR + "/build_cost/" + source;
  long peak_kilobytes = 0;
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
  }
  state.counters["peak_MB"] = static_cast<double>(peak_kilobytes) / 1024;
}

}  // namespace

BENCHMARK_CAPTURE(compile, cnn, "cnn.cpp")->Unit(benchmark::kSecond)->UseRealTime()->Iterations(1)->Repetitions(3);
BENCHMARK_CAPTURE(compile, hundred_layers, "hundred_layers.cpp")
    ->Unit(benchmark::kSecond)
    ->UseRealTime()
    ->Iterations(1)
    ->Repetitions(3);

BENCHMARK_MAIN();
