//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// CUDA C++ on the host, for tests: a kernel's text compiled as C++, each thread of a block a fiber, the blocks one
// after the other. Threads of a warp meet at every exchange, those of a block at __syncthreads(); shared memory is
// static. One launch at a time in a process.
//
#pragma once

#include "targets/cuda/device/Args.h"

#include "runtime/core/Float16.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define MLC_KERNEL(NAME, ARGS) extern "C" __attribute__((visibility("default"))) void NAME(const ARGS &args)
#define MLC_KERNEL_OF(NAME, ARGS, THREADS) MLC_KERNEL(NAME, ARGS)
#define MLC_KERNEL_TOGETHER(NAME, ARGS, THREADS, BLOCKS) MLC_KERNEL(NAME, ARGS)
#define MLC_DEVICE inline
#define MLC_SHARED static

struct uint4 {
  uint32_t x, y, z, w;
};
struct uint2 {
  uint32_t x, y;
};
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
struct EmulatedDim {
  unsigned x = 0, y = 0, z = 0;
};
inline EmulatedDim threadIdx, blockIdx, blockDim, gridDim;

namespace mlc::cuda {

namespace emulator {
/// Runs `body` once for every thread of a grid of blocks of `threads`, which have `sharedBytes` of dynamic shared
/// memory.
__attribute__((visibility("default"))) void launch(EmulatedDim grid, unsigned threads,
                                                   const std::function<void()> &body, unsigned sharedBytes = 0);
/// Waits for the threads of the calling one's warp, or block.
void syncWarp();
void syncBlock();
/// Lets other warps go on, for a thread that waits for what they do.
void poll();
uint8_t *dynamicShared();
/// The places of the warp's lanes for one exchange: each writes its own, then reads any after syncWarp().
uint32_t *exchange(unsigned words);
} // namespace emulator

inline float halfToFloat(uint16_t bits) { return f16ToF32(bits); }
inline uint16_t floatToHalf(float value) { return f32ToF16(value); }
inline void sinCosPi(double x, double &sine, double &cosine) {
  sine = std::sin(M_PI * x);
  cosine = std::cos(M_PI * x);
}
inline void letNextStart() {}
inline void awaitInputs() {}
template <typename T> T load(const void *from) {
  T value;
  memcpy(&value, from, sizeof value);
  return value;
}
inline uint4 loadOnce(const void *from) { return load<uint4>(from); }
/// The value of the lane whose number differs in `lanes`.
inline float shuffleXor(float value, int lanes) {
  uint32_t *places = emulator::exchange(1);
  unsigned lane = threadIdx.x % 32;
  memcpy(&places[lane], &value, sizeof value);
  emulator::syncWarp();
  return std::bit_cast<float>(places[lane ^ unsigned(lanes)]);
}

} // namespace mlc::cuda

inline void __syncthreads() { mlc::cuda::emulator::syncBlock(); }
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) { return uint64_t((unsigned __int128)a * b >> 64); }
/// Threads change places at exchanges alone.
inline int atomicAdd(int *to, int value) {
  int before = *to;
  *to += value;
  return before;
}
