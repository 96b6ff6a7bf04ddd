//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;
using namespace mlc;

static graph::StateOp stateOf(Operation *op, FlatSymbolRefAttr name) {
  return SymbolTable::lookupNearestSymbolFrom<graph::StateOp>(op, name);
}

void mlc::declareState(graph::StateOp state, OpBuilder &builder) {
  NamedAttrList attributes;
  auto integer = [&](StringRef name, int64_t value) { attributes.set(name, builder.getI64IntegerAttr(value)); };
  auto recurrent = [&](ArrayRef<int64_t> dims, int64_t logColumns) {
    attributes.set("kind", exec::StateKindAttr::get(builder.getContext(), exec::StateKind(unsigned(state.getKind()))));
    attributes.set("dims", builder.getDenseI64ArrayAttr(dims));
    integer("log_columns", logColumns);
  };
  static_assert(unsigned(exec::StateKind::conv) == unsigned(graph::StateKind::conv) &&
                unsigned(exec::StateKind::ssm) == unsigned(graph::StateKind::ssm));
  attributes.set("sym_name", state.getSymNameAttr());
  attributes.set("dtype", state.getDtypeAttr());
  int64_t heads = state.getHeads(), dim = state.getHeadDim(), groups = state.getGroups(), size = state.getStateSize();
  switch (state.getKind()) {
  case graph::StateKind::conv:
    recurrent({int64_t(state.getChannels()), int64_t(state.getKernel()) - 1}, state.getChannels());
    break;
  case graph::StateKind::ssm:
    recurrent({heads, dim, size}, heads * dim + groups * size + heads);
    integer("groups", groups);
    break;
  default:
    integer("kv_heads", state.getKvHeads());
    integer("head_dim", dim);
    integer("window", state.getWindow());
  }
  builder.create<exec::StateOp>(state.getLoc(), TypeRange{}, ValueRange{}, attributes);
}

/// The schema's word for an activation that may be absent; its enumerators are the dialect's.
static StringRef activationName(std::optional<graph::Activation> function) {
  return function ? graph::stringifyActivation(*function) : "none";
}

static LogicalResult lowerConv1d(Lowering &lowering, graph::Conv1dCausalOp op) {
  graph::StateOp state = stateOf(op, op.getStateAttr());
  SmallVector<Value> inputs{lowering.buffer(op.getInput()), lowering.matrix(op.getWeightAttr())};
  if (op.getBias())
    inputs.push_back(lowering.vectors(op.getBiasAttr()));
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("conv1d_causal", inputs, result,
                  {lowering.field("channels", int64_t(state.getChannels())),
                   lowering.field("kernel", int64_t(state.getKernel())),
                   lowering.field("activation", activationName(op.getFunction())),
                   lowering.field("has_bias", op.getBias().has_value())},
                  op.getStateAttr());
  return success();
}

static LogicalResult lowerSsd(Lowering &lowering, graph::SsdOp op) {
  graph::StateOp state = stateOf(op, op.getStateAttr());
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  float most = op.getDtMax() ? op.getDtMax()->convertToFloat() : std::numeric_limits<float>::infinity();
  lowering.kernel(
      "ssd",
      {lowering.buffer(op.getInput()), lowering.buffer(op.getDt()), lowering.buffer(op.getB()),
       lowering.buffer(op.getC()), lowering.vectors(op.getAAttr()), lowering.vectors(op.getDAttr()),
       lowering.vectors(op.getDtBiasAttr())},
      result,
      {lowering.field("heads", int64_t(state.getHeads())), lowering.field("head_dim", int64_t(state.getHeadDim())),
       lowering.field("groups", int64_t(state.getGroups())), lowering.field("state", int64_t(state.getStateSize())),
       lowering.field("dt_min", op.getDtMin().convertToFloat()), lowering.field("dt_max", most),
       lowering.field("log_a", op.getLogA()), lowering.field("products", graph::stringifyProducts(op.getProducts()))},
      op.getStateAttr());
  return success();
}

static LogicalResult lowerGatedRmsNorm(Lowering &lowering, graph::GatedRmsNormOp op) {
  Value result = lowering.newSlot(op.getResult());
  if (!result)
    return failure();
  lowering.kernel("gated_rms_norm",
                  {lowering.buffer(op.getInput()), lowering.buffer(op.getGate()), lowering.vectors(op.getWeightAttr())},
                  result,
                  {lowering.field("group", int64_t(op.getGroup())), lowering.field("eps", op.getEps().convertToFloat()),
                   lowering.field("activation", graph::stringifyActivation(op.getFunction())),
                   lowering.field("norm_before_gate", op.getNormBeforeGate())});
  return success();
}

LogicalResult mlc::lowerRecurrent(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](graph::Conv1dCausalOp op) { return lowerConv1d(lowering, op); })
      .Case([&](graph::SsdOp op) { return lowerSsd(lowering, op); })
      .Case([&](graph::GatedRmsNormOp op) { return lowerGatedRmsNorm(lowering, op); });
}
