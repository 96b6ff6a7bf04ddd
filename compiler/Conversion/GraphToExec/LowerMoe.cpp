//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A mixture of experts is three kernels: the router, the experts' first products, their last ones with the sum.
//
#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "targets/cpu/pack/Layout.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

/// Columns of one of the top_k hidden rows that moe_up writes for a token: values, or bytes of a quantized row.
static int64_t hiddenColumns(graph::MoeOp op, int64_t columns) {
  if (!op.getHidden())
    return columns;
  auto type = cast<graph::QuantizedType>(*op.getHidden());
  return int64_t(cpu::QuantizedRow(type.getColumns(), type.getGroup(), type.getSums()).bytes);
}

static LogicalResult lowerMixture(Lowering &lowering, graph::MoeOp op) {
  Builder &builder = lowering.builder;
  int64_t experts = op.getExperts(), chosen = op.getTopK();
  Value ids = lowering.newRows(op.getLogits(), chosen, builder.getI32Type());
  Value weights = lowering.newRows(op.getLogits(), chosen, builder.getF32Type());
  if (!ids || !weights)
    return failure();
  SmallVector<Value> router{lowering.buffer(op.getLogits())};
  if (op.getSelectionBias())
    router.push_back(lowering.vectors({op.getSelectionBiasAttr()}));
  // The schema's enumerators are the dialect's.
  lowering.kernel(
      "moe_route", router, {ids, weights},
      {lowering.field("experts", experts), lowering.field("top_k", chosen),
       lowering.field("groups", int64_t(op.getGroups())), lowering.field("top_groups", int64_t(op.getTopGroups())),
       lowering.field("scale", op.getScale().convertToFloat()),
       lowering.field("form", graph::stringifyRouterForm(op.getRouter())),
       lowering.field("normalize", op.getNormalize()), lowering.field("has_bias", op.getSelectionBias().has_value())});

  SmallVector<ArrayAttr> parts(op.getInto().getAsRange<ArrayAttr>());
  bool halves = op.getGated() && parts.size() == 1;
  graph::WeightOp first = graph::lookupWeight(op, cast<FlatSymbolRefAttr>(parts[0][0]));
  int64_t rows = graph::MoeOp::expertRows(first, experts) / (halves ? 2 : 1);
  auto [into, intoDesc] = lowering.expertWeights(parts, rows);
  auto [down, downDesc] = lowering.expertWeights(op.getDown(), graph::getColumns(op.getResult().getType()));
  if (!into || !down)
    return failure();
  auto quantized = op.getHidden() ? cast<graph::QuantizedType>(*op.getHidden()) : graph::QuantizedType();
  Type element = quantized ? Type(builder.getIntegerType(8, /*isSigned=*/false)) : Type(builder.getF32Type());
  Value hidden = lowering.newRows(op.getLogits(), chosen * hiddenColumns(op, rows), element);
  bool quantizedInput = isa<graph::QuantizedType>(op.getInput().getType());
  lowering.kernel("moe_up", {lowering.buffer(op.getInput()), into, ids}, hidden,
                  {lowering.field("weight", intoDesc), lowering.field("experts", experts),
                   lowering.field("top_k", chosen), lowering.field("stride", int64_t(halves ? 2 : 1)),
                   lowering.field("gate_distance", op.getGated() ? (halves ? 1 : experts) : int64_t(0)),
                   lowering.field("out_group", quantized ? quantized.getGroup() : int64_t(0)),
                   lowering.field("out_sum_group", quantized ? quantized.getSums() : int64_t(0)),
                   lowering.field("activation", graph::stringifyActivation(op.getActivation())),
                   lowering.field("quantized_input", quantizedInput), lowering.field("bf16", op.getBf16())});

  SmallVector<Value> inputs{hidden, down, ids, weights};
  if (op.getResidual())
    inputs.push_back(lowering.buffer(op.getResidual()));
  Value result =
      op.getResidual() ? lowering.inPlaceOrNew(op.getResidual(), op.getResult()) : lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("moe_down", inputs, result,
                  {lowering.field("weight", downDesc), lowering.field("experts", experts),
                   lowering.field("top_k", chosen), lowering.field("quantized_input", bool(quantized)),
                   lowering.field("bf16", op.getBf16()), lowering.field("has_residual", bool(op.getResidual()))});
  return success();
}

static LogicalResult lowerScaleRows(Lowering &lowering, graph::ScaleRowsOp op) {
  Value input = lowering.buffer(op.getInput()), factors = lowering.buffer(op.getFactors());
  Value result = lowering.inPlaceOrNew(op.getInput(), op.getResult());
  if (!result)
    return failure();
  lowering.kernel("scale_rows", {input, factors}, result,
                  {lowering.field("activation", graph::stringifyActivation(op.getFunction()))});
  return success();
}

LogicalResult mlc::lowerMoe(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::MoeOp op) { return lowerMixture(lowering, op); })
      .Case([&](graph::ScaleRowsOp op) { return lowerScaleRows(lowering, op); });
}
