//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Fields.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace mlc::server {

static constexpr size_t kDepth = 64, kValues = 1 << 20;

/// Bounds what the parser will build, before it does.
static void checkShape(std::string_view body) {
  size_t depth = 0, values = 1;
  bool inString = false;
  for (size_t i = 0; i < body.size(); ++i) {
    char c = body[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
      continue;
    }
    if (c == '"')
      inString = true;
    else if (c == '[' || c == '{')
      ++depth, ++values;
    else if ((c == ']' || c == '}') && depth)
      --depth;
    else if (c == ',')
      ++values;
    if (depth > kDepth)
      throw ApiError(400, "invalid_json", "the body is nested more than 64 deep");
    if (values > kValues)
      throw ApiError(400, "invalid_json", "the body holds more than 1048576 values");
  }
}

Json parseBody(std::string_view body) {
  checkShape(body);
  Json value;
  try {
    value = Json::parse(body);
  } catch (const nlohmann::json::exception &error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = error.what();
    size_t begin = what.find("] ");
    throw ApiError(400, "invalid_json",
                   "the body is no JSON: " + std::string(what.substr(begin == what.npos ? 0 : begin + 2)));
  }
  if (!value.is_object())
    throw ApiError(400, "invalid_json", "the body is no JSON object");
  return value;
}

void wrongType(const std::string &param, const char *wanted, const Json &given) {
  throw ApiError(400, "invalid_type", param + ": expected " + wanted + ", got " + given.type_name(), param);
}

void wrongValue(const std::string &param, const std::string &why) {
  throw ApiError(400, "invalid_value", param + ": " + why, param);
}

Fields::Fields(const Json &object, std::string path, bool lenient)
    : object(object), prefix(std::move(path)), lenient(lenient) {
  if (!object.is_object())
    wrongType(prefix, "an object", object);
}

const Json *Fields::find(const char *name) {
  known.emplace(name);
  auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json &Fields::require(const char *name) {
  if (const Json *value = find(name))
    return *value;
  throw ApiError(400, "missing_required_parameter", pathOf(name) + ": required", pathOf(name));
}

bool Fields::flag(const char *name, bool fallback) {
  const Json *value = find(name);
  if (!value)
    return fallback;
  if (!value->is_boolean())
    wrongType(pathOf(name), "a boolean", *value);
  return value->get<bool>();
}

int64_t Fields::integer(const char *name, int64_t least, int64_t most, int64_t fallback) {
  const Json *value = find(name);
  if (!value)
    return fallback;
  if (!value->is_number_integer())
    wrongType(pathOf(name), "an integer", *value);
  bool tooLarge = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(INT64_MAX);
  if (tooLarge || value->get<int64_t>() < least || value->get<int64_t>() > most)
    wrongValue(pathOf(name),
               "choose " + std::to_string(least) + (most == INT64_MAX ? " or more" : " to " + std::to_string(most)));
  return value->get<int64_t>();
}

double Fields::real(const char *name, double least, double most, double fallback) {
  const Json *value = find(name);
  if (!value)
    return fallback;
  if (!value->is_number())
    wrongType(pathOf(name), "a number", *value);
  double number = value->get<double>();
  if (!(number >= least && number <= most)) {
    char text[64];
    snprintf(text, sizeof text, "choose %g to %g", least, most);
    wrongValue(pathOf(name), text);
  }
  return number;
}

std::string Fields::text(const char *name) {
  const Json *value = find(name);
  if (!value)
    return {};
  if (!value->is_string())
    wrongType(pathOf(name), "a string", *value);
  return value->get<std::string>();
}

std::string Fields::choice(const char *name, std::initializer_list<const char *> choices) {
  if (!find(name))
    return *choices.begin();
  std::string given = text(name), listed;
  for (const char *choice : choices) {
    if (given == choice)
      return given;
    listed += (listed.empty() ? "" : ", ") + std::string(choice);
  }
  wrongValue(pathOf(name), "choose one of " + listed);
}

void Fields::unsupported(const char *name) { unsupported(name, nullptr); }

void Fields::unsupported(const char *name, const Json &harmless) {
  const Json *value = find(name);
  if (value && *value != harmless)
    throw ApiError(400, "unsupported_parameter", pathOf(name) + ": not supported by this server", pathOf(name));
}

void Fields::finish() const {
  if (lenient)
    return;
  for (const auto &[name, value] : object.items())
    if (!known.contains(name))
      throw ApiError(400, "unknown_parameter", pathOf(name) + ": unknown field (serve with --lenient to ignore it)",
                     pathOf(name));
}

} // namespace mlc::server
