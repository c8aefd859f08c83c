// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cuda/std/mdspan>
#include <cuda/std/span>

#include <lockstep/backend/cuda/cuda.hpp>
#include <lockstep/parallel/data_parallel.hpp>

#include "device.hpp"
#include "training.hpp"

/// \file
/// Batches and outputs in a device's memory, in containers of other libraries.

namespace {

using namespace lockstep_test;
namespace backend = ls::cuda_backend;

using classes = ls::model<ls::sequential<ls::linear<9>, ls::relu, ls::linear<5>>, ls::input<5>, ls::cross_entropy>;

/// Stands in for thrust::device_vector, which only nvcc compiles: data() gives a pointer of its own kind.
template <class T>
class device_values {
 public:
  device_values(backend::context& c, const std::vector<T>& values)
      : values_(backend::allocate<T>(c, static_cast<std::int64_t>(values.size()))) {
    backend::copy<T>(c, values_.size(), values.data(), values_.data());
    c.finish();
  }
  struct pointer {
    T* address;
    [[nodiscard]] T* get() const { return address; }
  };
  struct const_pointer {
    const T* address;
    [[nodiscard]] const T* get() const { return address; }
  };
  [[nodiscard]] pointer data() { return {values_.data()}; }
  [[nodiscard]] const_pointer data() const { return {values_.data()}; }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(values_.size()); }

  [[nodiscard]] std::vector<T> read(backend::context& c) const {
    std::vector<T> host(size());
    backend::copy<T>(c, values_.size(), values_.data(), host.data());
    c.finish();
    return host;
  }

 private:
  backend::buffer<T> values_;
};

/// Steps that are recorded and run again; some batches fit in a packet, the last does not. Returns losses and outputs.
template <class Model, class Target, int N, class Hand>
floats run(const Hand& hand) {
  ls::data_parallel<Model, N, ls::cuda> trainer(with_momentum);
  backend::context c;
  floats all;
  std::uint64_t stream = 40;
  for (const std::int64_t samples : {8, 8, 8, 3, 8, 4000, 4000, 4000}) {
    const auto entered = c.enter();
    const floats x = draws(stream++, samples * Model::input_dims.size());
    std::vector<Target> t;
    if constexpr (std::is_same_v<Target, float>)
      t = draws(stream++, samples * Model::output_dims.size());
    else
      for (const std::int64_t k : class_draws(stream++, samples, 5)) t.push_back(static_cast<Target>(k));
    hand(c, trainer, x, t, all);
  }
  return all;
}

template <class Model, class Target, int N>
void check_model() {
  const floats expected =
      run<Model, Target, N>([](backend::context&, auto& trainer, const floats& x, const auto& t, floats& all) {
        all.push_back(static_cast<float>(trainer.step(x, t)));
        all.push_back(static_cast<float>(trainer.evaluate(x, t).loss()));
        const auto y = trainer.forward(x);
        all.insert(all.end(), y.begin(), y.end());
      });
  const auto check = [&](const auto& as_images, const auto& as_targets) {
    const floats given =
        run<Model, Target, N>([&](backend::context& c, auto& trainer, const floats& x, const auto& t, floats& all) {
          const device_values<float> device_x(c, x);
          const device_values<Target> device_t(c, t);
          device_values<float> y(c, floats(x.size() / Model::input_dims.size() * Model::output_dims.size()));
          all.push_back(static_cast<float>(trainer.step(as_images(device_x), as_targets(device_t))));
          all.push_back(static_cast<float>(trainer.evaluate(as_images(device_x), as_targets(device_t)).loss()));
          trainer.forward(as_images(device_x), y);
          const floats outputs = y.read(c);
          all.insert(all.end(), outputs.begin(), outputs.end());
        });
    CHECK(same_bits(given, expected));
  };
  const auto itself = [](const auto& values) -> const auto& { return values; };
  const auto as_span = [](const auto& values) { return ::cuda::std::span(values.data().get(), values.size()); };
  check(itself, itself);
  check(as_span, as_span);
  const auto as_matrix = [](const auto& values) {
    return ::cuda::std::mdspan(values.data().get(), static_cast<int>(values.size() / Model::input_dims.size()),
                               static_cast<int>(Model::input_dims.size()));
  };
  check(as_matrix, itself);
}

}  // namespace

TEST_CASE("batches and outputs may lie in a device's memory, in containers of Thrust and libcu++", "[batches]") {
  LOCKSTEP_NEEDS_DEVICE();
  SECTION("values as targets") {
    check_model<regression, float, 1>();
    check_model<regression, float, 2>();
  }
  SECTION("class indices as targets") {
    check_model<classes, std::int64_t, 1>();
    check_model<classes, std::int32_t, 2>();
  }
}

TEST_CASE("outputs go to a device's memory as to the host's", "[batches]") {
  LOCKSTEP_NEEDS_DEVICE();
  ls::data_parallel<regression, 1, ls::cuda> trainer(with_momentum);
  backend::context c;
  const auto entered = c.enter();
  const floats x = draws(1, 6 * 5);
  const auto expected = trainer.forward(x);
  auto y = backend::allocate<float>(c, 6 * 3);
  const auto check = [&](auto&& out) {
    backend::clear(c, y.size(), y.data());
    c.finish();
    trainer.forward(x, out);
    floats got(static_cast<std::size_t>(y.size()));
    backend::copy<float>(c, y.size(), y.data(), got.data());
    c.finish();
    CHECK(same_bits(got, floats(expected.begin(), expected.end())));
  };
  check(::cuda::std::span<float>(y.data(), 18));
  check(::cuda::std::mdspan<float, ::cuda::std::dextents<int, 2>>(y.data(), 6, 3));
  CHECK_THROWS_AS(trainer.forward(x, ::cuda::std::span<float>(y.data(), 15)), ls::shape_error);
}
