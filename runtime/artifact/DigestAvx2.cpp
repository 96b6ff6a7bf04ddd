//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// XXH3-64 for AVX2; called only where the CPU has it.
//
#include <cstddef>
#include <cstdint>

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

namespace mlc {

uint64_t digest64Avx2(const uint8_t *bytes, size_t size) { return XXH3_64bits(bytes, size); }

} // namespace mlc
