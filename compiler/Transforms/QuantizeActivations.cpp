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
  using QuantizeActivationsBase::QuantizeActivationsBase;

  void runOnOperation() override {
    getOperation().walk([&](LinearOp linear) {
      if (!isRouting(linear))
        quantize(linear, linear.getInputMutable(), rowsOf(linear, linear.getWeights()));
    });
    if (!experts)
      return;
    getOperation().walk([&](MoeOp moe) {
      QuantizedType rows = rowsOf(moe, cast<ArrayAttr>(moe.getInto()[0])), hidden = rowsOf(moe, moe.getDown());
      if (quantize(moe, moe.getInputMutable(), rows) && hidden)
        moe.setHiddenAttr(TypeAttr::get(hidden));
    });
  }

private:
  static QuantizedType rowsOf(Operation *op, ArrayAttr weights) {
    return lookupWeight(op, cast<FlatSymbolRefAttr>(weights[0])).getQuantizedRows();
  }
  /// Makes `operand` rows of `type`, where there is one and it is not yet; false when it stays.
  bool quantize(Operation *op, OpOperand &operand, QuantizedType type) {
    Value input = operand.get();
    if (!type || isa<QuantizedType>(input.getType()))
      return false;
    QuantizeRowsOp &quantize = made[{input, type}];
    if (!quantize) {
      // Right behind the value, so that it dominates every product that reads it.
      OpBuilder builder(&getContext());
      builder.setInsertionPointAfterValue(input);
      quantize = builder.create<QuantizeRowsOp>(op->getLoc(), type, input);
    }
    operand.assign(quantize.getResult());
    return true;
  }
  DenseMap<std::pair<Value, Type>, QuantizeRowsOp> made;
};
} // namespace
} // namespace mlc::graph
