//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Exec/IR/Exec.h"
#include "compiler/Dialect/Exec/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::exec {
#define GEN_PASS_DEF_FUSENORMLINEAR
#include "compiler/Dialect/Exec/Transforms/Passes.h.inc"

namespace {

bool holds(KernelOp kernel, StringRef field) {
  auto value = kernel.getFields().getAs<BoolAttr>(field);
  return value && value.getValue();
}

Value slotOf(Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewOp>())
    buffer = view.getSource();
  return buffer;
}

/// Whether nothing from `begin` up to `end`, with it, writes the slot of `buffer`. Of ops other than kernels and
/// declarations nothing is known.
bool staysUntil(Value buffer, Operation *begin, Operation *end) {
  for (Operation *op = begin;; op = op->getNextNode()) {
    if (auto kernel = dyn_cast<KernelOp>(op)) {
      for (Value output : kernel.getOutputs())
        if (slotOf(output) == slotOf(buffer))
          return false;
    } else if (!isa<SlotOp, ViewOp, WeightOp>(op)) {
      return false;
    }
    if (op == end)
      return true;
  }
}

struct FuseNormLinear : impl::FuseNormLinearBase<FuseNormLinear> {
  void runOnOperation() override {
    getOperation().walk([&](FuncOp function) {
      // Collected first: a fusion erases ops around the linear.
      SmallVector<KernelOp> linears;
      function.walk([&](KernelOp kernel) {
        if (kernel.getName() == "linear")
          linears.push_back(kernel);
      });
      // What the last one reads are the hidden states that embeddings are made of.
      for (KernelOp linear : ArrayRef(linears).drop_back(!linears.empty()))
        if (holds(linear, "bf16"))
          fuse(linear);
    });
  }

private:
  void fuse(KernelOp linear) {
    Value normed = linear.getInputs()[0];
    auto slot = normed.getDefiningOp<SlotOp>();
    if (!slot || slot.getInput() || !llvm::hasNItems(normed.getUses(), 2))
      return;
    KernelOp norm;
    for (Operation *user : normed.getUsers())
      if (auto kernel = dyn_cast<KernelOp>(user);
          kernel && kernel.getName() == "rms_norm" && kernel.getOutputs()[0] == normed)
        norm = kernel;
    if (!norm || norm->getBlock() != linear->getBlock() || !norm->isBeforeInBlock(linear))
      return;
    Value x = norm.getInputs()[0];
    auto width = norm.getFields().getAs<IntegerAttr>("width");
    if (!width || width.getInt() != cast<MemRefType>(normed.getType()).getShape().back() ||
        !staysUntil(x, norm->getNextNode(), linear))
      return;
    OpBuilder builder(linear);
    SmallVector<Value> inputs{x, norm.getInputs()[1]};
    llvm::append_range(inputs, linear.getInputs().drop_front());
    NamedAttrList fields(linear.getFields());
    for (StringRef name : {"eps", "offset"})
      fields.set(name, norm.getFields().get(name));
    builder.create<KernelOp>(builder.getFusedLoc({norm.getLoc(), linear.getLoc()}), "norm_linear", 1, inputs,
                             linear.getOutputs(), linear.getStates(), fields.getDictionary(&getContext()));
    swallowTaps(slot, linear.getOutputs()[0].getDefiningOp<SlotOp>());
    norm->erase();
    linear->erase();
    slot->erase();
    ++fused;
  }

  /// Taps of a slot that is gone end inside what writes `into`.
  void swallowTaps(SlotOp gone, SlotOp into) {
    SmallVector<Attribute> names;
    for (SlotOp slot : {into, gone})
      if (slot && slot.getInnerTaps())
        llvm::append_range(names, *slot.getInnerTaps());
    if (gone.getTapAttr())
      names.push_back(gone.getTapAttr());
    if (into && !names.empty())
      into.setInnerTapsAttr(ArrayAttr::get(&getContext(), names));
  }
};

} // namespace
} // namespace mlc::exec
