// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Documents of different lengths as samples of one length.
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <type_traits>
#include <vector>

#include <lockstep/data/loader.hpp>
#include <lockstep/data/text/documents.hpp>

#include "data/data_support.hpp"
#include "support/catch.hpp"

namespace {

namespace ls = lockstep;
namespace data = ls::data;
using lockstep_test::error_of;
using lockstep_test::lacking;
using ids = std::vector<std::int32_t>;
using numbers = std::vector<std::int64_t>;

template <std::size_t Index, class Samples>
auto field_of(const Samples& samples, std::int64_t index) {
  const auto row = samples.template at<Index>(index);
  std::vector<std::remove_const_t<typename decltype(row)::element_type>> result;
  for (std::int64_t t = 0; t < row.extent(0); ++t) result.push_back(row(t));
  return result;
}

}  // namespace

TEST_CASE("documents: are padded or cut, and targets behind the end are ignored", "[data]") {
  const std::vector<ids> texts{{5, 6}, {1, 2, 3, 4}, {7, 8, 9, 10, 11, 12}, {13}};
  const auto samples = data::documents<4>(texts, {.padding = 99});
  REQUIRE(samples.size() == 4);
  CHECK(field_of<0>(samples, 0) == ids{5, 6, 99, 99});
  CHECK(field_of<1>(samples, 0) == numbers{6, -100, -100, -100});
  CHECK(field_of<0>(samples, 1) == ids{1, 2, 3, 4});
  CHECK(field_of<1>(samples, 1) == numbers{2, 3, 4, -100});
  CHECK(field_of<0>(samples, 2) == ids{7, 8, 9, 10});
  CHECK(field_of<1>(samples, 2) == numbers{8, 9, 10, 11});
  CHECK(field_of<0>(samples, 3) == ids{13, 99, 99, 99});
  CHECK(field_of<1>(samples, 3) == numbers{-100, -100, -100, -100});
  CHECK(numbers(samples.values<2>().begin(), samples.values<2>().end()) == numbers{2, 4, 4, 1});
}

TEST_CASE("documents: a token may end each of them", "[data]") {
  const std::vector<ids> texts{{5, 6}, {1, 2, 3}, {1, 2, 3, 4}, {}};
  const auto samples = data::documents<3>(texts, {.end = 50, .ignored = -1});
  CHECK(field_of<0>(samples, 0) == ids{5, 6, 50});
  CHECK(field_of<1>(samples, 0) == numbers{6, 50, -1});
  CHECK(field_of<0>(samples, 1) == ids{1, 2, 3});
  CHECK(field_of<1>(samples, 1) == numbers{2, 3, 50});
  CHECK(field_of<1>(samples, 2) == numbers{2, 3, 4});
  CHECK(field_of<0>(samples, 3) == ids{50, 0, 0});
  CHECK(field_of<1>(samples, 3) == numbers{-1, -1, -1});
  CHECK(numbers(samples.values<2>().begin(), samples.values<2>().end()) == numbers{3, 3, 3, 1});
}

TEST_CASE("documents: may have labels, and come in batches", "[data]") {
  const std::list<std::string> texts{"ab", "c", "defg"};  // bytes are tokens too
  const auto samples = data::labelled_documents<3>(texts, {1, 0, 1}, {.padding = 256});
  data::loader batches{samples, {.batch = 2}};
  const auto batch = *batches.begin();
  const auto& [tokens, labels, lengths] = batch;
  CHECK(tokens.extent(0) == 2);
  CHECK(tokens.extent(1) == 3);
  CHECK(tokens(0, 1) == 'b');
  CHECK(tokens(0, 2) == 256);
  CHECK(tokens(1, 1) == 256);
  CHECK(labels[0] == 1);
  CHECK(labels[1] == 0);
  CHECK(lengths[0] == 2);
  CHECK(lengths[1] == 1);
  CHECK(samples.values<2>()[2] == 3);
}

TEST_CASE("documents: of any range of tokens", "[data]") {
  const std::vector<std::vector<std::uint16_t>> small{{65535}, {1, 2}};
  CHECK(field_of<0>(data::documents<2>(small), 0) == ids{65535, 0});
  const std::array<std::array<std::int64_t, 2>, 1> wide{{{1, 2}}};
  CHECK(field_of<0>(data::documents<2>(wide), 0) == ids{1, 2});
  CHECK(data::documents<2>(std::vector<ids>{}).size() == 0);
}

TEST_CASE("documents: what cannot be a sample is refused", "[data]") {
  const auto refusal = [](const auto& texts) { return error_of<ls::error>([&] { (void)data::documents<2>(texts); }); };
  CHECK(lacking(refusal(std::vector<ids>{{1}, {}}), {"documents", "one token or more", "none in document 1", ".end"}) ==
        "");
  CHECK(lacking(refusal(std::vector<numbers>{{std::int64_t{1} << 31}}), {"whole numbers", "2147483648"}) == "");
  CHECK(lacking(error_of<ls::shape_error>([] {
                  (void)data::labelled_documents<2>(std::vector<ids>{{1}, {2}}, {0});
                }),
                {"2 samples"}) == "");
}
