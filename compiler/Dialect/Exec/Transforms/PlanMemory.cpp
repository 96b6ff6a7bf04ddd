//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Exec/Transforms/Liveness.h"
#include "compiler/Dialect/Exec/Transforms/Passes.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc::exec {
#define GEN_PASS_DEF_PLANMEMORY
#include "compiler/Dialect/Exec/Transforms/Passes.h.inc"

namespace {

constexpr int64_t kAlignment = 64;

struct Placed {
  LiveSlot slot;
  int64_t offset;
};

/// The lowest offset from `base` at which `slot` fits beside the placed slots that live with it.
int64_t lowestFit(const LiveSlot &slot, ArrayRef<Placed> placed, int64_t base) {
  SmallVector<std::pair<int64_t, int64_t>> taken;
  for (const Placed &other : placed)
    if (slot.overlaps(other.slot))
      taken.push_back({other.offset, other.offset + other.slot.bytes});
  llvm::sort(taken);
  int64_t offset = base;
  for (auto [begin, end] : taken) {
    if (offset + slot.bytes <= begin)
      break;
    offset = std::max(offset, int64_t(llvm::alignTo(end, kAlignment)));
  }
  return offset;
}

struct PlanMemory : impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    OpBuilder builder(&getContext());
    int64_t arena = 0;
    for (FuncOp function : getOperation().getOps<FuncOp>()) {
      SmallVector<LiveSlot> slots = liveSlots(function);
      SmallVector<unsigned> order(llvm::to_vector(llvm::seq<unsigned>(0, slots.size())));
      llvm::sort(order,
                 [&](unsigned a, unsigned b) { return std::pair(-slots[a].bytes, a) < std::pair(-slots[b].bytes, b); });
      SmallVector<Placed> placed;
      int64_t end = arena;
      for (unsigned index : order) {
        LiveSlot &slot = slots[index];
        int64_t offset = lowestFit(slot, placed, arena);
        slot.slot.setOffsetAttr(builder.getI64IntegerAttr(offset));
        placed.push_back({slot, offset});
        end = std::max(end, int64_t(llvm::alignTo(offset + slot.bytes, kAlignment)));
        total += slot.bytes;
      }
      // A slot that nothing touches holds nothing.
      SmallVector<SlotOp> unused;
      function.walk([&](SlotOp slot) {
        if (!slot.getOffset())
          unused.push_back(slot);
      });
      for (SlotOp slot : unused)
        if (slot->use_empty())
          slot->erase();
        else
          slot.setOffsetAttr(builder.getI64IntegerAttr(arena));
      arena = end;
    }
    for (ModelOp model : getOperation().getOps<ModelOp>())
      model.setArenaSizeAttr(builder.getI64IntegerAttr(arena));
    peak = arena;

    // What a rank holds of its own lies in a segment of its own.
    int64_t whole = 0, parts = 0;
    for (ConstantOp constant : getOperation().getOps<ConstantOp>()) {
      auto type = cast<MemRefType>(constant.getType());
      int64_t &weights = constant.getShards() ? parts : whole;
      constant.setOffsetAttr(builder.getI64IntegerAttr(weights));
      weights = llvm::alignTo(weights + type.getNumElements() * elementBytes(type.getElementType()), kAlignment);
    }
  }
};
} // namespace
} // namespace mlc::exec
