//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"
#include "compiler/Support/RopeTables.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

static LogicalResult lowerRmsNorm(Lowering &lowering, graph::RmsNormOp op) {
  graph::WeightOp weight = graph::lookupWeight(op, op.getWeightAttr());
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("rms_norm", {lowering.buffer(op.getInput()), lowering.vectors(op.getWeightAttr())}, result,
                  {lowering.field("width", weight.getTensorType().getDimSize(0)),
                   lowering.field("eps", op.getEps().convertToFloat()),
                   lowering.field("offset", op.getOffset().convertToFloat())});
  return success();
}

static LogicalResult lowerAddRmsNorm(Lowering &lowering, graph::AddRmsNormOp op) {
  Value sum = lowering.newSlot(op.getSum());
  Value result = sum ? lowering.newSlot(op.getResult()) : Value();
  if (!result)
    return failure();
  lowering.kernel(
      "add_rms_norm",
      {lowering.buffer(op.getInput()), lowering.buffer(op.getResidual()), lowering.vectors(op.getWeightAttr())},
      {sum, result},
      {lowering.field("width", graph::getColumns(op.getResult().getType())),
       lowering.field("eps", op.getEps().convertToFloat()), lowering.field("offset", op.getOffset().convertToFloat())});
  return success();
}

static LogicalResult lowerRopeAngles(Lowering &lowering, graph::RopeAnglesOp op) {
  SmallVector<SmallVector<float>> tables = ropeTables(op);
  SmallVector<float> flat;
  for (ArrayRef<float> table : tables)
    llvm::append_range(flat, table);
  Value table = lowering.values("rope.inv_freq", flat, tables.size(), op.getRotaryDim() / 2);
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("rope_angles", table, result,
                  {lowering.field("rotary_dim", int64_t(op.getRotaryDim())),
                   lowering.field("scaling", graph::stringifyRopeScaling(op.getScaling())),
                   lowering.field("theta", float(op.getTheta().convertToDouble())),
                   lowering.field("factor", float(op.getFactor().convertToDouble())),
                   lowering.field("attention_factor", float(op.getAttentionFactor().convertToDouble())),
                   lowering.field("original_context", int64_t(op.getOriginalContext()))});
  return success();
}

static LogicalResult lowerRope(Lowering &lowering, graph::RopeOp op) {
  Value input = lowering.buffer(op.getInput()), result = lowering.inPlaceOrNew(op.getInput(), op.getResult());
  if (!result)
    return failure();
  int64_t headDim = op.getHeadDim();
  lowering.kernel("rope", {input, lowering.buffer(op.getAngles())}, result,
                  {lowering.field("heads", graph::getColumns(op.getInput().getType()) / headDim),
                   lowering.field("head_dim", headDim),
                   lowering.field("rotary_dim", graph::getColumns(op.getAngles().getType())),
                   lowering.field("interleaved", op.getInterleaved())});
  return success();
}

static LogicalResult lowerAttentionOp(Lowering &lowering, graph::AttentionOp op) {
  auto state = SymbolTable::lookupNearestSymbolFrom<graph::StateOp>(op, op.getStateAttr());
  int64_t kvHeads = state.getKvHeads(), headDim = state.getHeadDim();
  lowering.kernel("kv_append", {lowering.buffer(op.getKey()), lowering.buffer(op.getValue())}, {},
                  {lowering.field("kv_heads", kvHeads), lowering.field("head_dim", headDim)}, op.getStateAttr());
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("attention", lowering.buffer(op.getQuery()), result,
                  {lowering.field("heads", int64_t(op.getHeads())), lowering.field("kv_heads", kvHeads),
                   lowering.field("head_dim", headDim), lowering.field("scale", op.getScale().convertToFloat()),
                   lowering.field("softcap", op.getSoftcap().convertToFloat()),
                   lowering.field("window", int64_t(state.getWindow())),
                   lowering.field("products", graph::stringifyProducts(op.getProducts()))},
                  op.getStateAttr());
  return success();
}

LogicalResult mlc::lowerAttention(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::RmsNormOp op) { return lowerRmsNorm(lowering, op); })
      .Case([&](graph::AddRmsNormOp op) { return lowerAddRmsNorm(lowering, op); })
      .Case([&](graph::RopeAnglesOp op) { return lowerRopeAngles(lowering, op); })
      .Case([&](graph::RopeOp op) { return lowerRope(lowering, op); })
      .Case([&](graph::AttentionOp op) { return lowerAttentionOp(lowering, op); });
}
