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
  void runOnOperation() override {
    getOperation().walk([&](LinearOp linear) {
      if (isa<QuantizedType>(linear.getInput().getType()))
        return;
      SmallVector<WeightOp> weights;
      for (Attribute name : linear.getWeights())
        weights.push_back(lookupWeight(linear, cast<FlatSymbolRefAttr>(name)));
      if (llvm::any_of(weights, [](WeightOp weight) { return weight.getQuantizedRows() != nullptr; }))
        return;
      for (WeightOp weight : weights)
        weight.setBf16(true);
      linear.setBf16(true);
    });
  }
};
} // namespace
} // namespace mlc::graph
