//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a code object returns when an index that it was given lies outside of what it reads or writes.
//
#pragma once

#include <cstdint>

namespace mlc {

/// kIndexStatus, and below it the index in two's complement. One that needs more bits is kMostStatusIndex or its
/// negative.
inline constexpr int32_t kIndexStatus = 1 << 30;
inline constexpr int64_t kMostStatusIndex = (1 << 29) - 1;

inline constexpr bool isIndexStatus(int32_t status) { return status >= kIndexStatus; }
inline constexpr int32_t indexOfStatus(int32_t status) { return int32_t(uint32_t(status) << 2) >> 2; }

} // namespace mlc
