//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What kernels are written in: CUDA C++ by nvcc, or the same text run by the tests' emulator on a machine without a
// GPU. A kernel is MLC_KERNEL(name, Args): one struct by value. No product is contracted unless it says fmaf.
//
#pragma once

#include "targets/cuda/device/Args.h"

#ifdef __CUDACC__

#include <cuda_fp16.h>

#define MLC_KERNEL(NAME, ARGS) extern "C" __global__ void NAME(const __grid_constant__ ARGS args)
/// Of blocks of THREADS.
#define MLC_KERNEL_OF(NAME, ARGS, THREADS) MLC_KERNEL_TOGETHER(NAME, ARGS, THREADS, 1)
/// The same, of which a processor has at least BLOCKS at once.
#define MLC_KERNEL_TOGETHER(NAME, ARGS, THREADS, BLOCKS)                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAME(const __grid_constant__ ARGS args)
#define MLC_DEVICE __device__ __forceinline__
#define MLC_SHARED __shared__

namespace mlc::cuda {
MLC_DEVICE float halfToFloat(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }
MLC_DEVICE uint16_t floatToHalf(float value) { return __half_as_ushort(__float2half_rn(value)); }
MLC_DEVICE float shuffleXor(float value, int lanes) { return __shfl_xor_sync(0xffffffff, value, lanes); }
MLC_DEVICE void sinCosPi(double x, double &sine, double &cosine) { sincospi(x, &sine, &cosine); }
/// Lets the next kernel of the stream start beside this one: it gets as far as its awaitInputs().
MLC_DEVICE void letNextStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Waits until the kernel before this one has ended and all that it wrote is there. Every kernel calls it before it
/// touches anything but weights, so what earlier ones wrote is there, too.
MLC_DEVICE void awaitInputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/// A load of what no kernel of the step writes and no other block reads again.
MLC_DEVICE uint4 loadOnce(const void *from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}
} // namespace mlc::cuda

#else
#include "targets/cuda/tests/emulator/Emulator.h"
#endif

namespace mlc::cuda {

constexpr int kWarp = 32;

/// The beginning of a kernel that has nothing to do before its inputs are there.
MLC_DEVICE void begin() {
  letNextStart();
  awaitInputs();
}

MLC_DEVICE float notANumber() { return __uint_as_float(0x7fc00000); }
MLC_DEVICE float bf16ToFloat(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }
/// To nearest, ties to even; NaN stays NaN.
MLC_DEVICE uint16_t floatToBf16(float value) {
  uint32_t bits = __float_as_uint(value);
  return uint16_t(value != value ? (bits >> 16) | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
MLC_DEVICE float roundBf16(float value) { return bf16ToFloat(floatToBf16(value)); }

MLC_DEVICE float warpSum(float value) {
  for (int lanes = kWarp / 2; lanes; lanes /= 2)
    value += shuffleXor(value, lanes);
  return value;
}
MLC_DEVICE float warpMax(float value) {
  for (int lanes = kWarp / 2; lanes; lanes /= 2)
    value = fmaxf(value, shuffleXor(value, lanes));
  return value;
}

/// Element `i` of stored numbers.
MLC_DEVICE float stored(const void *data, Storage storage, int64_t i) {
  switch (storage) {
  case Storage::f32:
    return static_cast<const float *>(data)[i];
  case Storage::f16:
    return halfToFloat(static_cast<const uint16_t *>(data)[i]);
  default:
    return bf16ToFloat(static_cast<const uint16_t *>(data)[i]);
  }
}

} // namespace mlc::cuda

// Kernels have C names.
using namespace mlc::cuda;
