//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reading JSON files that nobody vouches for.
//
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <nlohmann/json.hpp>

namespace mlc {

/// Parses `text`. Refused, in one line that starts with `file` and names the byte or the key: bad syntax, bytes that
/// are not UTF-8, nesting deeper than 64, an object that holds a key twice.
llvm::Expected<nlohmann::json> parseJson(llvm::StringRef file, llvm::StringRef text);

/// `text` with each bare Infinity, which Python writes and JSON does not have, as transformers 5 writes it:
/// {"__float__": "Infinity"}.
std::string tagInfinities(llvm::StringRef text);

} // namespace mlc
