//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The forward kernels of one type: MLC_FORWARD(NAME, TYPE) makes mlc_attention_forward_NAME_HEAD: of ForwardHopper.cuh
// for sm_90a, of ForwardAmpere.cuh for others, and for these mlc_attention_forward_small_NAME_HEAD where less shared
// memory needs another form.
//
#pragma once

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "targets/cuda/attention/forward/ForwardHopper.cuh"

#define MLC_FORWARD_HEAD(NAME, TYPE, HEAD)                                                                             \
  extern "C" __global__ void __launch_bounds__(mlc::attention::HopperForm<HEAD>::kThreads, 1)                          \
      mlc_attention_forward_##NAME##_##HEAD(const __grid_constant__ mlc::attention::ForwardArgs args) {                \
    mlc::attention::forwardHopper<TYPE, mlc::attention::HopperForm<HEAD>>(args);                                       \
  }
#define MLC_FORWARD_SMALL(NAME, TYPE, HEAD)
#else
#include "targets/cuda/attention/forward/ForwardAmpere.cuh"

#define MLC_FORWARD_FORM(KERNEL, TYPE, HEAD, SMALL)                                                                    \
  extern "C" __global__ void __launch_bounds__(mlc::attention::AmpereForm<HEAD, SMALL>::kThreads,                      \
                                               mlc::attention::AmpereForm<HEAD, SMALL>::kBlocks)                       \
      KERNEL##_##HEAD(const __grid_constant__ mlc::attention::ForwardArgs args) {                                      \
    mlc::attention::forwardAmpere<TYPE, mlc::attention::AmpereForm<HEAD, SMALL>>(args);                                \
  }
#define MLC_FORWARD_HEAD(NAME, TYPE, HEAD) MLC_FORWARD_FORM(mlc_attention_forward_##NAME, TYPE, HEAD, false)
#define MLC_FORWARD_SMALL(NAME, TYPE, HEAD) MLC_FORWARD_FORM(mlc_attention_forward_small_##NAME, TYPE, HEAD, true)
#endif

#define MLC_FORWARD(NAME, TYPE)                                                                                        \
  MLC_FORWARD_HEAD(NAME, TYPE, 64)                                                                                     \
  MLC_FORWARD_HEAD(NAME, TYPE, 80)                                                                                     \
  MLC_FORWARD_HEAD(NAME, TYPE, 96)                                                                                     \
  MLC_FORWARD_HEAD(NAME, TYPE, 128)                                                                                    \
  MLC_FORWARD_HEAD(NAME, TYPE, 256)                                                                                    \
  MLC_FORWARD_SMALL(NAME, TYPE, 128)                                                                                   \
  MLC_FORWARD_SMALL(NAME, TYPE, 256)
