//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The f32-exact kernels: mlc_attention_exact_HEAD and mlc_attention_compensated_HEAD. BLOCKS: of a multiprocessor, as
// registers and shared memory allow.
//
#include "targets/cuda/attention/exact/ExactForward.cuh"

using namespace mlc::attention;

#define MLC_EXACT(NAME, HEAD, COMPENSATED, BLOCKS)                                                                     \
  extern "C" __global__ void __launch_bounds__(kExactThreads, BLOCKS)                                                  \
      mlc_attention_##NAME##_##HEAD(const __grid_constant__ ExactArgs args) {                                          \
    exactForward<HEAD, COMPENSATED>(args);                                                                             \
  }
MLC_EXACT(exact, 64, false, 3)
MLC_EXACT(exact, 80, false, 2)
MLC_EXACT(exact, 96, false, 2)
MLC_EXACT(exact, 128, false, 2)
MLC_EXACT(exact, 256, false, 3)
MLC_EXACT(compensated, 64, true, 2)
MLC_EXACT(compensated, 80, true, 2)
MLC_EXACT(compensated, 96, true, 2)
MLC_EXACT(compensated, 128, true, 2)
MLC_EXACT(compensated, 256, true, 3)
