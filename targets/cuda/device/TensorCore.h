//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A warp's matrix product, and numbers on their way into it.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

#ifdef __CUDACC__

/// c += a b in f32: m16 n8 k16 of bf16, each lane's parts as PTX lays them out for mma.m16n8k16.
MLC_DEVICE void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same in i32 of m16 n8 k32 of signed bytes.
MLC_DEVICE void multiply(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// a b + c of two bf16 each.
MLC_DEVICE uint32_t fmaBf16Pair(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
/// Two floats as bf16, the first one low.
MLC_DEVICE uint32_t pairToBf16(float low, float high) {
  uint32_t d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
/// Bytes of a (numbers 0 to 3) and b (4 to 7) by the nibbles of `selector`, the lowest first.
MLC_DEVICE uint32_t permuteBytes(uint32_t a, uint32_t b, uint32_t selector) { return __byte_perm(a, b, selector); }
/// (a & b) | c: of constants that are immediates compilers would make two instructions.
MLC_DEVICE uint32_t andOr(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
/// (a & b) ^ c.
MLC_DEVICE uint32_t andXor(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
MLC_DEVICE uint2 loadPairOnce(const void *from) {
  uint2 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
  return v;
}

#else

void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void multiply(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
uint32_t fmaBf16Pair(uint32_t a, uint32_t b, uint32_t c);
uint32_t permuteBytes(uint32_t a, uint32_t b, uint32_t selector);
inline uint32_t andOr(uint32_t a, uint32_t b, uint32_t c) { return (a & b) | c; }
inline uint32_t andXor(uint32_t a, uint32_t b, uint32_t c) { return (a & b) ^ c; }
inline uint32_t pairToBf16(float low, float high) { return uint32_t(f32ToBf16(low)) | uint32_t(f32ToBf16(high)) << 16; }
inline uint2 loadPairOnce(const void *from) { return load<uint2>(from); }

#endif

/// Bytes 2 half and 2 half + 1 of `word`, b - 128 each. 0x4300 is 128, whose last bit is worth 1: the low seven bits of
/// a byte are added to it, and 256 or, for the upper half of the bytes, 128 taken off.
MLC_DEVICE uint32_t bytesToBf16(uint32_t word, int half) {
  uint32_t bytes = permuteBytes(word, 0x43434343, half ? 0x4342 : 0x4140);
  return fmaBf16Pair(0x43804380 ^ (bytes & 0x00800080), 0xbf80bf80, bytes & 0xff7fff7f);
}

/// The low nibbles of both halves of `word`, less what `zeros` holds beside 128.
MLC_DEVICE uint32_t nibblesToBf16(uint32_t word, uint32_t zeros) {
  return fmaBf16Pair(andOr(word, 0x000f000f, 0x43004300), 0x3f803f80, zeros);
}

/// The high nibbles of `word` as signed bytes, 16 (nibble - 8) each.
MLC_DEVICE uint32_t nibblesToBytes(uint32_t word) { return andXor(word, 0xf0f0f0f0, 0x80808080); }

} // namespace mlc::cuda
