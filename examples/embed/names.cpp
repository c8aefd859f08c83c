// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "names.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include <fmt/format.h>

namespace lockstep_embed {

namespace {

// C++20's, with the alternative spellings of operators; [lex.key] and [lex.digraph].
constexpr std::array<std::string_view, 92> keywords{
    "alignas",     "alignof",  "and",        "and_eq",    "asm",       "auto",         "bitand",
    "bitor",       "bool",     "break",      "case",      "catch",     "char",         "char16_t",
    "char32_t",    "char8_t",  "class",      "co_await",  "co_return", "co_yield",     "compl",
    "concept",     "const",    "const_cast", "consteval", "constexpr", "constinit",    "continue",
    "decltype",    "default",  "delete",     "do",        "double",    "dynamic_cast", "else",
    "enum",        "explicit", "export",     "extern",    "false",     "float",        "for",
    "friend",      "goto",     "if",         "inline",    "int",       "long",         "mutable",
    "namespace",   "new",      "noexcept",   "not",       "not_eq",    "nullptr",      "operator",
    "or",          "or_eq",    "private",    "protected", "public",    "register",     "reinterpret_cast",
    "requires",    "return",   "short",      "signed",    "sizeof",    "static",       "static_assert",
    "static_cast", "struct",   "switch",     "template",  "this",      "thread_local", "throw",
    "true",        "try",      "typedef",    "typeid",    "typename",  "union",        "unsigned",
    "using",       "virtual",  "void",       "volatile",  "wchar_t",   "while",        "xor",
    "xor_eq"};

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string refuse_identifier(std::string_view name) {
  if (name.empty() || !is_letter(name[0]) ||
      !std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); }))
    return fmt::format("expected a C++ identifier, got '{}'", name);
  if (std::find(keywords.begin(), keywords.end(), name) != keywords.end())
    return fmt::format("expected a C++ identifier, got the keyword {}", name);
  if (name.find("__") != std::string_view::npos ||
      (name.size() > 1 && name[0] == '_' && name[1] >= 'A' && name[1] <= 'Z'))
    return fmt::format("expected a C++ identifier, got {}, which the language keeps for compilers", name);
  return {};
}

}  // namespace

std::string refuse_type_name(std::string_view name) {
  if (name == "tensor" || name == "tensors" || name == "values")
    return fmt::format("expected a name that no member of the type has, got {}", name);
  return refuse_identifier(name);
}

std::string refuse_namespace(std::string_view name) {
  if (name == "std" || name.starts_with("std::")) return fmt::format("expected a namespace of your own, got {}", name);
  for (;;) {
    const std::size_t end = name.find("::");
    if (std::string why = refuse_identifier(name.substr(0, end)); !why.empty()) return why;
    if (end == std::string_view::npos) return {};
    name.remove_prefix(end + 2);
  }
}

}  // namespace lockstep_embed
