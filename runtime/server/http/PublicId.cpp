//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/PublicId.h"

#include <sys/random.h>
#include <utility>

namespace mlc::server {

namespace {

constexpr std::pair<IdKind, std::string_view> kPrefixes[] = {{IdKind::completion, "cmpl-"},
                                                             {IdKind::chat, "chatcmpl-"}};
constexpr size_t kDigits = 32;

int digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/// Takes 32 digits off the front, in one piece or in a UUID's groups of 8, 4, 4, 4 and 12.
std::optional<PublicId> takeDigits(std::string_view &text) {
  bool groups = text.size() > 8 && text[8] == '-';
  size_t at = 0;
  PublicId id;
  for (size_t i = 0; i < kDigits; ++i) {
    if (groups && (i == 8 || i == 12 || i == 16 || i == 20)) {
      if (at >= text.size() || text[at] != '-')
        return std::nullopt;
      ++at;
    }
    int value = at < text.size() ? digit(text[at]) : -1;
    if (value < 0)
      return std::nullopt;
    ++at;
    uint64_t &half = i < kDigits / 2 ? id.high : id.low;
    half = half << 4 | uint64_t(value);
  }
  text.remove_prefix(at);
  return id;
}

/// The whole of "-N" with N below 2^32, written the one way that formatId writes it.
std::optional<uint32_t> choiceSuffix(std::string_view text) {
  if (text.size() < 2 || text[0] != '-' || (text[1] == '0' && text.size() > 2))
    return std::nullopt;
  uint64_t value = 0;
  for (char c : text.substr(1)) {
    if (c < '0' || c > '9')
      return std::nullopt;
    value = value * 10 + uint64_t(c - '0');
    if (value > UINT32_MAX)
      return std::nullopt;
  }
  return uint32_t(value);
}

} // namespace

PublicId PublicId::fresh() {
  PublicId id;
  // 16 bytes never come in part; before the generator is ready, at boot alone, the call waits.
  while (getrandom(&id, sizeof id, 0) != ssize_t(sizeof id)) {
  }
  // The version and variant bits of a random UUID (RFC 9562, section 5.4).
  id.high = (id.high & ~uint64_t(0xf000)) | 0x4000;
  id.low = (id.low & ~(uint64_t(3) << 62)) | uint64_t(1) << 63;
  return id;
}

std::string PublicId::text() const {
  std::string digits(kDigits, '0');
  for (size_t i = 0; i < kDigits; ++i) {
    uint64_t half = i < kDigits / 2 ? high : low;
    digits[i] = "0123456789abcdef"[half >> (60 - 4 * (i % 16)) & 15];
  }
  return digits;
}

std::optional<ParsedId> parseId(std::string_view text) {
  ParsedId parsed;
  for (auto [kind, prefix] : kPrefixes)
    if (text.starts_with(prefix)) {
      parsed.kind = kind;
      text.remove_prefix(prefix.size());
      break;
    }
  std::optional<PublicId> id = takeDigits(text);
  if (!id)
    return std::nullopt;
  parsed.id = *id;
  if (!text.empty()) {
    parsed.choice = choiceSuffix(text);
    if (!parsed.choice)
      return std::nullopt;
  }
  return parsed;
}

std::string formatId(const PublicId &id, IdKind kind, std::optional<uint32_t> choice) {
  std::string text;
  for (auto [candidate, prefix] : kPrefixes)
    if (candidate == kind)
      text = prefix;
  text += id.text();
  if (choice)
    text += "-" + std::to_string(*choice);
  return text;
}

} // namespace mlc::server
