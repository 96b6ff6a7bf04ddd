//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The Mamba-2 mixer: in_proj -> [gate | x b c | dt], a causal convolution of x b c, the scan, the gated norm, out_proj.
//
#include "compiler/Import/DecoderBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>

using namespace mlir;

namespace mlc {

Value DecoderBuilder::mambaBlock(int64_t index, Value x, Value batch) {
  const MambaConfig &mamba = config.mamba;
  const int64_t inner = mamba.inner(), group = mamba.groupColumns(), channels = mamba.channels(), heads = mamba.heads;
  Location loc = builder.getUnknownLoc();
  auto function = graph::ActivationAttr::get(&context, graph::Activation(unsigned(mamba.activation)));
  auto vector = [&](const char *name, bool column = true) {
    return mamba.ggufForms && column ? weight(inLayer(index, name), {heads, 1}) : weight(inLayer(index, name), {heads});
  };

  x = linear(scale(x, mamba.inputScale), inLayer(index, names.mambaIn), config.hidden, inner + channels + heads,
             mamba.inputBias, layerTap(index, "mixer.hook_in_proj"));
  if (llvm::any_of(mamba.pieceScales, [](double factor) { return factor != 1; })) {
    SmallVector<float> factors(mamba.pieceScales.begin(), mamba.pieceScales.end());
    x = builder.create<graph::ScaleColumnsOp>(loc, x.getType(), x, factors,
                                              ArrayRef<int64_t>{inner, inner, group, group, heads});
  }
  SmallVector<Value> pieces = split(x, {inner, channels, heads});

  // Declared one by one: the order of a call's arguments is the compiler's.
  const std::string convName = inLayer(index, names.mambaConv);
  FlatSymbolRefAttr convState =
      state(index, graph::StateKind::conv, {{"channels", channels}, {"kernel", mamba.kernel}});
  FlatSymbolRefAttr filter = mamba.ggufForms ? weight(convName + ".weight", {channels, mamba.kernel})
                                             : weight(convName + ".weight", {channels, 1, mamba.kernel});
  FlatSymbolRefAttr convBias = mamba.convBias ? weight(convName + ".bias", {channels}) : FlatSymbolRefAttr();
  auto convolved = builder.create<graph::Conv1dCausalOp>(loc, pieces[1].getType(), pieces[1], batch, convState, filter,
                                                         convBias, function);
  tap(convolved, layerTap(index, "mixer.hook_conv"));
  SmallVector<Value> inputs = split(convolved.getResult(), {inner, group, group});

  FlatSymbolRefAttr scanState =
      state(index, graph::StateKind::ssm,
            {{"heads", heads}, {"head_dim", mamba.headDim}, {"groups", mamba.groups}, {"state_size", mamba.stateSize}});
  FlatSymbolRefAttr a = vector(names.mambaA), d = vector(names.mambaD),
                    dtBias = vector(names.mambaDtBias, /*column=*/false);
  auto scan = builder.create<graph::SsdOp>(
      loc, inputs[0].getType(), inputs[0], pieces[2], inputs[1], inputs[2], batch, scanState, a, d, dtBias,
      mamba.ggufForms ? UnitAttr() : builder.getUnitAttr(), builder.getF32FloatAttr(float(mamba.dtMin)),
      std::isinf(mamba.dtMax) ? FloatAttr() : builder.getF32FloatAttr(float(mamba.dtMax)),
      graph::ProductsAttr::get(&context, graph::Products::f32));
  tap(scan, layerTap(index, "mixer.hook_ssm_output"));

  Value y;
  if (mamba.norm) {
    const std::string normName = inLayer(index, names.mambaNorm) + ".weight";
    const int64_t columns = inner / mamba.groups;
    y = builder.create<graph::GatedRmsNormOp>(
        loc, scan.getType(), scan, pieces[0],
        mamba.ggufForms ? weight(normName, {mamba.groups, columns}) : weight(normName, {inner}), function,
        builder.getF32FloatAttr(float(config.normEps)), builder.getI64IntegerAttr(columns),
        mamba.normBeforeGate ? builder.getUnitAttr() : UnitAttr());
  } else {
    Value gate = builder.create<graph::ActivationOp>(loc, pieces[0].getType(), pieces[0], function);
    y = builder.create<arith::MulFOp>(loc, gate, scan);
  }
  std::string outTap = layerTap(index, "hook_mixer_out");
  bool scaled = mamba.outputScale != 1;
  y = linear(y, inLayer(index, names.mambaOut), inner, config.hidden, mamba.outputBias, scaled ? "" : outTap);
  return scale(y, mamba.outputScale, outTap);
}

} // namespace mlc
