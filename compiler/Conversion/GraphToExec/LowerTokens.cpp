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
  Value source = lowering.buffer(op.getInput());
  auto type = cast<MemRefType>(source.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(getStridesAndOffset(type, strides, offset)))
    return op.emitOpError("splits a buffer whose columns are not strided");
  int64_t column = 0;
  for (Value piece : op.getResults()) {
    auto tensor = cast<RankedTensorType>(piece.getType());
    auto layout = StridedLayoutAttr::get(op.getContext(), offset + column, strides);
    auto view = lowering.builder.create<exec::ViewOp>(
        lowering.location, MemRefType::get(tensor.getShape(), tensor.getElementType(), layout), source, column);
    lowering.bind(piece, view);
    column += tensor.getShape().back();
  }
  return success();
}

LogicalResult mlc::lowerTokens(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::EmbeddingOp op) { return lowerEmbedding(lowering, op); })
      .Case([&](graph::GatherRowsOp op) { return lowerGatherRows(lowering, op); })
      .Case([&](graph::SplitOp op) { return lowerSplit(lowering, op); });
}
