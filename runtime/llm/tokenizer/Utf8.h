//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// UTF-8: decoding, checking, and the white space of Unicode.
//
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace mlc {

/// Decodes one character of valid UTF-8 and advances `at`.
inline uint32_t nextChar(const char *&at) {
  auto byte = [&](int i) { return uint32_t(uint8_t(at[i])); };
  uint32_t lead = byte(0);
  if (lead < 0x80) {
    at += 1;
    return lead;
  }
  uint32_t code;
  if (lead < 0xe0) {
    code = (lead & 0x1f) << 6 | (byte(1) & 0x3f);
    at += 2;
  } else if (lead < 0xf0) {
    code = (lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    at += 3;
  } else {
    code = (lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    at += 4;
  }
  return code;
}

/// Bytes of the character that valid UTF-8 holds at `at`.
inline unsigned charLength(char at) {
  uint8_t lead = uint8_t(at);
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/// Writes `code` as UTF-8 and returns the number of bytes (1 to 4).
inline unsigned putChar(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = char(code);
    return 1;
  }
  if (code < 0x800) {
    out[0] = char(0xc0 | code >> 6);
    out[1] = char(0x80 | (code & 0x3f));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = char(0xe0 | code >> 12);
    out[1] = char(0x80 | (code >> 6 & 0x3f));
    out[2] = char(0x80 | (code & 0x3f));
    return 3;
  }
  out[0] = char(0xf0 | code >> 18);
  out[1] = char(0x80 | (code >> 12 & 0x3f));
  out[2] = char(0x80 | (code >> 6 & 0x3f));
  out[3] = char(0x80 | (code & 0x3f));
  return 4;
}

/// How the bytes at the start of [at, end) continue: the length of a whole character; 0 and `invalid` = the bytes of a
/// maximal invalid part; 0 and `invalid` = 0 when they may be the beginning of a character (Unicode 3.9, table 3-7).
inline unsigned scanChar(const uint8_t *at, const uint8_t *end, unsigned &invalid) {
  invalid = 0;
  uint8_t lead = at[0];
  if (lead < 0x80)
    return 1;
  unsigned length = lead >= 0xc2 && lead < 0xe0   ? 2
                    : lead >= 0xe0 && lead < 0xf0 ? 3
                    : lead >= 0xf0 && lead < 0xf5 ? 4
                                                  : 0;
  if (!length) {
    invalid = 1;
    return 0;
  }
  for (unsigned i = 1; i < length; ++i) {
    if (at + i == end)
      return 0;
    uint8_t low = 0x80, high = 0xbf;
    if (i == 1) {
      low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
      high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    }
    if (at[i] < low || at[i] > high) {
      invalid = i;
      return 0;
    }
  }
  return length;
}

/// The offset of the first byte that is not part of valid UTF-8, or the size.
inline size_t validUtf8(std::string_view text) {
  auto *begin = reinterpret_cast<const uint8_t *>(text.data()), *at = begin, *end = begin + text.size();
  while (at != end) {
    if (*at < 0x80) {
      for (uint64_t word; end - at >= 8; at += 8) {
        memcpy(&word, at, 8);
        if (word & 0x8080808080808080)
          break;
      }
      while (at != end && *at < 0x80)
        ++at;
      continue;
    }
    unsigned invalid, length = scanChar(at, end, invalid);
    if (!length)
      return size_t(at - begin);
    at += length;
  }
  return text.size();
}

/// The property White_Space.
inline bool isSpace(uint32_t code) {
  return code == 0x20 || (code >= 9 && code <= 13) || code == 0x85 || code == 0xa0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f ||
         code == 0x3000;
}

} // namespace mlc
