//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Support/Text.h"

#include "llvm/ADT/StringExtras.h"

namespace mlc {

std::string printable(llvm::StringRef text) {
  std::string out;
  for (char c : text) {
    if (out.size() >= 100)
      return out + "...";
    if (llvm::isPrint(c))
      out += c;
    else
      out += "\\x" + llvm::utohexstr(static_cast<uint8_t>(c), /*LowerCase=*/true, /*Width=*/2);
  }
  return out;
}

} // namespace mlc
