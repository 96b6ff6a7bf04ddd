//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Exec/Transforms/Liveness.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace mlc::exec;

SmallVector<LiveSlot> mlc::exec::liveSlots(FuncOp function) {
  DenseMap<Operation *, int64_t> order;
  DenseMap<Operation *, int64_t> lastInside;
  int64_t count = 0;
  function.walk<WalkOrder::PreOrder>([&](Operation *op) { order[op] = count++; });
  function.walk([&](Operation *op) {
    int64_t &last = lastInside[op] = std::max(lastInside.lookup(op), order[op]);
    if (op != function)
      lastInside[op->getParentOp()] = std::max(lastInside.lookup(op->getParentOp()), last);
  });

  llvm::MapVector<Operation *, LiveSlot> live;
  function.walk<WalkOrder::PreOrder>([&](SlotOp slot) {
    bool input = slot.getInput().has_value();
    live.insert({slot, {slot, input ? 0 : count, input ? 0 : -1, slotBytes(slot)}});
  });
  function.walk([&](Operation *op) {
    for (Value operand : op->getOperands()) {
      SlotOp slot = baseSlot(operand);
      if (!slot || isa<ViewOp>(op))
        continue;
      LiveSlot &range = live.find(slot)->second;
      range.first = std::min(range.first, order[op]);
      range.last = std::max(range.last, order[op]);
      // A slot of outside that a loop touches, anywhere, must survive all of its iterations.
      for (Operation *parent = op->getParentOp(); parent != function; parent = parent->getParentOp())
        if (isa<LoopOp>(parent) && !parent->isProperAncestor(slot)) {
          range.first = std::min(range.first, order[parent]);
          range.last = std::max(range.last, lastInside[parent]);
        }
    }
  });
  // A network's ports are the caller's between runs.
  if (function.getInputNames()) {
    SmallVector<Value> ports;
    if (auto results = dyn_cast<ReturnOp>(function.getBody().front().back()))
      llvm::append_range(ports, results.getOutputs());
    function.walk([&](SlotOp slot) {
      if (slot.getInput())
        ports.push_back(slot);
    });
    for (Value port : ports) {
      LiveSlot &range = live.find(baseSlot(port))->second;
      range.first = 0;
      range.last = count;
    }
  }
  SmallVector<LiveSlot> result;
  for (auto &[op, range] : live)
    if (range.last >= range.first)
      result.push_back(range);
  return result;
}
