//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The base of a recurrent state. conv: [kernel - 1][channels] f32, as in canonical form. ssm: for each head, panels of
// 16 columns of head_dim: [panel][state][16] f32, or for bf16 [panel][state / 2][16][2], pairs of state rows
// interleaved as bf16 products take them. Columns past head_dim and the odd last row are 0.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc::cpu {

/// Elements of one head's base in memory: panels of rows of 16.
struct SsmHeadLayout {
  uint64_t panels, rows, panelElements, elements; // rows: of state, rounded up to even for bf16.
};
SsmHeadLayout ssmHeadLayout(uint64_t headDim, uint64_t state, DType dtype);

size_t recurrentBaseBytes(const fb::State &state);
void recurrentToCanonical(const fb::State &state, const uint8_t *base, uint8_t *canonical);
void recurrentFromCanonical(const fb::State &state, uint8_t *base, const uint8_t *canonical);

} // namespace mlc::cpu
