//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/Log.h"

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace mlc::server {

std::string jsonText(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool isUtf8(std::string_view bytes) {
  // dump() finds what is none.
  try {
    nlohmann::json(bytes).dump();
    return true;
  } catch (const nlohmann::json::type_error &) {
    return false;
  }
}

/// RFC 3339, UTC, milliseconds.
static std::string timestamp() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  gmtime_r(&now.tv_sec, &parts);
  char day[32], text[48];
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text, sizeof text, "%s.%03ldZ", day, long(now.tv_nsec / 1000000));
  return text;
}

static std::string number(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.3f", value);
  return text;
}

void Log::event(std::string_view name, std::initializer_list<LogField> fields) const {
  if (form == LogForm::off)
    return;
  bool json = form == LogForm::json;
  std::string line;
  if (json) {
    line = "{\"time\":\"" + timestamp() + "\",\"event\":" + jsonText(name);
  } else {
    line = timestamp() + " ";
    line += name;
  }
  for (const LogField &field : fields) {
    if (json) {
      line += ",\"";
      line += field.name;
      line += "\":";
    } else {
      line += ' ';
      line += field.name;
      line += '=';
    }
    if (const auto *count = std::get_if<int64_t>(&field.value))
      line += std::to_string(*count);
    else if (const auto *real = std::get_if<double>(&field.value))
      line += number(*real);
    else
      line += jsonText(std::get<std::string_view>(field.value));
  }
  line += json ? "}\n" : "\n";
  // A log that cannot be written is no reason to stop serving.
  [[maybe_unused]] ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

} // namespace mlc::server
