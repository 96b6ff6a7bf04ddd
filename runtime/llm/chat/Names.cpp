//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Syntax.h"

namespace mlc::chat {

template <typename T> struct Named {
  std::string_view name;
  T value;
};

template <typename T, size_t N> static bool find(const Named<T> (&table)[N], std::string_view name, T &out) {
  for (const Named<T> &entry : table)
    if (entry.name == name) {
      out = entry.value;
      return true;
    }
  return false;
}

bool findFilter(std::string_view name, Filter &out) {
  static constexpr Named<Filter> table[] = {{"abs", Filter::abs},
                                            {"capitalize", Filter::capitalize},
                                            {"count", Filter::length},
                                            {"d", Filter::defaultValue},
                                            {"default", Filter::defaultValue},
                                            {"dictsort", Filter::dictsort},
                                            {"first", Filter::first},
                                            {"float", Filter::floating},
                                            {"indent", Filter::indent},
                                            {"int", Filter::integer},
                                            {"items", Filter::items},
                                            {"join", Filter::join},
                                            {"last", Filter::last},
                                            {"length", Filter::length},
                                            {"list", Filter::list},
                                            {"lower", Filter::lower},
                                            {"map", Filter::map},
                                            {"max", Filter::max},
                                            {"min", Filter::min},
                                            {"reject", Filter::reject},
                                            {"rejectattr", Filter::rejectattr},
                                            {"replace", Filter::replace},
                                            {"reverse", Filter::reverse},
                                            {"safe", Filter::safe},
                                            {"select", Filter::select},
                                            {"selectattr", Filter::selectattr},
                                            {"sort", Filter::sort},
                                            {"string", Filter::string},
                                            {"sum", Filter::sum},
                                            {"title", Filter::title},
                                            {"tojson", Filter::tojson},
                                            {"trim", Filter::trim},
                                            {"unique", Filter::unique},
                                            {"upper", Filter::upper}};
  return find(table, name, out);
}

bool findTest(std::string_view name, Test &out) {
  static constexpr Named<Test> table[] = {{"!=", Test::ne},
                                          {"<", Test::lt},
                                          {"<=", Test::le},
                                          {"==", Test::eq},
                                          {">", Test::gt},
                                          {">=", Test::ge},
                                          {"boolean", Test::boolean},
                                          {"callable", Test::callable},
                                          {"defined", Test::defined},
                                          {"divisibleby", Test::divisibleby},
                                          {"eq", Test::eq},
                                          {"equalto", Test::eq},
                                          {"even", Test::even},
                                          {"false", Test::falsehood},
                                          {"float", Test::floating},
                                          {"ge", Test::ge},
                                          {"greaterthan", Test::gt},
                                          {"gt", Test::gt},
                                          {"in", Test::in},
                                          {"integer", Test::integer},
                                          {"iterable", Test::iterable},
                                          {"le", Test::le},
                                          {"lessthan", Test::lt},
                                          {"lt", Test::lt},
                                          {"mapping", Test::mapping},
                                          {"ne", Test::ne},
                                          {"none", Test::none},
                                          {"number", Test::number},
                                          {"odd", Test::odd},
                                          {"sequence", Test::sequence},
                                          {"string", Test::string},
                                          {"true", Test::truth},
                                          {"undefined", Test::undefined}};
  return find(table, name, out);
}

bool findFunction(std::string_view name, Function &out) {
  static constexpr Named<Function> table[] = {{"dict", Function::dict},
                                              {"namespace", Function::namespaces},
                                              {"raise_exception", Function::raiseException},
                                              {"range", Function::range},
                                              {"strftime_now", Function::strftimeNow}};
  return find(table, name, out);
}

bool findMethod(std::string_view name, Method &out) {
  static constexpr Named<Method> table[] = {{"capitalize", Method::capitalize},
                                            {"changed", Method::changed},
                                            {"count", Method::count},
                                            {"cycle", Method::cycle},
                                            {"endswith", Method::endswith},
                                            {"find", Method::find},
                                            {"get", Method::get},
                                            {"index", Method::index},
                                            {"isdigit", Method::isdigit},
                                            {"isspace", Method::isspace},
                                            {"items", Method::items},
                                            {"join", Method::join},
                                            {"keys", Method::keys},
                                            {"lower", Method::lower},
                                            {"lstrip", Method::lstrip},
                                            {"removeprefix", Method::removeprefix},
                                            {"removesuffix", Method::removesuffix},
                                            {"replace", Method::replace},
                                            {"rfind", Method::rfind},
                                            {"rsplit", Method::rsplit},
                                            {"rstrip", Method::rstrip},
                                            {"split", Method::split},
                                            {"splitlines", Method::splitlines},
                                            {"startswith", Method::startswith},
                                            {"strip", Method::strip},
                                            {"title", Method::title},
                                            {"upper", Method::upper},
                                            {"values", Method::values}};
  return find(table, name, out);
}

} // namespace mlc::chat
