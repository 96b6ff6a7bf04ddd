//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Support/Text.h"

#include "llvm/ADT/StringExtras.h"

namespace mlc {

static std::string escaped(char c) {
  return "\\x" + llvm::utohexstr(static_cast<uint8_t>(c), /*LowerCase=*/true, /*Width=*/2);
}

std::string oneLine(llvm::StringRef text) {
  std::string out;
  for (char c : text)
    out += static_cast<uint8_t>(c) < ' ' || c == 0x7f ? escaped(c) : std::string(1, c);
  return out;
}

std::string printable(llvm::StringRef text) {
  std::string out;
  for (char c : text) {
    if (out.size() >= 100)
      return out + "...";
    out += llvm::isPrint(c) ? std::string(1, c) : escaped(c);
  }
  return out;
}

} // namespace mlc
