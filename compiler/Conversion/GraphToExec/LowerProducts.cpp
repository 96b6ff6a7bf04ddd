//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

static LogicalResult lowerQuantizeRows(Lowering &lowering, graph::QuantizeRowsOp op) {
  graph::QuantizedType type = op.getResult().getType();
  Value result = lowering.newQuantizedRows(op.getInput(), type);
  if (!result)
    return failure();
  lowering.bind(op.getResult(), result);
  lowering.kernel("quantize_rows", lowering.buffer(op.getInput()), result,
                  {lowering.field("k", type.getColumns()), lowering.field("group", type.getGroup()),
                   lowering.field("sum_group", type.getSums())});
  return success();
}

/// By XNNPACK's kernels, where they were asked for and can: rows and weights of f32.
static std::optional<LogicalResult> lowerLinearToXnnpack(Lowering &lowering, graph::LinearOp op) {
  if (isa<graph::QuantizedType>(op.getInput().getType()) || isa<graph::QuantizedType>(op.getResult().getType()) ||
      op.getGate() || op.getBf16())
    return std::nullopt;
  auto [weight, desc] = lowering.xnnpackWeight(op.getWeights());
  if (!weight)
    return std::nullopt;
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  SmallVector<Value> inputs{lowering.buffer(op.getInput()), weight};
  if (op.getBiases())
    inputs.push_back(lowering.vectors(op.getBiases()->getValue()));
  lowering.kernel("xnnpack.linear", inputs, result,
                  {lowering.field("n", desc.getN()), lowering.field("k", desc.getK()),
                   lowering.field("has_bias", bool(op.getBiases())), lowering.field("transposed", false)});
  if (op.getResidual()) {
    Value residual = lowering.buffer(op.getResidual());
    lowering.kernel(lowering.takesXnnpack({residual, result}) ? "xnnpack.binary" : "binary", {residual, result}, result,
                    {lowering.field("op", StringRef("add"))});
  }
  return success();
}

static LogicalResult lowerLinear(Lowering &lowering, graph::LinearOp op) {
  if (std::optional<LogicalResult> lowered = lowerLinearToXnnpack(lowering, op))
    return *lowered;
  auto [weight, desc] = lowering.productWeight(op.getWeights());
  if (!weight)
    return failure();
  auto quantized = dyn_cast<graph::QuantizedType>(op.getResult().getType());
  Value result = quantized ? lowering.newQuantizedRows(op.getInput(), quantized) : lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  if (quantized)
    lowering.bind(op.getResult(), result);
  // The schema's enumerators are the dialect's.
  StringRef gate = op.getGate() ? graph::stringifyActivation(*op.getGate()) : "none";
  SmallVector<Value> inputs{lowering.buffer(op.getInput()), weight};
  if (op.getBiases())
    inputs.push_back(lowering.vectors(op.getBiases()->getValue()));
  if (op.getResidual())
    inputs.push_back(lowering.buffer(op.getResidual()));
  lowering.kernel(
      "linear", inputs, result,
      {lowering.field("weight", desc),
       lowering.field("quantized_input", isa<graph::QuantizedType>(op.getInput().getType())),
       lowering.field("has_bias", bool(op.getBiases())), lowering.field("has_residual", bool(op.getResidual())),
       lowering.field("gated", op.getGate().has_value()), lowering.field("activation", gate),
       lowering.field("out_group", quantized ? quantized.getGroup() : 0),
       lowering.field("out_sum_group", quantized ? quantized.getSums() : 0), lowering.field("bf16", op.getBf16())});
  return success();
}

static LogicalResult lowerAllReduce(Lowering &lowering, graph::AllReduceOp op) {
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  SmallVector<Value> inputs{lowering.buffer(op.getInput())};
  if (op.getResidual())
    inputs.push_back(lowering.buffer(op.getResidual()));
  lowering.kernel(
      "all_reduce", inputs, result,
      {lowering.field("ranks", int64_t(op.getRanks())), lowering.field("has_residual", bool(op.getResidual()))});
  return success();
}

LogicalResult mlc::lowerProducts(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::QuantizeRowsOp op) { return lowerQuantizeRows(lowering, op); })
      .Case([&](graph::LinearOp op) { return lowerLinear(lowering, op); })
      .Case([&](graph::AllReduceOp op) { return lowerAllReduce(lowering, op); });
}
