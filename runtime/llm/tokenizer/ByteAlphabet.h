//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The byte-level alphabet: the printable character that stands for each byte in byte-level vocabularies.
//
#pragma once

#include <array>
#include <cstdint>

namespace mlc {

/// Printable Latin-1 bytes stand for themselves, the others take U+0100 and up in order.
inline constexpr std::array<uint16_t, 256> byteAlphabet = [] {
  std::array<uint16_t, 256> table{};
  uint16_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    table[byte] = printable ? uint16_t(byte) : next++;
  }
  return table;
}();

} // namespace mlc
