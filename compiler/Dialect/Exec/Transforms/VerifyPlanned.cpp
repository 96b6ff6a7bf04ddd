//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Exec/Transforms/Liveness.h"
#include "compiler/Dialect/Exec/Transforms/Passes.h"

using namespace mlir;

namespace mlc::exec {
#define GEN_PASS_DEF_VERIFYPLANNED
#include "compiler/Dialect/Exec/Transforms/Passes.h.inc"

namespace {
struct VerifyPlanned : impl::VerifyPlannedBase<VerifyPlanned> {
  void runOnOperation() override {
    bool planned = true;
    auto refuse = [&](Operation *op, const Twine &what) {
      op->emitOpError(what);
      planned = false;
    };
    int64_t arena = 0;
    for (ModelOp model : getOperation().getOps<ModelOp>())
      arena = model.getArenaSize().value_or(0);
    getOperation().walk([&](Operation *op) {
      if (op != getOperation() && !isa<ExecDialect>(op->getDialect()))
        refuse(op, "is left of a former level");
      if (auto constant = dyn_cast<ConstantOp>(op); constant && !constant.getOffset())
        refuse(op, "has no offset; run exec-plan-memory first");
      auto slot = dyn_cast<SlotOp>(op);
      if (!slot)
        return;
      if (!slot.getOffset())
        return refuse(op, "has no offset; run exec-plan-memory first");
      if (int64_t(*slot.getOffset()) + slotBytes(slot) > arena)
        refuse(op, "reaches beyond the arena");
    });
    if (!planned)
      return signalPassFailure();
    for (FuncOp function : getOperation().getOps<FuncOp>()) {
      SmallVector<LiveSlot> slots = liveSlots(function);
      for (auto [i, a] : llvm::enumerate(slots))
        for (const LiveSlot &b : ArrayRef(slots).drop_front(i + 1)) {
          SlotOp x = a.slot, y = b.slot;
          int64_t offsetX = *x.getOffset(), offsetY = *y.getOffset();
          if (a.overlaps(b) && offsetX < offsetY + b.bytes && offsetY < offsetX + a.bytes)
            refuse(y, "shares bytes with a slot that lives at the same time");
        }
    }
    if (!planned)
      signalPassFailure();
  }
};
} // namespace
} // namespace mlc::exec
