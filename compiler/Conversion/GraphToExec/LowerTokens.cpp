//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

static LogicalResult lowerEmbedding(Lowering &lowering, graph::EmbeddingOp op) {
  auto [weight, desc] = lowering.rowsWeight(op.getWeightAttr());
  Value result = weight ? lowering.newSlot(op.getResult()) : Value();
  if (!result)
    return failure();
  lowering.kernel("embedding", {lowering.buffer(op.getIds()), weight}, result,
                  {lowering.field("weight", desc), lowering.field("scale", op.getScale().convertToFloat())});
  return success();
}

static LogicalResult lowerGatherRows(Lowering &lowering, graph::GatherRowsOp op) {
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("gather_rows", {lowering.buffer(op.getInput()), lowering.buffer(op.getRows())}, result,
                  {lowering.field("columns", graph::getColumns(op.getInput().getType()))});
  return success();
}

static LogicalResult lowerSplit(Lowering &lowering, graph::SplitOp op) {
  int64_t column = 0;
  for (Value piece : op.getResults()) {
    int64_t columns = graph::getColumns(piece.getType());
    lowering.bind(piece, lowering.columns(lowering.buffer(op.getInput()), column, columns));
    column += columns;
  }
  return success();
}

LogicalResult mlc::lowerTokens(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::EmbeddingOp op) { return lowerEmbedding(lowering, op); })
      .Case([&](graph::GatherRowsOp op) { return lowerGatherRows(lowering, op); })
      .Case([&](graph::SplitOp op) { return lowerSplit(lowering, op); });
}
