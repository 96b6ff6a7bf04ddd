//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Where the blocks of a recurrent state lie.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

MLC_DEVICE uint8_t *baseAt(const StateView &state, uint32_t block) {
  return state.bases + int64_t(block) * state.baseStride;
}
MLC_DEVICE float *logAt(const StateView &state, uint32_t block, int64_t entry) {
  return reinterpret_cast<float *>(state.logs + int64_t(block) * state.logBlockStride) + entry * state.logStride;
}

} // namespace mlc::cuda
