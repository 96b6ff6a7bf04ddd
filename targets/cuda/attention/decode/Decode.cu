//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The decode kernels: mlc_attention_decode_{bf16,f16}_{same,int8,fp8}_HEAD_ROWTILES.
//
#include "targets/cuda/attention/decode/Decode.cuh"

using namespace mlc::attention;

#if __CUDA_ARCH__ >= 900
constexpr bool kHopper = true;
#else
constexpr bool kHopper = false;
#endif

#define MLC_DECODE(NAME, TYPE, CODE, HEAD, TILES)                                                                      \
  extern "C" __global__ void __launch_bounds__(DecodeForm<HEAD, KvCode::CODE, TILES, kHopper>::kThreads)               \
      mlc_attention_decode_##NAME##_##CODE##_##HEAD##_##TILES(const __grid_constant__ DecodeArgs args) {               \
    attentionDecode<TYPE, DecodeForm<HEAD, KvCode::CODE, TILES, kHopper>>(args);                                       \
  }
#define MLC_DECODE_TYPES(CODE, HEAD, TILES)                                                                            \
  MLC_DECODE(bf16, __nv_bfloat16, CODE, HEAD, TILES)                                                                   \
  MLC_DECODE(f16, __half, CODE, HEAD, TILES)

MLC_DECODE_TYPES(same, 64, 1)
MLC_DECODE_TYPES(same, 64, 2)
MLC_DECODE_TYPES(same, 80, 1)
MLC_DECODE_TYPES(same, 80, 2)
MLC_DECODE_TYPES(same, 96, 1)
MLC_DECODE_TYPES(same, 96, 2)
MLC_DECODE_TYPES(same, 128, 1)
MLC_DECODE_TYPES(same, 128, 2)
MLC_DECODE_TYPES(same, 256, 1)
MLC_DECODE_TYPES(int8, 64, 1)
MLC_DECODE_TYPES(int8, 96, 1)
MLC_DECODE_TYPES(int8, 128, 1)
MLC_DECODE_TYPES(int8, 256, 1)
MLC_DECODE_TYPES(fp8, 64, 1)
MLC_DECODE_TYPES(fp8, 96, 1)
MLC_DECODE_TYPES(fp8, 128, 1)
MLC_DECODE_TYPES(fp8, 256, 1)
