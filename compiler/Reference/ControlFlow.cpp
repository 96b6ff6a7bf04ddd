//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Calls and structured control flow.
//
#include "compiler/Reference/Frame.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace mlc::reference {

template <typename T>
static llvm::Error setResults(Operation *op, llvm::Expected<SmallVector<ValueRef<T>>> values, Frame<T> &frame) {
  if (!values)
    return values.takeError();
  for (auto [result, value] : llvm::zip_equal(op->getResults(), *values))
    frame.set(result, value);
  return llvm::Error::success();
}

template <typename T> static SmallVector<ValueRef<T>> refs(ValueRange values, Frame<T> &frame) {
  SmallVector<ValueRef<T>> result;
  for (Value value : values)
    result.push_back(frame.ref(value));
  return result;
}

template <typename T> static llvm::Error evaluateCall(func::CallOp op, Frame<T> &frame) {
  auto function = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(op, op.getCalleeAttr());
  return setResults<T>(op, frame.call(function, refs<T>(op.getOperands(), frame)), frame);
}

template <typename T> static llvm::Error evaluateIf(scf::IfOp op, Frame<T> &frame) {
  if (!frame.shape(op.getCondition()).empty())
    return failAt(op, "a condition that differs between elements has no evaluation");
  if (frame.integer(op.getCondition()))
    return setResults<T>(op, frame.runBlock(*op.thenBlock(), {}), frame);
  if (op.elseBlock())
    return setResults<T>(op, frame.runBlock(*op.elseBlock(), {}), frame);
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateFor(scf::ForOp op, Frame<T> &frame) {
  for (Value bound : {op.getLowerBound(), op.getUpperBound(), op.getStep()})
    if (!frame.shape(bound).empty())
      return failAt(op, "a bound that differs between elements has no evaluation");
  int64_t upper = frame.integer(op.getUpperBound()), step = frame.integer(op.getStep());
  if (step < 1)
    return failAt(op, "step must be positive");
  SmallVector<ValueRef<T>> carried = refs<T>(op.getInitArgs(), frame);
  for (int64_t i = frame.integer(op.getLowerBound()); i < upper;) {
    // A trip may be empty; it is charged all the same, so that no bound can make this endless.
    if (llvm::Error error = frame.spend(op, 1))
      return error;
    SmallVector<ValueRef<T>> arguments = {std::make_shared<const HostValue<T>>(Integers::scalar(i))};
    llvm::append_range(arguments, carried);
    llvm::Expected<SmallVector<ValueRef<T>>> next = frame.runBlock(*op.getBody(), arguments);
    if (!next)
      return next.takeError();
    carried = std::move(*next);
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  return setResults<T>(op, std::move(carried), frame);
}

template <typename T> static llvm::Error evaluateWhile(scf::WhileOp op, Frame<T> &frame) {
  SmallVector<ValueRef<T>> carried = refs<T>(op.getInits(), frame);
  while (true) {
    if (llvm::Error error = frame.spend(op, 1))
      return error;
    llvm::Expected<SmallVector<ValueRef<T>>> before = frame.runBlock(*op.getBeforeBody(), carried);
    if (!before)
      return before.takeError();
    // The first operand of scf.condition decides, the others are handed on.
    SmallVector<ValueRef<T>> forwarded(llvm::drop_begin(*before));
    if (!std::get<Integers>(*before->front()).data.front())
      return setResults<T>(op, std::move(forwarded), frame);
    llvm::Expected<SmallVector<ValueRef<T>>> after = frame.runBlock(*op.getAfterBody(), forwarded);
    if (!after)
      return after.takeError();
    carried = std::move(*after);
  }
}

template <typename T> void registerControlFlow(Evaluators<T> evaluators) {
  evaluators.template add<func::CallOp, evaluateCall<T>>();
  evaluators.template add<scf::IfOp, evaluateIf<T>>();
  evaluators.template add<scf::ForOp, evaluateFor<T>>();
  evaluators.template add<scf::WhileOp, evaluateWhile<T>>();
}
MLC_REFERENCE_FAMILY(registerControlFlow)

} // namespace mlc::reference
