// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Uses every part of the CPU library once, so that a compiler reads the bodies of its templates. Compiled, never run.

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <lockstep/backend/reference/reference.hpp>
#include <lockstep/comm/powersgd.hpp>
#include <lockstep/comm/simulated_link.hpp>
#include <lockstep/comm/threads.hpp>
#include <lockstep/data/cifar100.hpp>
#include <lockstep/data/normalisation.hpp>
#include <lockstep/data/random_split.hpp>
#include <lockstep/data/sampler.hpp>
#include <lockstep/inference.hpp>
#include <lockstep/lockstep.hpp>
#include <lockstep/observe/gpu_monitor.hpp>
#include <lockstep/observe/report.hpp>
#include <lockstep/observe/trace.hpp>
#include <lockstep/parallel/predictor.hpp>

namespace ls = lockstep;

namespace {

using net = ls::sequential<ls::named<"conv1", ls::conv2d<16, 3, ls::padding<1>>>, ls::relu, ls::max_pool2d<2>,
                           ls::conv2d<8, 5, ls::stride<2>>, ls::avg_pool2d<2>, ls::flatten, ls::dropout<0.2>,
                           ls::linear<24>, ls::relu, ls::named<"extra", ls::skippable<ls::linear<24>>>,
                           ls::frozen<ls::linear<16>>, ls::named<"fc", ls::linear<10>>>;
using classifier = ls::model<net, ls::input<3, 32, 32>, ls::cross_entropy>;
using regression =
    ls::model<ls::sequential<ls::linear<700>, ls::relu, ls::linear<10>>, ls::input<500>, ls::mean_squared_error>;
constexpr ls::sgd momentum{.learning_rate = 0.05F, .momentum = 0.9F, .weight_decay = 0.01F};

template <class Trainer>
void train(Trainer& trainer, const std::string& folder) {
  auto [train, test] = ls::data::cifar10(folder);
  trainer.initialize(ls::seed{1});
  for (auto&& [images, labels] : ls::data::loader{train, {.batch = 64, .shuffle = true}})
    static_cast<void>(trainer.step(images, labels));
  ls::evaluation result;
  for (auto&& [images, labels] : ls::data::loader{test, {.batch = 250}}) result += trainer.evaluate(images, labels);
  ls::save_safetensors(trainer, folder + "/model.safetensors");
  static_cast<void>(ls::load_safetensors(trainer, folder + "/model.safetensors", ls::match::partial));
  ls::save_checkpoint(trainer, folder + "/run.safetensors");
  ls::load_checkpoint(trainer, folder + "/run.safetensors");
}

template <class Hook>
void train_as_rank(ls::comm::threads& hub, const std::string& folder, const Hook& hook) {
  using link = ls::simulated_link<ls::comm::thread_rank>;
  ls::data_parallel<classifier, 2, link, ls::bucket_bytes<4096>, Hook> trainer(momentum, link(hub.take(0), {}), {}, {},
                                                                               hook);
  train(trainer, folder);
  trainer.verify();
}

template <class Trainer>
void observe(Trainer& trainer, const std::string& folder) {
  using backend = ls::cpu;
  ls::timeline times(3, 1000);
  trainer.record(&times);
  train(trainer, folder);
  ls::write_trace<classifier, backend>(folder + "/trace.json", times);
  ls::write_report(folder + "/report.html",
                   ls::make_report_data<classifier, backend>(times, {.replicas = 2, .batch = 64}));
  static_cast<void>(ls::gpu_monitor().read());
}

void use_data(const std::string& folder) {
  auto [train, test] = ls::data::random_split(ls::data::to_fields(ls::data::synthetic().train), {.validation = 0.2});
  const auto norm = ls::data::measure_normalisation(train);
  const auto normal = ls::data::normalised(std::move(train), norm);
  for (auto&& batch : ls::data::loader(normal, {.batch = 10}, ls::data::random_sampler(normal.size(), {})))
    static_cast<void>(batch);
  static_cast<void>(ls::data::cifar100(folder));
}

void serve(const std::string& folder) {
  ls::predictor<classifier, 2> server({.max_batch = 8, .latency = std::chrono::microseconds{50}});
  const ls::inference<classifier> plain(server);
  const std::vector<float> pixels(3 * 32 * 32);
  std::array<float, 10> scores{};
  std::vector<float> workspace(ls::inference<classifier>::workspace_size);
  plain(pixels, scores, workspace);
  const ls::inference<ls::model<ls::sequential<ls::linear<3>>, ls::input<10>>> last(std::vector<float>(33));
  static_cast<void>(last(scores));
  ls::load_safetensors(server, folder + "/model.safetensors");
  const ls::batch_of<float, 3, 32, 32> images(5);
  static_cast<void>(server.predict(images));
  static_cast<void>(server.submit(images).get());
}

void spread() {
  ls::batch_of<float, 3, 4> images(10);
  std::vector<std::int64_t> labels(10);
  const std::tuple batch{images.view(), std::span(labels)};
  const auto parts = ls::scatter<3>(batch);
  static_cast<void>(parts);
  static_cast<void>(ls::gather(std::array{ls::batch_of<float, 2>(2), ls::batch_of<float, 2>(3)}));
}

template <class Optimizer, class... Policies>
void train_with(const Optimizer& optimizer) {
  ls::data_parallel<regression, 1, Optimizer, Policies...> trainer(optimizer, {}, {.max_value = 1});
  static_cast<void>(trainer.step(ls::batch_of<float, 500>(9), ls::batch_of<float, 10>(9)));
}

void train_with_all() {
  using groups = ls::parameter_groups<ls::no_decay_on_vectors>;
  ls::data_parallel<regression, 2, ls::averaged<ls::adamw>, groups> averaging;
  static_cast<void>(averaging.averages().parameters());
  train_with(ls::adam{.amsgrad = true});
  train_with(ls::nadam{});
  train_with(ls::lion{});
  train_with(ls::muon{});
  train_with(ls::rmsprop{.momentum = 0.5, .centered = true});
  namespace schedule = ls::schedule;
  train_with(ls::scheduled{ls::adamw{}, schedule::warm_up{3, schedule::cosine{.steps = 9}}});
  train_with<ls::scheduled<ls::sgd, schedule::one_cycle>, groups>({ls::sgd{}, {.steps = 9}});
  for (const double factor :
       {schedule::constant{}(0), schedule::linear{.steps = 2}(1), schedule::step{.step_size = 2}(3),
        schedule::multi_step{.milestones = {1}}(2), schedule::reduce_on_plateau{}(0)})
    static_cast<void>(factor);
}

}  // namespace

int main(int count, char** arguments) {
  const std::string folder = arguments[count - 1];
  ls::data_parallel<classifier, 2> trainer(momentum);
  observe(trainer, folder);
  ls::data_parallel<classifier, 4, ls::reduce::reproducible> reproducible(momentum, {}, {.max_norm = 1});
  train(reproducible, folder);
  ls::data_parallel<classifier, 1, ls::reference<float>> plain(momentum);
  train(plain, folder);
  ls::data_parallel<regression, 2> wide(momentum);
  static_cast<void>(wide.step(ls::batch_of<float, 500>(9), ls::batch_of<float, 10>(9)));

  ls::comm::threads hub(1);
  train_as_rank(hub, folder, ls::fp16_hook({.error_feedback = true}));
  train_as_rank(hub, folder, ls::powersgd_hook({.min_compression_rate = 0.1}));
  use_data(folder);
  serve(folder);
  spread();
  train_with_all();
}
