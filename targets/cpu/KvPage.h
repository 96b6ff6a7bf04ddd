//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A KV page of 64 positions: for each head, K as [head_dim][64], V as [64][head_dim rounded up to 16], and with int8
// the f32 scales [64] of K and of V. Each part begins at a multiple of 64 bytes.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc::cpu {

/// Whether the sizes and the dtype are ones this target stores.
bool kvSpecValid(const fb::KvSpec &spec);
/// Where the parts of one head lie, relative to the head's first byte.
struct KvHeadLayout {
  size_t elementBytes, valueStride; // valueStride: elements between two positions of V.
  size_t valueOffset, keyScales, valueScales, bytes;
};
KvHeadLayout kvHeadLayout(const fb::KvSpec &spec);

/// 0 when the spec is not valid.
size_t kvPageBytes(const fb::KvSpec &spec);
void kvToCanonical(const fb::KvSpec &spec, const uint8_t *page, unsigned begin, unsigned end, uint8_t *canonical);
void kvFromCanonical(const fb::KvSpec &spec, uint8_t *page, unsigned begin, unsigned end, const uint8_t *canonical);

} // namespace mlc::cpu
