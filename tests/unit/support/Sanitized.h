//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Under which sanitizer a test was compiled, for tests whose amount of work or time depends on it.
//
#pragma once

namespace mlc::test {

#if defined(__SANITIZE_ADDRESS__)
#define MLC_ADDRESS_SANITIZED true
#elif defined(__has_feature)
#define MLC_ADDRESS_SANITIZED __has_feature(address_sanitizer)
#else
#define MLC_ADDRESS_SANITIZED false
#endif
#if defined(__SANITIZE_THREAD__)
#define MLC_THREAD_SANITIZED true
#elif defined(__has_feature)
#define MLC_THREAD_SANITIZED __has_feature(thread_sanitizer)
#else
#define MLC_THREAD_SANITIZED false
#endif

inline constexpr bool kAddressSanitized = MLC_ADDRESS_SANITIZED, kThreadSanitized = MLC_THREAD_SANITIZED;

#undef MLC_ADDRESS_SANITIZED
#undef MLC_THREAD_SANITIZED

} // namespace mlc::test
