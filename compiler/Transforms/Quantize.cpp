//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"
#include "targets/cpu/pack/Pack.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_QUANTIZE
#include "compiler/Transforms/Passes.h.inc"

namespace {

/// 4 or 8; 0 for what keeps the weight, nothing for a word that is none of them.
std::optional<unsigned> bitsOf(StringRef word) {
  if (word == "int4")
    return 4;
  if (word == "int8")
    return 8;
  if (word == "keep" || word == "none")
    return 0;
  return std::nullopt;
}

/// Whether `linear` gives a function's result, directly or through elementwise ops (soft caps, scales).
bool isHead(LinearOp linear) {
  Value value = linear.getResult();
  while (value.hasOneUse()) {
    Operation *user = *value.user_begin();
    if (isa<func::ReturnOp>(user))
      return true;
    bool elementwise = OpTrait::hasElementwiseMappableTraits(user) || isa<SoftcapOp, ScaleOp, ActivationOp>(user);
    if (!elementwise || user->getNumResults() != 1)
      return false;
    value = user->getResult(0);
  }
  return false;
}

struct Quantize : impl::QuantizeBase<Quantize> {
  using QuantizeBase::QuantizeBase;

  void runOnOperation() override {
    std::optional<unsigned> bits = bitsOf(mode);
    if (!bits)
      return fail("--quant " + mode + ": choose keep, none, int8 or int4");
    if (group != 32 && group != 64 && group != 128)
      return fail("--group " + std::to_string(group) + ": choose 32, 64 or 128");
    std::string headWord = head.empty() ? (*bits ? "int8" : "keep") : head.getValue();
    std::optional<unsigned> headBits = headWord == "none" ? std::nullopt : bitsOf(headWord);
    if (!headBits)
      return fail("--head " + headWord + ": choose int4, int8 or keep");

    // The head and embeddings first: a weight that both read is stored once, at the head's precision.
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<LinearOp>(op); linear && isHead(linear))
        for (Attribute name : linear.getWeights())
          set(op, name, *headBits);
      if (auto embedding = dyn_cast<EmbeddingOp>(op))
        set(op, embedding.getWeightAttr(), *headBits);
    });
    getOperation().walk([&](LinearOp linear) {
      for (Attribute name : linear.getWeights())
        set(linear, name, isRouting(linear) ? 0 : *bits);
    });
    getOperation().walk([&](MoeOp moe) {
      for (FlatSymbolRefAttr name : moe.getExpertWeights())
        set(moe, name, *bits);
    });
    if (mode != "none")
      return;
    // --quant none: block formats become f32; the packing reads `storage` and this mark.
    for (WeightOp weight : getOperation().getOps<WeightOp>())
      if (weight.getStorage() >= Storage::Q4_0 && !weight.getQuant())
        weight.setExpand(true);
  }

private:
  void set(Operation *from, Attribute name, unsigned bits) {
    WeightOp weight = lookupWeight(from, cast<FlatSymbolRefAttr>(name));
    if (!decided.insert(weight).second || !bits)
      return;
    int64_t columns = weight.getColumns();
    weight.setQuantAttr(QuantAttr::get(&getContext(), bits, cpu::chooseGroup(columns, group), bits == 4 && asymmetric));
  }
  void fail(const std::string &message) {
    getOperation().emitError(message);
    signalPassFailure();
  }
  DenseSet<Operation *> decided;
};
} // namespace
} // namespace mlc::graph
