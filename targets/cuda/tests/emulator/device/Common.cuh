//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// targets/cuda/device/Common.cuh on the host: the keywords, the exchanges of a warp and the roundings.
//
#pragma once

#include "targets/cuda/tests/emulator/Emulator.h"

#include <cstdio>
#include <cstdlib>
#include <type_traits>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__
#define __align__(BYTES) __attribute__((aligned(BYTES)))

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  uint16_t bits;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
template <class V> V __ldg(const V *from) { return *from; }

template <class V> V __shfl_sync(unsigned, V value, int from) {
  static_assert(sizeof value == 4);
  uint32_t *places = mlc::cuda::emulator::exchange(1);
  memcpy(&places[threadIdx.x % 32], &value, 4);
  mlc::cuda::emulator::syncWarp();
  return std::bit_cast<V>(places[from]);
}
template <class V> V __shfl_xor_sync(unsigned mask, V value, int lanes) {
  return __shfl_sync(mask, value, int(threadIdx.x % 32) ^ lanes);
}
inline bool __any_sync(unsigned, bool value) {
  uint32_t *places = mlc::cuda::emulator::exchange(1);
  places[threadIdx.x % 32] = value;
  mlc::cuda::emulator::syncWarp();
  uint32_t any = 0;
  for (int lane = 0; lane < 32; ++lane)
    any |= places[lane];
  return any;
}

namespace mlc::cuda {

/// Dynamic shared memory, which kernels know by this name, and how much of it a launch asked for.
alignas(128) inline uint8_t tiles[228 << 10];
inline uint32_t sharedBytes = 0;

inline uint32_t sharedAddress(const void *p) { return uint32_t(static_cast<const uint8_t *>(p) - tiles); }
/// Sixteen aligned bytes within what was asked for.
inline uint8_t *sharedChunk(uint32_t address) {
  if (address % 16 || address + 16 > sharedBytes) {
    fprintf(stderr, "emulator: shared address %u of %u\n", address, sharedBytes);
    abort();
  }
  return tiles + address;
}

inline int uniform(int x) { return __shfl_sync(~0u, x, 0); }

template <class T> float widen(uint16_t bits) {
  if constexpr (std::is_same_v<T, __half>)
    return halfToFloat(bits);
  else
    return std::bit_cast<float>(uint32_t(bits) << 16);
}
/// To nearest, ties to even.
template <class T> uint16_t narrow(float value) {
  if constexpr (std::is_same_v<T, __half>)
    return floatToHalf(value);
  uint32_t bits = std::bit_cast<uint32_t>(value);
  return uint16_t(value != value ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
template <class T> uint32_t packPair(float low, float high) { return narrow<T>(low) | uint32_t(narrow<T>(high)) << 16; }
inline float exp2Fast(float x) { return exp2f(x); }
inline float reciprocalFast(float x) { return 1 / x; }

} // namespace mlc::cuda
