// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/io/message.hpp>
#include <lockstep/io/safetensors_format.hpp>

namespace lockstep {

/// What load_safetensors does when file and model do not agree.
enum class match : std::uint8_t {
  strict,  ///< throws and loads nothing
  partial  ///< loads what fits and returns the names of the rest
};

/// The tensors that a load left out, by name. All lists are empty when file and model agree.
struct load_report {
  std::vector<std::string> missing;  ///< names in the model but not in the file
  std::vector<std::string> foreign;  ///< names in the file but not in the model
  std::vector<std::string> misfit;   ///< names in both whose shapes differ, or whose elements in the file do not fit:
                                     ///< they are not F32, F64, F16 or BF16

  [[nodiscard]] bool complete() const noexcept { return missing.empty() && foreign.empty() && misfit.empty(); }
};

namespace detail {

/// A tensor that a file should provide.
struct wanted_tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  /// Not 0 for a tensor of whole numbers, which may be I64 in the file: the largest that its elements can hold.
  std::int64_t most_count = 0;
};

/// The entries of a file that fit a list of wanted tensors.
struct tensor_match {
  std::vector<const safetensors_entry*> entries;  // one per wanted tensor; null where none fits
  load_report report;
  std::vector<std::string> misfits;  // one sentence per name in report.misfit
};

/// Prefixes that wrappers put before every name: torch.nn.DataParallel and DistributedDataParallel add `module.`,
/// torch.compile adds `_orig_mod.`.
inline constexpr std::array<std::string_view, 5> wrapper_prefixes{"", "module.", "_orig_mod.", "module._orig_mod.",
                                                                  "_orig_mod.module."};

/// The prefix with which the most wanted names are found, of which found(prefix) is the number; the first when several
/// tie.
template <class Found>
[[nodiscard]] constexpr std::string_view wrapper_prefix(const Found& found) {
  std::string_view best;
  std::ptrdiff_t most = 0;
  for (const std::string_view prefix : wrapper_prefixes)
    if (const std::ptrdiff_t count = found(prefix); count > most) {
      most = count;
      best = prefix;
    }
  return best;
}

/// The component that all wanted names begin with, with its dot; empty when they have none in common. A file that a
/// part of a model was saved to lacks it: GPT2Model's names are those of GPT2LMHeadModel without `transformer.`.
[[nodiscard]] inline std::string_view common_component(const std::vector<wanted_tensor>& wanted) {
  if (wanted.empty()) return {};
  const std::string_view first = wanted.front().name;
  const std::string_view component = first.substr(0, first.find('.') + 1);  // empty without a dot
  const bool all = std::all_of(wanted.begin(), wanted.end(),
                               [&](const wanted_tensor& tensor) { return tensor.name.starts_with(component); });
  return all ? component : std::string_view{};
}

/// Why an entry does not hold whole numbers up to `most`; empty when it does.
template <class = void>
[[nodiscard, gnu::cold]] std::string misfit_of_counts(const std::string& name, const safetensors_entry& entry,
                                                      std::int64_t most) {
  if (entry.dtype != "I64" && !is_convertible_to_float(entry.dtype))
    return message(
        {"tensor '", clipped(name), "': expected element type I64, F32, F64, F16 or BF16, got ", entry.dtype});
  for (const double value : counted_values<double>(entry))
    if (!(value >= 0 && value <= static_cast<double>(most) && value == std::floor(value)))
      return message({"tensor '", clipped(name), "': expected whole numbers from 0 to ", most, ", got ",
                      std::string_view(std::to_string(value))});
  return {};
}

template <class File>
[[nodiscard]] tensor_match match_tensors(const File& file, const std::vector<wanted_tensor>& wanted) {
  std::size_t dropped = 0;  // characters of every name that the file does not have
  const auto name_in_file = [&](std::string_view prefix, const wanted_tensor& tensor) {
    return message({prefix, std::string_view(tensor.name).substr(dropped)});
  };
  const auto found = [&](std::string_view prefix) {
    return std::count_if(wanted.begin(), wanted.end(),
                         [&](const wanted_tensor& tensor) { return file.contains(name_in_file(prefix, tensor)); });
  };
  std::string_view prefix = wrapper_prefix(found);
  if (found(prefix) == 0) {
    dropped = common_component(wanted).size();
    prefix = wrapper_prefix(found);
    if (found(prefix) == 0) dropped = 0;
  }
  tensor_match result;
  std::vector<std::string> names;
  for (const auto& tensor : wanted) {
    const std::string& name = names.emplace_back(name_in_file(prefix, tensor));
    result.entries.push_back(nullptr);
    if (!file.contains(name)) {
      result.report.missing.push_back(tensor.name);
      continue;
    }
    const auto& entry = file.at(name);
    std::string misfit;
    if (entry.shape != tensor.shape)
      misfit = message({"tensor '", clipped(name), "': expected shape ", tensor.shape, ", got ", entry.shape});
    else if (tensor.most_count > 0)
      misfit = misfit_of_counts(name, entry, tensor.most_count);
    else if (!is_convertible_to_float(entry.dtype))
      misfit =
          message({"tensor '", clipped(name), "': expected element type F32, F64, F16 or BF16, got ", entry.dtype});
    if (misfit.empty()) {
      result.entries.back() = &entry;
      continue;
    }
    result.report.misfit.push_back(tensor.name);
    result.misfits.push_back(std::move(misfit));
  }
  std::sort(names.begin(), names.end());
  for (const auto& name : file.names())
    if (!std::binary_search(names.begin(), names.end(), name)) result.report.foreign.push_back(name);
  return result;
}

inline constexpr std::size_t most_names_shown = 8;

/// ` 'a'` for one name; `s 'a', 'b' and 3 more` for several.
template <class = void>
[[nodiscard, gnu::cold]] std::string quoted_list(const std::vector<std::string>& names) {
  std::string text = names.size() == 1 ? "" : "s";
  const std::size_t shown = (std::min)(names.size(), most_names_shown);
  for (std::size_t i = 0; i < shown; ++i) text.append(message({i == 0 ? " '" : ", '", clipped(names[i]), "'"}));
  if (names.size() > shown) text.append(message({" and ", names.size() - shown, " more"}));
  return text;
}

/// Unless model and file agree, throws an io_error that reports every kind of fault.
template <class = void>
void require_complete(const std::string& path, const tensor_match& found,
                      std::string_view advice = "match::partial loads what fits") {
  if (found.report.complete()) return;
  std::string faults;
  const auto add = [&](const std::string& fault) { faults.append(faults.empty() ? "" : "; ").append(fault); };
  for (std::size_t i = 0; i < (std::min)(found.misfits.size(), most_names_shown); ++i) add(found.misfits[i]);
  if (found.misfits.size() > most_names_shown)
    add(message({found.misfits.size() - most_names_shown, " more tensors of other shapes or element types"}));
  const auto& [missing, foreign, misfit] = found.report;
  if (!missing.empty())
    add(message({missing.size() == 1 ? "expected a tensor" : "expected tensor", quoted_list(missing),
                 missing.size() == 1 ? ", got none of that name" : ", got none of these names"}));
  if (!foreign.empty())
    add(message({"expected only the parameters of the model, got also ", foreign.size() == 1 ? "a tensor" : "tensor",
                 quoted_list(foreign)}));
  throw_io_error(path, {faults, "; nothing was loaded; ", advice});
}

}  // namespace detail
}  // namespace lockstep
