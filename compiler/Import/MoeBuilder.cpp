//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The block of a mixture of experts: router, experts, shared MLP.
//
#include "compiler/Import/DecoderBuilder.h"

#include "llvm/ADT/Twine.h"

using namespace mlir;

namespace mlc {

SmallVector<Attribute> DecoderBuilder::expertWeights(int64_t index) {
  const MoeConfig &moe = config.moe;
  const int64_t experts = moe.experts, inner = moe.intermediate, outer = config.hidden;
  auto stacked = [&](const char *name, int64_t rows, int64_t columns) -> Attribute {
    return builder.getArrayAttr({weight(inLayer(index, name), {experts, rows, columns})});
  };
  auto own = [&](const char *name, int64_t rows, int64_t columns) -> Attribute {
    SmallVector<Attribute> list;
    // The first that is missing says enough.
    for (int64_t e = 0; e < experts && problem.empty(); ++e)
      list.push_back(
          weight(inLayer(index, names.experts) + std::to_string(e) + "." + name + ".weight", {rows, columns}));
    return builder.getArrayAttr(list);
  };
  // Version 5 of transformers fuses what its files keep apart; a file may hold either.
  bool fused = names.expertGateUp && (!names.experts || checkpoint.find(inLayer(index, names.expertGateUp)));
  if (fused)
    return {stacked(names.expertGateUp, 2 * inner, outer), stacked(names.expertDown, outer, inner)};
  if (names.experts && !config.gatedMlp)
    return {own(names.ownUp, inner, outer), own(names.ownDown, outer, inner)};
  if (names.experts)
    return {own(names.ownGate, inner, outer), own(names.ownUp, inner, outer), own(names.ownDown, outer, inner)};
  return {stacked(names.expertGate, inner, outer), stacked(names.expertUp, inner, outer),
          stacked(names.expertDown, outer, inner)};
}

Value DecoderBuilder::moeBlock(int64_t index, Value x) {
  const MoeConfig &moe = config.moe;
  Location loc = builder.getUnknownLoc();
  const std::string outTap = config.sandwichNorms ? "" : layerTap(index, "hook_mlp_out");
  Value logits = linear(x, inLayer(index, names.router), config.hidden, moe.experts, false,
                        layerTap(index, "mlp.hook_router_logits"));
  SmallVector<Attribute> weights = expertWeights(index);
  auto down = cast<ArrayAttr>(weights.pop_back_val());
  FlatSymbolRefAttr bias;
  if (moe.selectionBias)
    bias = weight(inLayer(index, names.selectionBias), {moe.experts});
  auto unit = [&](bool on) { return on ? builder.getUnitAttr() : UnitAttr(); };
  auto mixture = builder.create<graph::MoeOp>(
      loc, rowsType(config.hidden, x), x, logits, Value(),
      graph::RouterFormAttr::get(&context, graph::RouterForm(unsigned(moe.form))), builder.getArrayAttr(weights), down,
      bias, builder.getI64IntegerAttr(moe.experts), builder.getI64IntegerAttr(moe.chosen),
      builder.getI64IntegerAttr(moe.groups), builder.getI64IntegerAttr(moe.topGroups), unit(moe.normalize),
      builder.getF32FloatAttr(float(moe.scale)),
      graph::ActivationAttr::get(&context, graph::Activation(unsigned(config.activation))), unit(config.gatedMlp),
      TypeAttr(), UnitAttr());
  if (!moe.sharedIntermediate) {
    tap(mixture, outTap);
    return mixture.getResult();
  }
  Value shared = gatedMlp(index, x, {names.sharedGate, names.sharedUp, names.sharedGateUp, names.sharedDown},
                          moe.sharedIntermediate, moe.sharedBias, "");
  if (moe.sharedGate) {
    Value factors = linear(x, inLayer(index, names.sharedScale), config.hidden, 1, false, "");
    shared = builder.create<graph::ScaleRowsOp>(loc, shared.getType(), shared, factors,
                                                graph::ActivationAttr::get(&context, graph::Activation::sigmoid));
  }
  return add(shared, mixture.getResult(), outTap);
}

} // namespace mlc
