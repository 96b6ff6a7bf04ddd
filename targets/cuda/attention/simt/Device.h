//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// CUDA's words and what device/Common.cuh and device/Ampere.cuh have, on the host. Rows of a matrix that share banks,
// which are only slow on the device, end the process.
//
#pragma once

#include "targets/cuda/attention/simt/Machine.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

struct EmulatedIndex {
  int (*of)();
  operator unsigned() const { return unsigned(of()); }
};
struct EmulatedIndices {
  EmulatedIndex x;
};
constexpr EmulatedIndices threadIdx{{mlc::attention::emulator::threadIndex}};
constexpr EmulatedIndices blockIdx{{mlc::attention::emulator::blockIndex}};

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  uint16_t bits;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
template <class V> V __ldg(const V *from) { return *from; }

inline void __syncthreads() { mlc::attention::emulator::barrier(); }
template <class V> V __shfl_sync(unsigned, V value, int from) {
  struct Lane {
    V value;
    int from;
    V received;
  } mine{value, from, value};
  mlc::attention::emulator::together(&mine, [](std::span<void *const> lanes) {
    for (void *lane : lanes) {
      Lane &to = *static_cast<Lane *>(lane);
      to.received = static_cast<Lane *>(lanes[to.from])->value;
    }
  });
  return mine.received;
}
template <class V> V __shfl_xor_sync(unsigned mask, V value, int lanes) {
  return __shfl_sync(mask, value, int(threadIdx.x % 32) ^ lanes);
}
inline bool __any_sync(unsigned, bool value) {
  mlc::attention::emulator::together(&value, [](std::span<void *const> lanes) {
    bool any = false;
    for (void *lane : lanes)
      any |= *static_cast<bool *>(lane);
    for (void *lane : lanes)
      *static_cast<bool *>(lane) = any;
  });
  return value;
}

namespace mlc::cuda {

namespace emulator = attention::emulator;

inline uint8_t *dynamicShared() { return static_cast<uint8_t *>(emulator::shared()); }
inline uint32_t sharedAddress(const void *p) { return uint32_t(static_cast<const uint8_t *>(p) - dynamicShared()); }
inline uint8_t *sharedChunk(uint32_t address) {
  if (address % 16 || address + 16 > emulator::sharedBytes()) {
    std::fprintf(stderr, "emulator: shared address %u of %zu\n", address, emulator::sharedBytes());
    std::abort();
  }
  return dynamicShared() + address;
}

inline int forget(int x) { return x; }
inline int uniform(int x) { return __shfl_sync(~0u, x, 0); }

template <class T> float widen(uint16_t bits) {
  return std::is_same_v<T, __half> ? emulator::valueOfF16(bits) : emulator::valueOfBf16(bits);
}
template <class T> uint16_t narrow(float value) {
  return std::is_same_v<T, __half> ? emulator::f16Of(value) : emulator::bf16Of(value);
}
template <class T> uint32_t packPair(float low, float high) { return narrow<T>(low) | uint32_t(narrow<T>(high)) << 16; }
inline float exp2Fast(float x) { return x < -126 ? 0 : std::exp2(x); }
inline float reciprocalFast(float x) { return 1 / x; }

inline void copy16(uint32_t to, const void *from, bool inside) { emulator::copyLater(sharedChunk(to), from, inside); }
inline void copyCommit() { emulator::commit(); }
template <int kPending> void copyWait() { emulator::wait(kPending); }

template <void (*load)(std::span<void *const>)> void loadWithoutConflicts(std::span<void *const> lanes) {
  for (int first = 0; first < 32; first += 8) {
    unsigned banks = 0;
    for (int i = 0; i < 8; ++i)
      banks |= 1u << sharedAddress(static_cast<const emulator::MatrixLoad *>(lanes[first + i])->row) / 16 % 8;
    if (banks != 0xff) {
      std::fprintf(stderr, "emulator: rows of a matrix share banks\n");
      std::abort();
    }
  }
  load(lanes);
}
inline void loadMatrices(uint32_t (&to)[4], uint32_t address) {
  emulator::MatrixLoad mine{to, sharedChunk(address)};
  emulator::together(&mine, loadWithoutConflicts<emulator::load>);
}
inline void loadMatricesTransposed(uint32_t (&to)[4], uint32_t address) {
  emulator::MatrixLoad mine{to, sharedChunk(address)};
  emulator::together(&mine, loadWithoutConflicts<emulator::loadTransposed>);
}
template <class T> void mma(float *sum, const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::Product mine{sum, a, {b0, b1}, widen<T>};
  emulator::together(&mine, emulator::multiply);
}

} // namespace mlc::cuda
