//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What kernels of every architecture share, one PTX instruction a function.
//
#pragma once

#include <cstdint>

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace mlc::cuda {

/// The shared memory that a launch asks for.
__device__ __forceinline__ uint8_t *dynamicShared() {
  extern __shared__ __align__(128) uint8_t dynamic[];
  return dynamic;
}
__device__ __forceinline__ uint32_t sharedAddress(const void *p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/// Keeps from the compiler what a number is: what follows from it is computed again, rather than kept in registers.
__device__ __forceinline__ int forget(int x) {
  asm volatile("" : "+r"(x));
  return x;
}
/// Tells the compiler that a warp's threads agree.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(~0u, x, 0); }

template <class T> __device__ __forceinline__ uint32_t packPair(float low, float high);
template <> __device__ __forceinline__ uint32_t packPair<__nv_bfloat16>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
template <> __device__ __forceinline__ uint32_t packPair<__half>(float low, float high) {
  uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
__device__ __forceinline__ float exp2Fast(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}
__device__ __forceinline__ float reciprocalFast(float x) {
  float out;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

} // namespace mlc::cuda

#else
#include "targets/cuda/attention/simt/Device.h"
#endif
