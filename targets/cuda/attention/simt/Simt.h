//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the attention kernels of the sm_80 path are written in: one function for each instruction that they need, by
// nvcc, or by an emulator that runs the same kernels on a machine without a GPU (simt/Emulator.h).
//
#pragma once

#include <cstdint>

#ifdef __CUDACC__

#define MLC_DEVICE __device__ __forceinline__
#define MLC_PRAGMA(TEXT) _Pragma(#TEXT)
#define MLC_UNROLL(N) MLC_PRAGMA(unroll N)
#define MLC_UNROLL_ALL _Pragma("unroll")

namespace mlc::attention {

using Float4 = float4;
using Float2 = float2;

MLC_DEVICE int threadIndex() { return int(threadIdx.x); }
MLC_DEVICE int blockIndex() { return int(blockIdx.x); }
template <typename T> MLC_DEVICE T *sharedMemory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return reinterpret_cast<T *>(memory);
}
MLC_DEVICE void syncThreads() { __syncthreads(); }
MLC_DEVICE void syncWarp() { __syncwarp(); }
MLC_DEVICE float shuffleXor(float value, int lanes) { return __shfl_xor_sync(0xffffffff, value, lanes); }

MLC_DEVICE uint32_t bitsOf(float value) { return __float_as_uint(value); }
MLC_DEVICE float floatOf(uint32_t bits) { return __uint_as_float(bits); }
/// The larger; NaN if either is.
MLC_DEVICE float maxOrNaN(float a, float b) {
  float most;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(most) : "f"(a), "f"(b));
  return most;
}
/// 2^x to 2 units in the last place; results below 2^-126 are 0.
MLC_DEVICE float exp2Fast(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

/// Within 2^-22 of 1 / x and of the root of x >= 0; no subnormals.
MLC_DEVICE float reciprocalFast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
MLC_DEVICE float rootFast(float x) {
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

MLC_DEVICE uint32_t sharedAddress(const void *p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
/// 16 bytes from global to shared memory, later; zeros unless `valid` (`from` is an address all the same).
MLC_DEVICE void copyAsync(void *to, const void *from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
MLC_DEVICE void copyAsync(void *to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(sharedAddress(to)), "l"(from) : "memory");
}
/// Ends a group of copies.
MLC_DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for all but the last `kGroups` groups of this thread.
template <int kGroups> MLC_DEVICE void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

/// Four 8x8 matrices of 16-bit values; lane 8 m + r gives the address of row r of matrix m. Of each the lane receives
/// row lane / 4, columns 2 (lane % 4) and the next; transposed: column lane / 4, rows 2 (lane % 4) and the next.
MLC_DEVICE void loadMatrices(uint32_t (&to)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(sharedAddress(row))
               : "memory");
}
MLC_DEVICE void loadMatricesTransposed(uint32_t (&to)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(sharedAddress(row))
               : "memory");
}

/// The 16-bit types: two values as one register, the first in the low half.
struct Bf16 {
  static MLC_DEVICE uint32_t pack(float first, float second) {
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
  }
  static MLC_DEVICE Float2 unpack(uint32_t both) { return {floatOf(both << 16), floatOf(both & 0xffff0000)}; }
};
struct F16 {
  static MLC_DEVICE uint32_t pack(float first, float second) {
    uint32_t both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
  }
  static MLC_DEVICE Float2 unpack(uint32_t both) {
    Float2 to;
    asm("{\n.reg .b16 first, second;\nmov.b32 {first, second}, %2;\ncvt.f32.f16 %0, first;\ncvt.f32.f16 %1, second;\n}"
        : "=f"(to.x), "=f"(to.y)
        : "r"(both));
    return to;
  }
};

/// sum [16, 8] += a [16, 16] b [16, 8], fragments as the PTX ISA has them for m16n8k16.
template <typename Type> MLC_DEVICE void multiplyAdd(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <> MLC_DEVICE void multiplyAdd<Bf16>(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <> MLC_DEVICE void multiplyAdd<F16>(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

} // namespace mlc::attention

#else
#include "targets/cuda/attention/simt/Emulator.h"
#endif
