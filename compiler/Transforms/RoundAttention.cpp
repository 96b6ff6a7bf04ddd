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
    getOperation().walk([](AttentionOp attention) {
      auto state = mlir::SymbolTable::lookupNearestSymbolFrom<StateOp>(attention, attention.getStateAttr());
      std::optional<mlir::Type> stored = state ? state.getDtype() : std::nullopt;
      if (stored && stored->isBF16())
        attention.setProducts(Products::bf16);
      else if (stored && stored->isInteger(8) && state.getHeadDim() <= kCodesHeadDim)
        attention.setProducts(Products::i8);
    });
  }
};
} // namespace
} // namespace mlc::graph
