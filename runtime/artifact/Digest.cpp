//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// XXH3-64 of the baseline ISA, and the choice of the form.
//
#include "runtime/artifact/Header.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace mlc {

#if defined(__x86_64__)
// DigestAvx2.cpp, the same function built for AVX2.
uint64_t digest64Avx2(const uint8_t *bytes, size_t size);
#endif

uint64_t digest64(std::span<const uint8_t> bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    return digest64Avx2(bytes.data(), bytes.size());
#endif
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t headerDigest(const ArtifactHeader &header) {
  return digest64({reinterpret_cast<const uint8_t *>(&header), offsetof(ArtifactHeader, headerDigest)});
}

} // namespace mlc
