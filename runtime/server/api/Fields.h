//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A JSON object read field by field: each field is asked for by name, with its type and range, and what nobody has
// asked for is refused. Every error names the field as a path ("stream_options.include_usage").
//
#pragma once

#include "runtime/server/api/ApiError.h"

#include <nlohmann/json_fwd.hpp>
#include <set>

namespace mlc::server {

using Json = nlohmann::ordered_json;

/// The JSON object that a body holds: UTF-8, at most 64 levels deep and 1 Mi values. Throws ApiError.
Json parseBody(std::string_view body);

class Fields {
public:
  /// `path` stands before the names in messages, "" at the top. Throws when `object` is none.
  Fields(const Json &object, std::string path, bool lenient);

  /// The field, or null when it is absent or JSON's null.
  const Json *find(const char *name);
  /// The same; absent is an error.
  const Json &require(const char *name);
  bool flag(const char *name, bool fallback);
  int64_t integer(const char *name, int64_t least, int64_t most, int64_t fallback);
  double real(const char *name, double least, double most, double fallback);
  /// "" when absent.
  std::string text(const char *name);
  /// One of `choices`, or the first one when absent.
  std::string choice(const char *name, std::initializer_list<const char *> choices);
  /// A field that OpenAI has and this server does not: refused by name, unless it is null or equals `harmless`.
  void unsupported(const char *name);
  void unsupported(const char *name, const Json &harmless);
  /// Refuses what was not asked for, unless lenient.
  void finish() const;

  std::string pathOf(std::string_view name) const {
    return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
  }
  bool isLenient() const { return lenient; }

private:
  const Json &object;
  std::string prefix;
  bool lenient;
  std::set<std::string, std::less<>> known;
};

[[noreturn]] void wrongType(const std::string &param, const char *wanted, const Json &given);
[[noreturn]] void wrongValue(const std::string &param, const std::string &why);

} // namespace mlc::server
