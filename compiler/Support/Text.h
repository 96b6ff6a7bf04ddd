//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Text of unknown origin inside one-line messages.
//
#pragma once

#include "llvm/ADT/StringRef.h"

#include <string>

namespace mlc {

/// `text` fit for a message of one line: control bytes and bytes that are not ASCII as \xNN, at most about 100
/// characters of it.
std::string printable(llvm::StringRef text);
/// The text of any length, its control characters escaped.
std::string oneLine(llvm::StringRef text);

} // namespace mlc
