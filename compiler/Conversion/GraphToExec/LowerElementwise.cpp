//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

static LogicalResult lowerUnary(Lowering &lowering, Operation *op, StringRef activation, float scaleIn,
                                float scaleOut) {
  Value input = lowering.buffer(op->getOperand(0));
  Value result = lowering.inPlaceOrNew(op->getOperand(0), op->getResult(0));
  if (!result)
    return failure();
  if (activation == "sigmoid" && scaleIn == 1 && scaleOut == 1 && lowering.takesXnnpack({input, result})) {
    lowering.kernel("xnnpack.unary", input, result, lowering.field("op", activation));
    return success();
  }
  lowering.kernel("unary", input, result,
                  {lowering.field("activation", activation), lowering.field("scale_in", scaleIn),
                   lowering.field("scale_out", scaleOut)});
  return success();
}

/// Scales each piece of columns on its own, where it lies if nobody else reads it.
static LogicalResult lowerScaleColumns(Lowering &lowering, graph::ScaleColumnsOp op) {
  Value input = lowering.buffer(op.getInput()), result = lowering.inPlaceOrNew(op.getInput(), op.getResult());
  if (!result)
    return failure();
  int64_t column = 0;
  for (auto [factor, columns] : llvm::zip_equal(op.getFactors(), op.getColumns())) {
    if (factor != 1 || input != result)
      lowering.kernel("unary", lowering.columns(input, column, columns), lowering.columns(result, column, columns),
                      {lowering.field("activation", StringRef("none")), lowering.field("scale_in", 1.0f),
                       lowering.field("scale_out", factor)});
    column += columns;
  }
  return success();
}

static LogicalResult lowerBinary(Lowering &lowering, Operation *op, StringRef name) {
  Value lhs = lowering.buffer(op->getOperand(0)), rhs = lowering.buffer(op->getOperand(1));
  Value result = lowering.newSlot(op->getResult(0));
  if (!result)
    return failure();
  bool xnnpack = lowering.takesXnnpack({lhs, rhs, result}) && name != "max" && name != "min" &&
                 op->getOperand(0).getType() == op->getOperand(1).getType();
  lowering.kernel(xnnpack ? "xnnpack.binary" : "binary", {lhs, rhs}, result, {lowering.field("op", name)});
  return success();
}

static LogicalResult lowerGated(Lowering &lowering, graph::GatedActivationOp op) {
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("gated_activation", {lowering.buffer(op.getGate()), lowering.buffer(op.getUp())}, result,
                  {lowering.field("activation", graph::stringifyActivation(op.getFunction()))});
  return success();
}

static LogicalResult lowerConstant(Lowering &lowering, arith::ConstantOp op) {
  auto dense = dyn_cast<DenseFPElementsAttr>(op.getValue());
  auto type = dyn_cast<RankedTensorType>(op.getType());
  if (!dense || !type || !type.getElementType().isF32() || type.getRank() != 2)
    return op.emitOpError("of type ") << op.getType() << " is not lowered; only f32 matrices are";
  SmallVector<float> values(dense.getValues<float>());
  lowering.bind(op, lowering.values("constant", values, type.getDimSize(0), type.getDimSize(1)));
  return success();
}

LogicalResult mlc::lowerElementwise(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::ActivationOp op) {
        return lowerUnary(lowering, op, graph::stringifyActivation(op.getFunction()), 1, 1);
      })
      .Case([&](graph::SoftcapOp op) {
        float cap = op.getCap().convertToFloat();
        return lowerUnary(lowering, op, "tanh", 1 / cap, cap);
      })
      .Case([&](graph::ScaleOp op) { return lowerUnary(lowering, op, "none", 1, op.getFactor().convertToFloat()); })
      .Case([&](graph::ScaleColumnsOp op) { return lowerScaleColumns(lowering, op); })
      .Case([&](graph::GatedActivationOp op) { return lowerGated(lowering, op); })
      .Case([&](arith::AddFOp op) { return lowerBinary(lowering, op, "add"); })
      .Case([&](arith::SubFOp op) { return lowerBinary(lowering, op, "sub"); })
      .Case([&](arith::MulFOp op) { return lowerBinary(lowering, op, "mul"); })
      .Case([&](arith::DivFOp op) { return lowerBinary(lowering, op, "div"); })
      .Case([&](arith::MaximumFOp op) { return lowerBinary(lowering, op, "max"); })
      .Case([&](arith::MinimumFOp op) { return lowerBinary(lowering, op, "min"); })
      .Case([&](arith::ConstantOp op) { return lowerConstant(lowering, op); })
      .Default([&](Operation *op) { return op->emitOpError("has no kernel"); });
}
