//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Copies into shared memory that run beside the products which read it, and products of a warpgroup that read it.
// kBulk: Hopper's own instructions. Else what sm_80 has.
//
#pragma once

#include "targets/cuda/device/TensorCore.h"

#ifdef __CUDACC__
#include "targets/cuda/device/Ampere.cuh"
#include "targets/cuda/device/Hopper.cuh"

namespace mlc::cuda {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr bool kHopper = true;
template <class T, int N> struct Wgmma;
#include "Wgmma.inc"
#else
constexpr bool kHopper = false;
#endif

MLC_DEVICE void meetWarp() { __syncwarp(); }
/// Where the threads of eight warps meet, the first ones of the block.
MLC_DEVICE void meetProducts() { namedSync(1, 256); }
MLC_DEVICE bool anyOfWarp(bool x) { return __any_sync(~0u, x); }
/// Brings a line of 128 bytes into the second-level cache.
MLC_DEVICE void prefetchLine(const void *at) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(at)));
}
/// A number of which a warp's threads have the same, told to the compiler.
MLC_DEVICE int agreed(int x) { return uniform(x); }
/// `bytes`, a multiple of 16 as the addresses are, from global to shared memory; `barrier` counts them when they are
/// there.
MLC_DEVICE void copyBulk(void *to, const void *from, uint32_t bytes, uint64_t *barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   sharedAddress(to)),
               "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(sharedAddress(barrier))
               : "memory");
}
/// 16 bytes, zeros when not `inside`, which are there when awaitCopies() returns.
MLC_DEVICE void copyQuad(void *to, const void *from, bool inside = true) { copy16(sharedAddress(to), from, inside); }
MLC_DEVICE void awaitCopies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

} // namespace mlc::cuda

#else

namespace mlc::cuda {

constexpr bool kHopper = true;

inline void meetWarp() { emulator::syncWarp(); }
inline void meetProducts() { emulator::syncBlock(); }
inline bool anyOfWarp(bool x) { return warpMax(x) > 0; }
inline void prefetchLine(const void *) {}
inline int forget(int x) { return x; }
inline int agreed(int x) { return x; }
template <int kRegisters> void takeRegisters() {}
template <int kRegisters> void giveRegisters() {}
void barrierInit(uint64_t *barrier, uint32_t count);
inline void barrierInitFence() {}
void barrierArrive(uint64_t *barrier);
void barrierExpect(uint64_t *barrier, uint32_t bytes);
void barrierWait(uint64_t *barrier, uint32_t parity);
void copyBulk(void *to, const void *from, uint32_t bytes, uint64_t *barrier);
inline uint8_t *dynamicShared() { return emulator::dynamicShared(); }
void copyQuad(void *to, const void *from, bool inside = true);
void awaitCopies();

} // namespace mlc::cuda

#endif

namespace mlc::cuda {

/// How 16 x 16 numbers in memory are an operand of products: the left one; or two right ones, their columns the rows in
/// memory (across), or the columns (down).
enum class Square { left, across, down };
/// What a lane has of 16 x 16 bf16 whose rows are kStride bytes apart. Two right operands follow each other.
template <int kStride, Square kAs> MLC_DEVICE void loadSquare(const uint8_t *from, uint32_t (&to)[4]) {
  const int lane = int(threadIdx.x) % kWarp;
  // Quarters i from row 8 rowOf(i) and byte 16 columnOf(i) on.
  auto rowOf = [](int i) { return kAs == Square::across ? i / 2 : i % 2; };
  auto columnOf = [](int i) { return kAs == Square::across ? i % 2 : i / 2; };
#ifdef __CUDACC__
  const int i = lane / 8;
  const uint32_t address = sharedAddress(from + (8 * rowOf(i) + lane % 8) * kStride + 16 * columnOf(i));
  if constexpr (kAs == Square::down)
    loadMatricesTransposed(to, address);
  else
    loadMatrices(to, address);
#else
  const int g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const uint8_t *quarter = from + 8 * rowOf(i) * kStride + 16 * columnOf(i);
    if (kAs == Square::down)
      to[i] = uint32_t(load<uint16_t>(quarter + 2 * t * kStride + 2 * g)) |
              uint32_t(load<uint16_t>(quarter + (2 * t + 1) * kStride + 2 * g)) << 16;
    else
      to[i] = load<uint32_t>(quarter + g * kStride + 4 * t);
  }
#endif
}

/// Bytes of 64 columns of bf16, or of 128 of bytes.
constexpr int kTileRowBytes = 128;
/// Where 16 bytes of a row of a tile lie: the 128-byte swizzle, of tiles aligned to 1024 bytes.
MLC_DEVICE int tileChunk(int row, int chunk) { return row * kTileRowBytes + ((chunk ^ (row & 7)) << 4); }

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
/// What is multiplied with sums of such a type.
template <typename Sum> struct Factor {
  using Type = __nv_bfloat16;
};
template <> struct Factor<int32_t> {
  using Type = int8_t;
};
#endif

/// c += a b in f32 for each of four warps (kBulk: together, and c is there after awaitProducts()): a m16 x k16 as for
/// multiply(), b columns [16 step, 16 step + 16) of 8 kTiles rows of a tile. In i32 of bytes, k being 32.
template <bool kBulk, int kTiles, typename Sum>
MLC_DEVICE void multiplyTile(Sum (&c)[kTiles][4], const uint32_t (&a)[4], const uint8_t *tile, int step) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  if constexpr (kBulk) {
    auto &flat = reinterpret_cast<Sum(&)[kTiles * 4]>(c);
    Wgmma<typename Factor<Sum>::Type, 8 * kTiles>::rows(a, descriptorKMajor(sharedAddress(tile) + 32 * uint32_t(step)),
                                                        flat, 1);
    return;
  }
#endif
  const int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
    uint32_t b[2];
    for (int half = 0; half < 2; ++half)
      b[half] = *reinterpret_cast<const uint32_t *>(tile + tileChunk(8 * i + g, 2 * step + half) + 4 * t);
    multiply(c[i], a, b);
  }
}

/// Before products by multiplyTile whose sums or weights ordinary instructions have written.
template <bool kBulk> MLC_DEVICE void beginProducts() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  if constexpr (kBulk)
    productFence();
#endif
}
/// Until their sums are there, and what they read can be written.
template <bool kBulk> MLC_DEVICE void awaitProducts() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  if constexpr (kBulk) {
    productCommit();
    productWait<0>();
  }
#endif
}

} // namespace mlc::cuda
