//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "targets/cpu/pack/Layout.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

static LogicalResult lowerQuantizeRows(Lowering &lowering, graph::QuantizeRowsOp op) {
  graph::QuantizedType type = op.getResult().getType();
  int64_t columns = type.getColumns(), group = type.getGroup();
  Value result = lowering.newRows(op.getInput(), cpu::quantizedRowBytes(columns, group),
                                  lowering.builder.getIntegerType(8, /*isSigned=*/false));
  if (!result)
    return failure();
  lowering.bind(op.getResult(), result);
  lowering.kernel("quantize_rows", lowering.buffer(op.getInput()), result,
                  {lowering.field("k", columns), lowering.field("group", group)});
  return success();
}

static LogicalResult lowerLinear(Lowering &lowering, graph::LinearOp op) {
  auto [weight, desc] = lowering.productWeight(op.getWeights());
  Value result = weight ? lowering.newSlot(op.getResult()) : Value();
  if (!result)
    return failure();
  SmallVector<Value> inputs{lowering.buffer(op.getInput()), weight};
  if (op.getBiases())
    inputs.push_back(lowering.vectors(op.getBiases()->getValue()));
  if (op.getResidual())
    inputs.push_back(lowering.buffer(op.getResidual()));
  lowering.kernel("linear", inputs, result,
                  {lowering.field("weight", desc),
                   lowering.field("quantized_input", isa<graph::QuantizedType>(op.getInput().getType())),
                   lowering.field("has_bias", bool(op.getBiases())),
                   lowering.field("has_residual", bool(op.getResidual()))});
  return success();
}

LogicalResult mlc::lowerProducts(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::QuantizeRowsOp op) { return lowerQuantizeRows(lowering, op); })
      .Case([&](graph::LinearOp op) { return lowerLinear(lowering, op); });
}
