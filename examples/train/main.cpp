// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <fmt/format.h>
#include <unistd.h>

#include <lockstep/core/error.hpp>
#include <lockstep/core/random.hpp>
#include <lockstep/generate/sampling.hpp>
#include <lockstep/io/output_target.hpp>

#include "checkpointing.hpp"
#include "complain.hpp"
#include "cpu.hpp"
#include "data.hpp"
#include "fit.hpp"
#include "gpu.hpp"
#include "networks.hpp"
#include "optimizer.hpp"
#include "options.hpp"

namespace {

using namespace lockstep_train;

// Exit codes.
constexpr int done = 0;
constexpr int failure = 1;
constexpr int bad_input = 2;
constexpr int diverged = 3;

void print_shape(const lockstep::dims& shape) {
  std::string text;
  for (int i = 0; i < shape.rank; ++i) text.append(i == 0 ? "" : ", ").append(std::to_string(shape[i]));
  fmt::print("output shape ({})\n", text);
}

/// Says where replicas run when they share GPUs, since that is slower than a GPU for each.
void print_sharing(const std::vector<int>& devices) {
  const std::set<int> used(devices.begin(), devices.end());
  if (used.size() == devices.size()) return;
  fmt::print("{} replicas share {} GPU{}: {}\n", devices.size(), used.size(), used.size() == 1 ? "" : "s",
             fmt::join(devices, ", "));
}

/// Steps of the whole training.
std::int64_t steps_of(const options& o, std::int64_t per_epoch) {
  if (o.steps) return *o.steps;
  return std::min(o.epochs, std::numeric_limits<std::int64_t>::max() / per_epoch) * per_epoch;
}

/// Prints what the network writes, and nothing else; a terminal gets a new line after it.
void print_text(const options& o, const trainer& t) {
  const std::string text = t.generate(
      o.prompt, o.generate, {.temperature = o.temperature, .top_k = 0, .top_p = 1, .seed = lockstep::seed{o.seed}});
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (::isatty(STDOUT_FILENO) != 0) std::fputc('\n', stdout);
}

/// Throws usage_error for a prompt that the network cannot write on from.
void require_short_prompt(const options& o, const network& net) {
  if (static_cast<std::int64_t>(o.prompt.size()) > net.longest_prompt)
    throw usage_error(fmt::format("--prompt: expected at most {} bytes, which --model {} remembers, got {}",
                                  net.longest_prompt, o.model, o.prompt.size()));
}

/// Returns the exit code.
int train(options o) {
  const sample_format format = format_of(o);
  const bool on_gpu = o.backend == "cuda";
  const network net = on_gpu ? gpu()->pick(o, format) : pick_on_cpu(o, format);
  if (o.plan) {
    fmt::print("{}\nover ranks, gradients are reduced in these buckets\n{}", net.plan(o.replicas, o.batch),
               net.buckets());
    return done;
  }
  if (o.generate > 0) require_short_prompt(o, net);
  // A run that cannot be saved should fail before it starts.
  for (const std::string* file : {&o.save, &o.log, &o.trace, &o.report})
    if (!file->empty()) lockstep::check_output(*file, file == &o.log);
  if (on_gpu)
    o.devices = gpu()->place(o);
  else
    require_processor(o);
  const auto t = net.make(o);
  if (!o.init.empty()) t->load(o.init);
  if (only_generates(o)) {
    print_text(o, *t);
    return done;
  }
  data_set data = open_data(o, format);
  if (o.steps != std::int64_t{0}) t->follow(schedule_of(o, steps_of(o, data.train->batches())));
  std::optional<checkpointing> keeper;
  if (!o.checkpoint.empty()) keeper.emplace(o, *t, data);
  if (!o.quiet) {
    fmt::print("{}: {} parameters, {} replica{}, batch {}, {} training samples ({})\n", o.model, net.parameters,
               o.replicas, o.replicas == 1 ? "" : "s", o.batch, data.train->samples(), data.description);
    if (on_gpu) print_sharing(o.devices);
    if (o.resume && keeper->resumed_from().empty())
      fmt::print("no checkpoint in {} yet: the run begins\n", o.checkpoint);
    if (o.resume && !keeper->resumed_from().empty())
      fmt::print("goes on after step {}, from {}\n", t->steps(), keeper->resumed_from());
    if (format == sample_format::rows) print_shape(t->output_shape(std::min(o.batch, data.train->samples())));
    std::fflush(stdout);
  }
  if (!fit(o, net, *t, data, keeper ? &*keeper : nullptr)) return diverged;
  if (!o.save.empty()) {
    data.notes.emplace(data.notes.begin(), "format", "pt");  // as Hugging Face's loaders ask for
    t->save(o.save, data.notes);
  }
  if (o.generate > 0) print_text(o, *t);
  return done;
}

int complain(std::string_view message, int code) {
  lockstep_train::complain(message);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  // The reader of a pipe that goes away is then told of like a full disk, instead of ending the program without a word.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    int code = done;
    if (auto o = parse(argc, argv)) code = train(std::move(*o));
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return complain("the output cannot be written", failure);
    return code;
  } catch (const usage_error& error) {
    return complain(error.what(), bad_input);
  } catch (const lockstep::replica_error& error) {
    return complain(error.what(), failure);
  } catch (const lockstep::resource_error& error) {
    return complain(error.what(), failure);
  } catch (const lockstep::backend_error& error) {
    return complain(error.what(), failure);
  } catch (const lockstep::error& error) {
    return complain(error.what(), bad_input);
  } catch (const std::bad_alloc&) {
    return complain("the memory is not enough; a smaller --batch needs less", failure);
  } catch (const std::exception& error) {
    return complain(error.what(), failure);
  }
}
