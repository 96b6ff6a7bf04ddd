//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

namespace mlc::graph {
#define GEN_PASS_DEF_ROUNDATTENTION
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct RoundAttention : impl::RoundAttentionBase<RoundAttention> {
  void runOnOperation() override {
    getOperation().walk([](AttentionOp attention) { attention.setProducts(Products::bf16); });
  }
};
} // namespace
} // namespace mlc::graph
