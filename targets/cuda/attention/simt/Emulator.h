//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What simt/Simt.h names, on the host.
//
#pragma once

#include "targets/cuda/attention/simt/Machine.h"

#include <bit>
#include <cmath>
#include <cstring>

#define MLC_DEVICE inline
#define MLC_UNROLL(N)
#define MLC_UNROLL_ALL

namespace mlc::attention {

struct alignas(16) Float4 {
  float x, y, z, w;
};
struct alignas(8) Float2 {
  float x, y;
};

inline int threadIndex() { return emulator::threadIndex(); }
inline int blockIndex() { return emulator::blockIndex(); }
template <typename T> T *sharedMemory() { return static_cast<T *>(emulator::shared()); }
inline void syncThreads() { emulator::barrier(); }
inline void syncWarp() {
  emulator::together(nullptr, [](std::span<void *const>) {});
}
inline float shuffleXor(float value, int lanes) {
  emulator::Exchange mine{value, lanes, 0};
  emulator::together(&mine, emulator::exchange);
  return mine.received;
}

inline uint32_t bitsOf(float value) { return std::bit_cast<uint32_t>(value); }
inline float floatOf(uint32_t bits) { return std::bit_cast<float>(bits); }
inline float maxOrNaN(float a, float b) { return a != a || b != b ? NAN : std::fmax(a, b); }
inline float exp2Fast(float x) { return x < -126 ? 0 : std::exp2(x); }

inline float reciprocalFast(float x) { return 1 / x; }
inline float rootFast(float x) { return std::sqrt(x); }

inline void copyAsync(void *to, const void *from, bool valid) { emulator::copyLater(to, from, valid); }
inline void copyAsync(void *to, const void *from) { emulator::copyLater(to, from, true); }
inline void commitCopies() { emulator::commit(); }
template <int kGroups> void waitCopies() { emulator::wait(kGroups); }

inline void loadMatrices(uint32_t (&to)[4], const void *row) {
  emulator::MatrixLoad mine{to, row};
  emulator::together(&mine, emulator::load);
}
inline void loadMatricesTransposed(uint32_t (&to)[4], const void *row) {
  emulator::MatrixLoad mine{to, row};
  emulator::together(&mine, emulator::loadTransposed);
}

struct Bf16 {
  static float value(uint16_t bits) { return emulator::valueOfBf16(bits); }
  static uint32_t pack(float first, float second) {
    return emulator::bf16Of(first) | uint32_t(emulator::bf16Of(second)) << 16;
  }
  static Float2 unpack(uint32_t both) { return {value(uint16_t(both)), value(uint16_t(both >> 16))}; }
};
struct F16 {
  static float value(uint16_t bits) { return emulator::valueOfF16(bits); }
  static uint32_t pack(float first, float second) {
    return emulator::f16Of(first) | uint32_t(emulator::f16Of(second)) << 16;
  }
  static Float2 unpack(uint32_t both) { return {value(uint16_t(both)), value(uint16_t(both >> 16))}; }
};

template <typename Type> void multiplyAdd(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::Product mine{sum, a, {b0, b1}, Type::value};
  emulator::together(&mine, emulator::multiply);
}

} // namespace mlc::attention
