//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the server says on stderr: one line for each event, as text or as one JSON object (--log json).
//
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace mlc::server {

enum class LogForm : uint8_t { text, json, off };

struct LogField {
  std::string_view name;
  std::variant<int64_t, double, std::string_view> value;
};

/// `text` between quotation marks with what JSON needs escaped; bytes that are no UTF-8 become U+FFFD.
std::string jsonText(std::string_view text);
/// Whether `bytes` are whole UTF-8 characters.
bool isUtf8(std::string_view bytes);

/// Any thread; an event is one write, so lines of different threads do not mix.
class Log {
public:
  explicit Log(LogForm form = LogForm::off) : form(form) {}
  void event(std::string_view name, std::initializer_list<LogField> fields) const;

private:
  LogForm form;
};

} // namespace mlc::server
