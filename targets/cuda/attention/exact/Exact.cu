//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The f32-exact kernels: mlc_attention_exact_HEAD and mlc_attention_compensated_HEAD. Two blocks share a
// multiprocessor.
//
#include "targets/cuda/attention/exact/ExactForward.cuh"

using namespace mlc::attention;

#define MLC_EXACT(HEAD)                                                                                                \
  extern "C" __global__ void __launch_bounds__(kExactThreads, 2)                                                       \
      mlc_attention_exact_##HEAD(const __grid_constant__ ExactArgs args) {                                             \
    exactForward<HEAD, false>(args);                                                                                   \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kExactThreads, 2)                                                       \
      mlc_attention_compensated_##HEAD(const __grid_constant__ ExactArgs args) {                                       \
    exactForward<HEAD, true>(args);                                                                                    \
  }
MLC_EXACT(64)
MLC_EXACT(80)
MLC_EXACT(96)
MLC_EXACT(128)
MLC_EXACT(256)
