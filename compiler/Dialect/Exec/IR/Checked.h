//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#pragma once

#include "llvm/ADT/StringRef.h"

namespace mlc::exec {

/// Of a call_code: the names of the ops whose indices the code checks; a run that fails is reported by them.
inline constexpr llvm::StringLiteral kCheckedAttr = "checked";

} // namespace mlc::exec
