//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Support/Json.h"

#include "compiler/Support/Text.h"

#include <set>

using nlohmann::json;

namespace mlc {
namespace {

/// Builds the document through nlohmann's own handler and stops at the first thing that is refused.
class StrictHandler : public nlohmann::detail::json_sax_dom_parser<json> {
  using Base = nlohmann::detail::json_sax_dom_parser<json>;

public:
  explicit StrictHandler(json &document) : Base(document, /*allow_exceptions=*/false) {}

  bool start_object(std::size_t size) {
    keys.emplace_back();
    return descend() && Base::start_object(size);
  }
  bool end_object() {
    keys.pop_back();
    --depth;
    return Base::end_object();
  }
  bool start_array(std::size_t size) { return descend() && Base::start_array(size); }
  bool end_array() {
    --depth;
    return Base::end_array();
  }
  bool key(json::string_t &name) {
    if (!keys.back().insert(name).second) {
      problem = "key \"" + printable(name) + "\" stands twice in one object";
      return false;
    }
    return Base::key(name);
  }
  bool parse_error(std::size_t position, const std::string &, const nlohmann::detail::exception &) {
    problem = "not valid JSON at byte " + std::to_string(position);
    return false;
  }

  std::string problem;

private:
  bool descend() {
    if (++depth <= 64)
      return true;
    problem = "nested deeper than 64 levels";
    return false;
  }
  unsigned depth = 0;
  std::vector<std::set<std::string>> keys;
};

} // namespace

std::string tagInfinities(llvm::StringRef text) {
  constexpr llvm::StringLiteral word("Infinity");
  std::string out;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!inString && text.substr(i).starts_with(word) && (out.empty() || out.back() != '-')) {
      out += "{\"__float__\": \"Infinity\"}";
      i += word.size() - 1;
      continue;
    }
    out += text[i];
    if (inString && text[i] == '\\' && i + 1 < text.size())
      out += text[++i];
    else if (text[i] == '"')
      inString = !inString;
  }
  return out;
}

llvm::Expected<json> parseJson(llvm::StringRef file, llvm::StringRef text) {
  json document;
  StrictHandler handler(document);
  bool done = json::sax_parse(text.begin(), text.end(), &handler);
  if (done && handler.problem.empty())
    return document;
  return llvm::createStringError("%s: %s", file.str().c_str(),
                                 handler.problem.empty() ? "not valid JSON" : handler.problem.c_str());
}

} // namespace mlc
