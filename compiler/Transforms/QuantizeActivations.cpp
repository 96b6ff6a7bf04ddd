//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONS
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct QuantizeActivations : impl::QuantizeActivationsBase<QuantizeActivations> {
  void runOnOperation() override {
    DenseMap<std::pair<Value, Type>, QuantizeRowsOp> made;
    getOperation().walk([&](LinearOp linear) {
      QuantizedType type = lookupWeight(linear, cast<FlatSymbolRefAttr>(linear.getWeights()[0])).getQuantizedRows();
      if (!type || isa<QuantizedType>(linear.getInput().getType()))
        return;
      Value input = linear.getInput();
      QuantizeRowsOp &quantize = made[{input, type}];
      if (!quantize) {
        // Right behind the value, so that it dominates every linear that reads it.
        OpBuilder builder(&getContext());
        builder.setInsertionPointAfterValue(input);
        quantize = builder.create<QuantizeRowsOp>(linear.getLoc(), type, input);
      }
      linear.getInputMutable().assign(quantize.getResult());
    });
  }
};
} // namespace
} // namespace mlc::graph
