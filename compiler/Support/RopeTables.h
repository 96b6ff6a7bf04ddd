//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Inverse frequencies of rotary embeddings, with the f32 roundings of transformers' modeling_rope_utils. The artifact's
// tables and the reference interpreter's angles both come from here.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

namespace mlc {

/// One row of rotary_dim / 2 inverse frequencies; longrope: two, the short form and the long one. dynamic: the form of
/// prompts up to original_context.
llvm::SmallVector<llvm::SmallVector<float>> ropeTables(graph::RopeAnglesOp op);

/// dynamic scaling: the frequencies of a sequence whose complete prompt has `length` tokens.
llvm::SmallVector<float> ropeDynamicTable(graph::RopeAnglesOp op, int64_t length);

} // namespace mlc
