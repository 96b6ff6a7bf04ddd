//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/HuggingFace/Fields.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/Twine.h"

#include <cmath>
#include <limits>

using namespace llvm;
using nlohmann::json;

namespace mlc::hf {
namespace {

std::optional<int64_t> asInteger(const json &value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX))
    return std::nullopt;
  if (value.is_number_integer())
    return value.get<int64_t>();
  return std::nullopt;
}

std::optional<double> asNumber(const json &value) {
  if (!value.is_number() || !std::isfinite(value.get<double>()))
    return std::nullopt;
  return value.get<double>();
}

} // namespace

Fields::Fields(StringRef file, const json &object, std::string prefix)
    : file(file.str()), prefix(std::move(prefix)), fields(object) {}

bool Fields::present(StringRef name) const { return fields.contains(name.str()); }

bool Fields::has(StringRef name) const {
  auto found = fields.find(name.str());
  return found != fields.end() && !found->is_null();
}

const json *Fields::take(StringRef name) {
  known.insert(name.str());
  auto found = fields.find(name.str());
  return failed() || found == fields.end() || found->is_null() ? nullptr : &*found;
}

void Fields::refuse(StringRef name, const Twine &what) {
  if (failed())
    return;
  auto found = fields.find(name.str());
  // Values of any size may stand there; invalid UTF-8 cannot, the parser refuses it.
  std::string value =
      found == fields.end() ? "absent" : printable(found->dump(-1, ' ', true, json::error_handler_t::replace));
  problem = (file + ": " + prefix + printable(name) + " is " + value + ": " + what).str();
}

void Fields::refuse(const Twine &what) {
  if (!failed())
    problem = (file + ": " + what).str();
}

void Fields::adopt(Error error) {
  std::string text = toString(std::move(error));
  if (!failed())
    problem = std::move(text);
}

std::optional<int64_t> Fields::integer(StringRef name) {
  const json *value = take(name);
  if (!value)
    return std::nullopt;
  std::optional<int64_t> result = asInteger(*value);
  if (!result)
    refuse(name, "an integer is expected");
  return result;
}

int64_t Fields::requiredInteger(StringRef name) {
  std::optional<int64_t> value = integer(name);
  if (!value)
    refuse(name, "the field is needed");
  return value.value_or(0);
}

std::optional<double> Fields::number(StringRef name) {
  const json *value = take(name);
  if (!value)
    return std::nullopt;
  std::optional<double> result = asNumber(*value);
  if (!result)
    refuse(name, "a finite number is expected");
  return result;
}

std::optional<bool> Fields::boolean(StringRef name) {
  const json *value = take(name);
  if (!value)
    return std::nullopt;
  if (value->is_boolean())
    return value->get<bool>();
  refuse(name, "true or false is expected");
  return std::nullopt;
}

std::optional<std::string> Fields::string(StringRef name) {
  const json *value = take(name);
  if (!value)
    return std::nullopt;
  if (value->is_string())
    return value->get<std::string>();
  refuse(name, "a string is expected");
  return std::nullopt;
}

std::vector<int64_t> Fields::integers(StringRef name) {
  std::vector<int64_t> result;
  if (const json *value = take(name)) {
    if (!value->is_array())
      refuse(name, "a list of integers is expected");
    else
      for (const json &entry : *value) {
        // Lists of flags are written as true and false too.
        std::optional<int64_t> number = entry.is_boolean() ? entry.get<bool>() : asInteger(entry);
        if (!number) {
          refuse(name, "a list of integers is expected");
          return {};
        }
        result.push_back(*number);
      }
  }
  return result;
}

std::vector<double> Fields::numbers(StringRef name) {
  std::vector<double> result;
  if (const json *value = take(name)) {
    if (!value->is_array())
      refuse(name, "a list of numbers is expected");
    else
      for (const json &entry : *value) {
        std::optional<double> number = asNumber(entry);
        if (!number) {
          refuse(name, "a list of finite numbers is expected");
          return {};
        }
        result.push_back(*number);
      }
  }
  return result;
}

std::vector<double> Fields::numbersWithInfinity(StringRef name) {
  std::vector<double> result;
  const json *value = take(name);
  if (!value)
    return result;
  static const json infinity = {{"__float__", "Infinity"}};
  if (value->is_array())
    for (const json &entry : *value) {
      std::optional<double> number = entry == infinity ? std::numeric_limits<double>::infinity() : asNumber(entry);
      if (!number) {
        result.clear();
        break;
      }
      result.push_back(*number);
    }
  if (result.empty())
    refuse(name, "a list of numbers is expected");
  return result;
}

bool Fields::is(StringRef name, StringRef text) {
  auto found = fields.find(name.str());
  if (found == fields.end() || !found->is_string() || StringRef(found->get_ref<const std::string &>()) != text)
    return false;
  known.insert(name.str());
  return true;
}

std::vector<std::string> Fields::strings(StringRef name) {
  std::vector<std::string> result;
  if (const json *value = take(name)) {
    if (!value->is_array())
      refuse(name, "a list of strings is expected");
    else
      for (const json &entry : *value) {
        if (!entry.is_string()) {
          refuse(name, "a list of strings is expected");
          return {};
        }
        result.push_back(entry.get<std::string>());
      }
  }
  return result;
}

std::vector<int64_t> Fields::integerOrList(StringRef name) {
  auto found = fields.find(name.str());
  if (found != fields.end() && found->is_array())
    return integers(name);
  if (std::optional<int64_t> value = integer(name))
    return {*value};
  return {};
}

const json *Fields::object(StringRef name) {
  const json *value = take(name);
  if (value && !value->is_object()) {
    refuse(name, "an object is expected");
    return nullptr;
  }
  return value;
}

void Fields::ignore(std::initializer_list<const char *> names) { known.insert(names.begin(), names.end()); }

void Fields::refuseUnlessOff(std::initializer_list<const char *> names) {
  for (const char *name : names) {
    const json *value = known.count(name) ? nullptr : take(name);
    if (!value)
      continue;
    bool off = (value->is_boolean() && !value->get<bool>()) || (value->is_number() && value->get<double>() == 0) ||
               (value->is_structured() && value->empty()) || (value->is_string() && value->get<std::string>().empty());
    if (!off)
      refuse(name, "this is not supported");
  }
}

Error Fields::finish() {
  if (!failed())
    for (const auto &[name, value] : fields.items())
      if (!known.count(name) && !value.is_null()) {
        refuse(name, "the field is not known and may change the result; remove it if it does not");
        break;
      }
  return failed() ? createStringError(inconvertibleErrorCode(), problem) : Error::success();
}

} // namespace mlc::hf
