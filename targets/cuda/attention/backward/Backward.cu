//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The backward kernels: mlc_attention_{delta,dq,dkdv}_{bf16,f16}_HEAD.
//
#include "targets/cuda/attention/backward/Backward.cuh"

using namespace mlc::attention;

#define MLC_BACKWARD(NAME, TYPE, HEAD)                                                                                 \
  extern "C" __global__ void __launch_bounds__(kBackwardThreads)                                                       \
      mlc_attention_delta_##NAME##_##HEAD(const __grid_constant__ BackwardArgs args) {                                 \
    backwardDelta<HEAD, TYPE>(args);                                                                                   \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kBackwardThreads, 2)                                                    \
      mlc_attention_dq_##NAME##_##HEAD(const __grid_constant__ BackwardArgs args) {                                    \
    backwardQuery<HEAD, TYPE>(args);                                                                                   \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kBackwardThreads, 2)                                                    \
      mlc_attention_dkdv_##NAME##_##HEAD(const __grid_constant__ BackwardArgs args) {                                  \
    backwardKeyValue<HEAD, TYPE>(args);                                                                                \
  }
MLC_BACKWARD(bf16, Bf16, 64)
MLC_BACKWARD(bf16, Bf16, 128)
MLC_BACKWARD(f16, F16, 64)
MLC_BACKWARD(f16, F16, 128)
