//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A KV page of 64 positions: K as [kv_head][64][head_dim], then V alike. What attention kernels read as tiles of
// 64 x head_dim.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc::cuda {

/// 0 when the target does not store such a state.
size_t kvPageBytes(const fb::KvSpec &spec);
void kvToCanonical(const fb::KvSpec &spec, const uint8_t *page, unsigned begin, unsigned end, uint8_t *canonical);
void kvFromCanonical(const fb::KvSpec &spec, uint8_t *page, unsigned begin, unsigned end, const uint8_t *canonical);

} // namespace mlc::cuda
