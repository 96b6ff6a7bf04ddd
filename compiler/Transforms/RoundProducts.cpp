//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_ROUNDPRODUCTS
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct RoundProducts : impl::RoundProductsBase<RoundProducts> {
  using RoundProductsBase::RoundProductsBase;

  void runOnOperation() override {
    getOperation().walk([&](LinearOp linear) {
      if (!isRouting(linear) && round(linear, linear.getInput(), linear.getWeights().getAsRange<FlatSymbolRefAttr>()))
        linear.setBf16(true);
    });
    getOperation().walk([&](MoeOp moe) {
      if (round(moe, moe.getInput(), moe.getExpertWeights()))
        moe.setBf16(true);
    });
  }

private:
  /// Marks the weights, when all are of floats and meet f32 rows; those of integers stay as they are.
  template <typename Names> bool round(Operation *op, Value input, const Names &names) {
    if (isa<QuantizedType>(input.getType()))
      return false;
    SmallVector<WeightOp> weights;
    for (FlatSymbolRefAttr name : names)
      weights.push_back(lookupWeight(op, name));
    if (llvm::any_of(weights, [](WeightOp weight) { return weight.getQuantizedRows() != nullptr; }))
      return integers;
    for (WeightOp weight : weights)
      weight.setBf16(true);
    return true;
  }
};
} // namespace
} // namespace mlc::graph
